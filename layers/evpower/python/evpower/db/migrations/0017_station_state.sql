-- What a charger keeps for us beside its transactions: reservations, its local authorization list, charging profiles
-- (OCPP 1.6 sections 3.5.2, 3.13, 5.2, 5.5, 5.13, 5.15, 5.16). Changed by the outcome of commands; an outcome that
-- never came is read from the command's row, which command_id names.

CREATE SEQUENCE reservation_id_seq AS integer MINVALUE 1 MAXVALUE 2147483647;
CREATE SEQUENCE charging_profile_id_seq AS integer MINVALUE 1 MAXVALUE 2147483647;

CREATE TABLE reservations (
    station_id text NOT NULL REFERENCES stations (id) ON DELETE CASCADE,
    reservation_id integer NOT NULL, -- as on the wire
    connector_id integer NOT NULL CHECK (connector_id BETWEEN 0 AND 100), -- 0: any
    id_tag text NOT NULL CHECK (char_length(id_tag) BETWEEN 1 AND 20),
    parent_id_tag text CHECK (char_length(parent_id_tag) BETWEEN 1 AND 20),
    client_id text REFERENCES clients (id),
    is_for_app boolean NOT NULL DEFAULT false, -- the tag was made for it: a start from the app uses it
    expires_at timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'requested' CHECK (state IN (
        'requested', 'accepted', 'rejected', 'used', 'cancelled', 'expired', 'failed')),
    refusal text, -- the charger's word, or why it ended otherwise than asked for
    command_id text,
    cancel_command_id text,
    transaction_id integer,
    session_id text REFERENCES charging_sessions (id),
    requested_by text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (station_id, reservation_id)
);
CREATE INDEX reservations_station_idx ON reservations (station_id, created_at DESC);
CREATE INDEX reservations_due_idx ON reservations (expires_at) WHERE state IN ('requested', 'accepted');
CREATE INDEX reservations_client_idx ON reservations (client_id);
CREATE INDEX reservations_session_idx ON reservations (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX reservations_age_idx ON reservations (created_at) WHERE state NOT IN ('requested', 'accepted');

-- Who keeps a connector, for a start from the app. The caller may not read other clients' reservations, and learns
-- no more than that there is one.
CREATE FUNCTION evpower_reservations_at(station text, connector integer, client text, moment timestamptz)
    RETURNS TABLE (connector_id integer, is_own boolean, is_for_app boolean, id_tag text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
    SELECT r.connector_id, coalesce(r.client_id = client, false), r.is_for_app,
           CASE WHEN r.client_id = client THEN r.id_tag END
      FROM public.reservations r
      LEFT JOIN public.station_commands asked ON asked.id = r.command_id
      LEFT JOIN public.station_commands cancel ON cancel.id = r.cancel_command_id
     WHERE r.station_id = station AND r.connector_id IN (0, connector) AND r.expires_at > moment
       AND (r.state = 'accepted' OR (r.state = 'requested' AND asked.status IN ('queued', 'sent')))
       AND (cancel.id IS NULL OR cancel.status NOT IN ('queued', 'sent'))
$$;
REVOKE ALL ON FUNCTION evpower_reservations_at(text, integer, text, timestamptz) FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION evpower_reservations_at(text, integer, text, timestamptz)
    TO service_role, evpower_api, evpower_worker;

-- The local list of a station: what it shall hold, and how far it got there. Off unless an operator wants it: a start
-- that the charger allows by its list while it is offline is paid only afterwards.
CREATE TABLE local_lists (
    station_id text PRIMARY KEY REFERENCES stations (id) ON DELETE CASCADE,
    is_enabled boolean NOT NULL DEFAULT false,
    selection text NOT NULL DEFAULT 'chosen' CHECK (selection IN ('chosen', 'all_active')),
    version integer NOT NULL DEFAULT 0 CHECK (version >= 0), -- the last one that we numbered
    held_version integer NOT NULL DEFAULT 0, -- the last one that the charger took
    told_version integer, -- as it said (GetLocalListVersion): 0 empty, -1 not supported
    told_at timestamptz,
    state text NOT NULL DEFAULT 'idle' CHECK (state IN ('idle', 'sending', 'verifying', 'synced', 'failed')),
    failure text,
    is_uncertain boolean NOT NULL DEFAULT false, -- nobody knows what the charger holds: the next update is a full one
    is_retry boolean NOT NULL DEFAULT false, -- the full update after a refused one: it is tried once
    command_id text, -- the present part's, or the question for the version
    requested_by text NOT NULL DEFAULT 'system',
    synced_at timestamptz,
    updated_at timestamptz NOT NULL
);

CREATE TABLE local_list_entries (
    station_id text NOT NULL REFERENCES local_lists (station_id) ON DELETE CASCADE,
    id_tag text NOT NULL CHECK (char_length(id_tag) BETWEEN 1 AND 20 AND id_tag = upper(id_tag)),
    is_chosen boolean NOT NULL DEFAULT false, -- by an operator
    held jsonb, -- the idTagInfo that the charger took; NULL: it does not hold the tag
    PRIMARY KEY (station_id, id_tag)
);
CREATE INDEX local_list_entries_held_idx ON local_list_entries (id_tag) WHERE held IS NOT NULL;

-- The parts of the present update, in order: one is sent when the one before was taken.
CREATE TABLE local_list_parts (
    station_id text NOT NULL REFERENCES local_lists (station_id) ON DELETE CASCADE,
    list_version integer NOT NULL,
    update_type text NOT NULL CHECK (update_type IN ('Full', 'Differential')),
    entries jsonb NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'accepted', 'refused')),
    answer text, -- the charger's word
    command_id text,
    PRIMARY KEY (station_id, list_version)
);

