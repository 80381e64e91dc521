-- What the API may do with each table, by whose claims it acts (docs/decisions/0016): nothing that no route needs. Until
-- here its role read and changed all rows of 18 tables whoever had called.
--
-- The claims say who calls (`sub`) and which kind of work it is (`evp_scope`: none for a client, `staff`, `system`).
-- What a member of staff may do is not believed from claims: it is read from `users`.

CREATE FUNCTION evpower_is_system() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE SET search_path = '' AS $$
    SELECT coalesce(public.evpower_claim('evp_scope') = 'system', false)
$$;

-- Functions that read `users` run as the owner, because policies of `users` ask them. Each tells of the caller alone.

-- Role of the member of staff who calls; NULL: none, or deactivated. The holder of the master key has no row.
CREATE FUNCTION evpower_staff_role() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT CASE WHEN public.evpower_claim('evp_scope') IS DISTINCT FROM 'staff' THEN NULL
                WHEN public.evpower_claim('sub') = 'master' THEN 'superadmin'
                ELSE (SELECT u.role FROM public.users u WHERE u.id = public.evpower_claim('sub') AND u.is_active) END
$$;

-- Whom the caller works for: an operator's admin, else the caller itself. NULL: no staff, or an operator without one.
CREATE FUNCTION evpower_staff_owner() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT CASE WHEN u.role <> 'operator' THEN u.id ELSE a.id END
      FROM public.users u
      LEFT JOIN public.users a ON a.id = u.admin_id AND a.is_active AND a.role <> 'operator'
     WHERE public.evpower_claim('evp_scope') = 'staff' AND u.id = public.evpower_claim('sub') AND u.is_active
$$;

-- The admin whom a caller's row in `users` names: what an operator may do depends on it.
CREATE FUNCTION evpower_own_admin() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT u.admin_id FROM public.users u WHERE u.id = public.evpower_claim('sub')
$$;

-- Superadmins, and operators who work for one.
CREATE FUNCTION evpower_sees_all_stations() RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
    SELECT coalesce(public.evpower_staff_role() = 'superadmin', false)
        OR EXISTS (SELECT FROM public.users o WHERE o.id = public.evpower_staff_owner() AND o.role = 'superadmin')
$$;

-- A station is an owner's by its own row or by its place (mobile-api.md §7.1).
CREATE FUNCTION evpower_own_stations() RETURNS SETOF text
    LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100 SET search_path = '' AS $$
DECLARE
    owner text := public.evpower_staff_owner();
BEGIN
    RETURN QUERY
        SELECT s.id FROM public.stations s WHERE s.user_id = owner
         UNION
        SELECT s.id FROM public.locations l JOIN public.stations s ON s.location_id = l.id
         WHERE l.user_id = owner OR l.admin_id = owner;
END
$$;
CREATE INDEX locations_admin_idx ON locations (admin_id) WHERE admin_id IS NOT NULL;

REVOKE ALL ON FUNCTION evpower_is_system(), evpower_staff_role(), evpower_staff_owner(), evpower_own_admin(),
    evpower_sees_all_stations(), evpower_own_stations() FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION evpower_is_system(), evpower_staff_role(), evpower_staff_owner(), evpower_own_admin(),
    evpower_sees_all_stations(), evpower_own_stations() TO evpower_api;