CREATE TABLE charging_profiles (
    station_id text NOT NULL REFERENCES stations (id) ON DELETE CASCADE,
    charging_profile_id integer NOT NULL, -- as on the wire
    connector_id integer NOT NULL CHECK (connector_id BETWEEN 0 AND 100),
    purpose text NOT NULL CHECK (purpose IN ('ChargePointMaxProfile', 'TxDefaultProfile', 'TxProfile')),
    stack_level integer NOT NULL CHECK (stack_level >= 0),
    transaction_id integer,
    state text NOT NULL DEFAULT 'requested' CHECK (state IN (
        'requested', 'active', 'rejected', 'failed', 'cleared', 'ended')),
    profile jsonb, -- csChargingProfiles that is in force at the charger
    wanted jsonb, -- csChargingProfiles that it was asked to take; NULL: no question is open
    refusal text, -- its word to the last question
    command_id text,
    clear_command_id text,
    requested_by text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (station_id, charging_profile_id)
);
CREATE INDEX charging_profiles_live_idx ON charging_profiles (station_id, connector_id)
    WHERE state IN ('requested', 'active');
CREATE INDEX charging_profiles_age_idx ON charging_profiles (created_at) WHERE state NOT IN ('requested', 'active');

SELECT evpower_protect_table(name) FROM unnest(ARRAY[
    'reservations', 'local_lists', 'local_list_entries', 'local_list_parts', 'charging_profiles']) AS name;
REVOKE ALL ON SEQUENCE reservation_id_seq, charging_profile_id_seq FROM PUBLIC, anon, authenticated;
GRANT USAGE ON SEQUENCE reservation_id_seq, charging_profile_id_seq TO evpower_worker, service_role, evpower_api;
GRANT SELECT, INSERT, UPDATE ON reservations, local_lists, charging_profiles TO evpower_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON local_list_entries, local_list_parts TO evpower_api;
-- A driver's start asks evpower_reservations_at; the rest is for staff.
CREATE POLICY api_own ON reservations TO evpower_api
    USING (client_id = evpower_claim('sub') OR evpower_scope_is_wide())
    WITH CHECK (client_id = evpower_claim('sub') OR evpower_scope_is_wide());
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['local_lists', 'local_list_entries', 'local_list_parts', 'charging_profiles'] LOOP
        EXECUTE format('CREATE POLICY api_staff ON public.%I TO evpower_api
            USING (evpower_scope_is_wide()) WITH CHECK (evpower_scope_is_wide())', t);
    END LOOP;
END
$$;