-- Let the API do `verb` with the rows that fulfil `condition`, and leave behind such that fulfil `new_rows` (the same,
-- unless given); `columns` narrows the grant. Words for who calls, each asked once per statement, never per row:
--   @caller         the caller's id (NULL: nobody is signed in)
--   @system         work of our own, on nobody's behalf
--   @staff, @manager, @superadmin
--                   any member of staff; admins and superadmins; superadmins alone
--   @own_station    `station_id` is one of those that this member of staff sees
CREATE FUNCTION evpower_api_may(
    table_name text, verb text, condition text, new_rows text DEFAULT NULL, columns text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    words text[] := ARRAY[
        ['@own_station', '((SELECT public.evpower_sees_all_stations())
                           OR station_id IN (SELECT public.evpower_own_stations()))'],
        ['@superadmin', '((SELECT public.evpower_staff_role()) = ''superadmin'')'],
        ['@manager', '((SELECT public.evpower_staff_role()) IN (''admin'', ''superadmin''))'],
        ['@staff', '((SELECT public.evpower_staff_role()) IS NOT NULL)'],
        ['@system', '(SELECT public.evpower_is_system())'],
        ['@caller', '(SELECT public.evpower_claim(''sub''))']];
    word text[];
BEGIN
    new_rows := coalesce(new_rows, condition);
    FOREACH word SLICE 1 IN ARRAY words LOOP
        condition := replace(condition, word[1], word[2]);
        new_rows := replace(new_rows, word[1], word[2]);
    END LOOP;
    EXECUTE format('GRANT %s %s ON public.%I TO evpower_api', verb, coalesce('(' || columns || ')', ''), table_name);
    EXECUTE format('CREATE POLICY %I ON public.%I FOR %s TO evpower_api', 'api_' || lower(verb), table_name, verb)
        || CASE WHEN verb <> 'INSERT' THEN format(' USING (%s)', condition) ELSE '' END
        || CASE WHEN verb IN ('INSERT', 'UPDATE') THEN format(' WITH CHECK (%s)', new_rows) ELSE '' END;
END
$$;
REVOKE ALL ON FUNCTION evpower_api_may(text, text, text, text, text) FROM PUBLIC, anon, authenticated;

-- Begin anew with all tables that existed before this file's rules.
DO $$
DECLARE
    t text;
    p text;
BEGIN
    FOREACH t IN ARRAY ARRAY[
        'users', 'clients', 'locations', 'tariff_plans', 'tariff_rules', 'client_tariffs', 'promo_codes', 'stations',
        'connectors', 'user_favorites', 'balance_topups', 'payment_transactions_odengi', 'payment_inbox',
        'topup_refunds', 'pricing_history', 'charging_sessions', 'settlements', 'write_offs', 'promo_code_usage',
        'id_tags', 'ocpp_transactions', 'ocpp_meter_values', 'station_commands', 'ocpp_configuration', 'station_events',
        'quarantined_messages', 'audit_logs', 'idempotency_keys', 'used_nonces', 'rate_counters', 'push_outbox',
        'otp_codes', 'refresh_tokens', 'devices', 'push_subscriptions', 'station_messages', 'firmware_files',
        'station_jobs', 'session_reviews', 'reservations', 'local_lists', 'local_list_entries', 'local_list_parts',
        'charging_profiles', 'station_key_candidates', 'station_certificates', 'installed_certificates'] LOOP
        EXECUTE format('REVOKE ALL ON public.%I FROM evpower_api', t);
        FOR p IN SELECT policyname FROM pg_policies
                  WHERE schemaname = 'public' AND tablename = t AND roles = ARRAY['evpower_api'::name] LOOP
            EXECUTE format('DROP POLICY %I ON public.%I', p, t);
        END LOOP;
    END LOOP;
END
$$;
-- A column grant outlives REVOKE ALL on its table.
REVOKE UPDATE (discount_amount) ON promo_code_usage FROM evpower_api;
-- No route reads these views, and none makes a transaction.
REVOKE ALL ON station_availability, location_status_view, ocpp_station_status FROM evpower_api;
REVOKE ALL ON SEQUENCE ocpp_transaction_id_seq FROM evpower_api;

-- People. A row lock needs the right to UPDATE: where only the lock is meant, no new row fulfils the condition.
SELECT evpower_api_may('users', 'SELECT',
    'id = @caller OR id = (SELECT public.evpower_own_admin()) OR @system OR @manager',
    columns => (SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute
                 WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped AND attname <> 'password_hash'));
SELECT evpower_api_may('users', 'INSERT', '@superadmin OR (@manager AND role = ''operator'' AND admin_id = @caller)');
SELECT evpower_api_may('users', 'UPDATE', '@superadmin OR (@manager AND role = ''operator'' AND admin_id = @caller)',
    columns => 'role, admin_id, name, is_active, updated_at');
SELECT evpower_api_may('clients', 'SELECT', 'id = @caller OR @system OR @staff');
SELECT evpower_api_may('clients', 'INSERT', '@system OR @manager');
SELECT evpower_api_may('clients', 'UPDATE', 'id = @caller OR @system OR @staff', 'id = @caller OR @manager');
SELECT evpower_api_may('otp_codes', verb, '@system') FROM unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS verb;
SELECT evpower_api_may('refresh_tokens', verb, 'client_id = @caller OR @system OR @manager')
  FROM unnest('{SELECT,DELETE}'::text[]) AS verb;
SELECT evpower_api_may('refresh_tokens', verb, '@system') FROM unnest('{INSERT,UPDATE}'::text[]) AS verb;
SELECT evpower_api_may('devices', verb, 'client_id = @caller OR @system') FROM unnest('{SELECT,DELETE}'::text[]) AS verb;
SELECT evpower_api_may('devices', verb, '@system') FROM unnest('{INSERT,UPDATE}'::text[]) AS verb;
SELECT evpower_api_may('push_subscriptions', verb, 'user_id = @caller OR @system')
  FROM unnest('{SELECT,DELETE}'::text[]) AS verb;
SELECT evpower_api_may('push_subscriptions', verb, '@system') FROM unnest('{INSERT,UPDATE}'::text[]) AS verb;
SELECT evpower_api_may('user_favorites', verb, 'user_id = @caller') FROM unnest('{SELECT,INSERT,DELETE}'::text[]) AS verb;
SELECT evpower_api_may('id_tags', 'SELECT', 'client_id = @caller OR @staff');
SELECT evpower_api_may('id_tags', verb, '@manager') FROM unnest('{INSERT,UPDATE}'::text[]) AS verb;
SELECT evpower_api_may('id_tags', 'DELETE', 'client_id = @caller OR @manager');

-- Network and prices: everybody's to read.
SELECT evpower_api_may(name, 'SELECT', 'true')
  FROM unnest('{locations,stations,connectors,tariff_plans,tariff_rules}'::text[]) AS name;
SELECT evpower_api_may('promo_codes', 'SELECT', '@caller IS NOT NULL');
SELECT evpower_api_may('client_tariffs', 'SELECT', 'client_id = @caller');
SELECT evpower_api_may('stations', 'UPDATE',
    '(SELECT public.evpower_sees_all_stations()) OR id IN (SELECT public.evpower_own_stations())',
    columns => 'status, price_per_kwh, session_fee, register_factor, updated_at, auth_key_hash, auth_key_changed_at,
        credentials_version, connected_instance, connected_at, connection_epoch, security_profile,
        requested_security_profile, security_profile_command_id');
-- A start locks the connector that it wants, whoever holds it; what it may write there, evpower_guard_connector judges
-- as well, because a policy cannot compare the new row with the old one.
SELECT evpower_api_may('connectors', 'UPDATE', '@caller IS NOT NULL',
    'live_session_id IS NULL OR (SELECT true FROM public.charging_sessions s WHERE s.id = live_session_id)',
    'live_session_id, updated_at');
CREATE FUNCTION evpower_guard_connector() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    -- with the caller's own view of the sessions
    IF NOT EXISTS (SELECT FROM public.charging_sessions s WHERE s.id = OLD.live_session_id) THEN
        RAISE EXCEPTION 'connector % of station % is held by a session that is not the caller''s',
            OLD.connector_number, OLD.station_id USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER connectors_guard BEFORE UPDATE OF live_session_id ON connectors FOR EACH ROW
    WHEN (OLD.live_session_id IS DISTINCT FROM NEW.live_session_id AND OLD.live_session_id IS NOT NULL
          AND NOT pg_has_role('evpower_worker', 'MEMBER'))
    EXECUTE FUNCTION evpower_guard_connector();

-- Sessions and money. Whether a card may start somewhere depends on what its holder has running elsewhere.
SELECT evpower_api_may('charging_sessions', 'SELECT',
    'user_id = @caller OR @own_station OR @system OR (@staff AND state IN (''pending'', ''charging'', ''stopping''))');
SELECT evpower_api_may('charging_sessions', 'INSERT', 'user_id = @caller');
SELECT evpower_api_may('charging_sessions', 'UPDATE', 'user_id = @caller OR @own_station');
DO $$
DECLARE
    -- Scalar: EXISTS may be planned as a hash of the whole table, this is always one look into an index.
    of_caller text := '(SELECT true FROM public.charging_sessions s WHERE s.id = %s AND s.user_id = @caller)';
    of_own_station text := '(SELECT true FROM public.charging_sessions s WHERE s.id = %s AND @own_station)';
    verb text;
BEGIN
    PERFORM public.evpower_api_may('balance_topups', 'SELECT', 'client_id = @caller OR @system');
    FOREACH verb IN ARRAY ARRAY['INSERT', 'UPDATE'] LOOP
        PERFORM public.evpower_api_may('balance_topups', verb, 'client_id = @caller');
    END LOOP;
    -- Operators see what a session of their stations cost, adjustments included; they move no money.
    PERFORM public.evpower_api_may('payment_transactions_odengi', 'SELECT',
        'client_id = @caller OR @manager OR (@staff AND (' || format(of_own_station, 'charging_session_id')
        || ' OR (SELECT true FROM public.session_reviews r WHERE r.ledger_id = payment_transactions_odengi.id)))');
    PERFORM public.evpower_api_may('payment_transactions_odengi', 'INSERT',
        'client_id = @caller OR @manager');
    FOREACH verb IN ARRAY ARRAY['SELECT', 'INSERT'] LOOP
        PERFORM public.evpower_api_may('pricing_history', verb, 'client_id = @caller');
        PERFORM public.evpower_api_may('session_reviews', verb, '@staff AND ' || format(of_own_station, 'session_id'));
    END LOOP;
    PERFORM public.evpower_api_may('settlements', 'SELECT', '@staff AND ' || format(of_own_station, 'session_id'));
    PERFORM public.evpower_api_may('settlements', 'INSERT',
        format(of_caller, 'session_id') || ' OR (@manager AND ' || format(of_own_station, 'session_id') || ')');
    PERFORM public.evpower_api_may('write_offs', 'INSERT',
        'client_id = @caller OR (@manager AND ' || format(of_own_station, 'session_id') || ')');
    FOREACH verb IN ARRAY ARRAY['SELECT', 'INSERT', 'UPDATE'] LOOP
        PERFORM public.evpower_api_may('promo_code_usage', verb,
            'client_id = @caller OR (@manager AND ' || format(of_own_station, 'session_id') || ')',
            columns => CASE verb WHEN 'UPDATE' THEN 'discount_amount' END);
    END LOOP;

    -- A driver goes on where the own charge has ended; managers look in all transactions for what a card has started.
    PERFORM public.evpower_api_may('ocpp_transactions', 'SELECT',
        '@own_station OR @manager OR ' || format(of_caller, 'session_id'));
    -- A driver's commands start and stop the own session.
    PERFORM public.evpower_api_may('station_commands', 'SELECT', '@own_station OR ' || format(of_caller, 'session_id'));
    PERFORM public.evpower_api_may('station_commands', 'INSERT', '@own_station OR '
        || '(action IN (''RemoteStartTransaction'', ''RemoteStopTransaction'') AND '
        || format(of_caller, 'session_id AND s.station_id = station_commands.station_id') || ')');
    PERFORM public.evpower_api_may('station_commands', 'UPDATE', '@own_station');

    -- Notifications are written with the fact that they tell, and read by the worker alone: the API sees the row that
    -- it has just added (RETURNING), none of others.
    PERFORM public.evpower_api_may('push_outbox', 'SELECT', '@caller IS NOT NULL AND created_at = (SELECT now())');
    PERFORM public.evpower_api_may('push_outbox', 'INSERT', 'user_id = @caller OR @staff OR (user_type = ''owner'' AND '
        || format(of_caller, '(payload ->> ''session_id'')') || ')');
END
$$;

-- Chargers: staff, at their stations.
SELECT evpower_api_may('ocpp_transactions', 'UPDATE', '@own_station AND @manager');
SELECT evpower_api_may(name, 'SELECT', '@own_station') FROM unnest('{ocpp_meter_values,ocpp_configuration,station_events,
    quarantined_messages,station_messages,station_jobs,local_lists,local_list_entries,local_list_parts,charging_profiles,
    station_key_candidates,station_certificates,installed_certificates}'::text[]) AS name;
SELECT evpower_api_may(name, 'INSERT', '@own_station')
  FROM unnest('{station_events,station_jobs,local_lists,local_list_entries,local_list_parts,charging_profiles,
    reservations}'::text[]) AS name;
SELECT evpower_api_may(name, 'UPDATE', '@own_station')
  FROM unnest('{quarantined_messages,station_jobs,local_lists,local_list_entries,local_list_parts,charging_profiles,
    reservations,station_key_candidates,station_certificates}'::text[]) AS name;
SELECT evpower_api_may(name, 'DELETE', '@own_station')
  FROM unnest('{local_list_entries,local_list_parts,station_key_candidates}'::text[]) AS name;
SELECT evpower_api_may('station_key_candidates', 'INSERT', '@own_station AND @manager');
SELECT evpower_api_may('reservations', 'SELECT', 'client_id = @caller OR @own_station');
SELECT evpower_api_may('firmware_files', 'SELECT', '@staff AND (owner_id IS NULL
    OR owner_id = (SELECT public.evpower_staff_owner()) OR (SELECT public.evpower_sees_all_stations()))');
SELECT evpower_api_may('firmware_files', 'INSERT', '@manager AND (owner_id = (SELECT public.evpower_staff_owner())
    OR (SELECT public.evpower_sees_all_stations()))');
SELECT evpower_api_may('firmware_files', 'UPDATE', '@manager AND (owner_id IS NULL
    OR owner_id = (SELECT public.evpower_staff_owner()) OR (SELECT public.evpower_sees_all_stations()))',
    '@manager AND (owner_id = (SELECT public.evpower_staff_owner()) OR (SELECT public.evpower_sees_all_stations()))');

-- Bookkeeping of the API itself. The audit log is read by nobody through the API.
SELECT evpower_api_may('audit_logs', 'INSERT', 'client_id = @caller OR @system OR (@staff AND actor = @caller)');
SELECT evpower_api_may(name, verb, '@system')
  FROM unnest('{used_nonces,rate_counters}'::text[]) AS name, unnest('{SELECT,INSERT,UPDATE}'::text[]) AS verb;

-- The app's own reads: the same rows as before, asked once per statement.
ALTER POLICY own_select ON clients USING (id = (SELECT evpower_claim('sub')));
ALTER POLICY own_update ON clients
    USING (id = (SELECT evpower_claim('sub')) AND status = 'active') WITH CHECK (id = (SELECT evpower_claim('sub')));
ALTER POLICY own_select ON charging_sessions USING (user_id = (SELECT evpower_claim('sub')));
ALTER POLICY own_select ON balance_topups USING (client_id = (SELECT evpower_claim('sub')));
ALTER POLICY own_select ON payment_transactions_odengi USING (client_id = (SELECT evpower_claim('sub')));
ALTER POLICY own_select ON users USING (id = (SELECT evpower_claim('sub')));
ALTER POLICY own_all ON user_favorites
    USING (user_id = (SELECT evpower_claim('sub'))) WITH CHECK (user_id = (SELECT evpower_claim('sub')));
ALTER POLICY own_select ON client_tariffs USING (client_id = (SELECT evpower_claim('sub')));

-- Policies of tables that this file does not name.
DO $$
DECLARE
    p record;
    bare text := '(?<!SELECT )(evpower_scope_is_wide\(\)|evpower_claim\(''sub''::text\))';
BEGIN
    FOR p IN SELECT tablename, policyname, qual, with_check FROM pg_policies
              WHERE schemaname = 'public' AND concat(qual, with_check) ~ bare LOOP
        EXECUTE format('ALTER POLICY %I ON public.%I', p.policyname, p.tablename)
            || coalesce(format(' USING (%s)', regexp_replace(p.qual, bare, '(SELECT public.\1)', 'g')), '')
            || coalesce(format(' WITH CHECK (%s)', regexp_replace(p.with_check, bare, '(SELECT public.\1)', 'g')), '');
    END LOOP;
END
$$;
