-- People, places, chargers and prices. Column names are those that the mobile app reads (mobile-api.md §11.2).

CREATE TABLE users (
    id text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    email text UNIQUE,
    phone text UNIQUE,
    name text,
    role text NOT NULL DEFAULT 'operator' CHECK (role IN ('operator', 'admin', 'superadmin')),
    is_active boolean NOT NULL DEFAULT true,
    admin_id text REFERENCES users (id),
    password_hash text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX users_admin_id_idx ON users (admin_id);

CREATE TABLE clients (
    id text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    phone text UNIQUE,
    email text,
    name text CHECK (char_length(name) <= 200),
    balance numeric(12, 2) NOT NULL DEFAULT 0 CHECK (balance >= 0),
    status text NOT NULL DEFAULT 'active'
        CHECK (status IN ('active', 'inactive', 'blocked', 'pending_deletion', 'deleted')),
    delete_requested_at timestamptz,
    deleted_at timestamptz,
    anonymized boolean NOT NULL DEFAULT false,
    low_balance_notified_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX clients_created_at_idx ON clients (created_at DESC);

CREATE TABLE locations (
    id text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    name text NOT NULL,
    address text NOT NULL DEFAULT '',
    city text,
    country text,
    latitude double precision CHECK (latitude BETWEEN -90 AND 90),
    longitude double precision CHECK (longitude BETWEEN -180 AND 180),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'inactive', 'maintenance')),
    working_hours text NOT NULL DEFAULT '24/7',
    stations_count integer NOT NULL DEFAULT 0,
    connectors_count integer NOT NULL DEFAULT 0,
    user_id text REFERENCES users (id),
    admin_id text REFERENCES users (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX locations_status_name_idx ON locations (status, name);
CREATE INDEX locations_owner_idx ON locations (user_id);

CREATE TABLE tariff_plans (
    id text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    name text NOT NULL,
    description text,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tariff_rules (
    id text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    tariff_plan_id text NOT NULL REFERENCES tariff_plans (id) ON DELETE CASCADE,
    name text NOT NULL DEFAULT '',
    tariff_type text NOT NULL CHECK (tariff_type IN ('per_kwh', 'per_minute', 'session_fee', 'parking_fee')),
    connector_type text NOT NULL DEFAULT 'ALL',
    power_range_min numeric(8, 2),
    power_range_max numeric(8, 2),
    price numeric(12, 4) NOT NULL CHECK (price >= 0),
    currency text NOT NULL DEFAULT 'KGS',
    time_start time,
    time_end time,
    is_weekend boolean,
    days_of_week integer[] CHECK (days_of_week <@ ARRAY[1, 2, 3, 4, 5, 6, 7]),
    priority integer NOT NULL DEFAULT 0,
    valid_from timestamptz,
    valid_until timestamptz,
    min_duration_minutes integer,
    max_duration_minutes integer,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tariff_rules_plan_idx ON tariff_rules (tariff_plan_id) WHERE is_active;

CREATE TABLE client_tariffs (
    id text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    client_id text NOT NULL REFERENCES clients (id),
    tariff_plan_id text REFERENCES tariff_plans (id),
    fixed_rate_per_kwh numeric(12, 4) CHECK (fixed_rate_per_kwh >= 0),
    fixed_rate_per_minute numeric(12, 4) CHECK (fixed_rate_per_minute >= 0),
    session_fee numeric(12, 2) CHECK (session_fee >= 0),
    discount_percent numeric(5, 2) CHECK (discount_percent BETWEEN 0 AND 100),
    valid_from timestamptz NOT NULL DEFAULT now(),
    valid_until timestamptz,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX client_tariffs_client_idx ON client_tariffs (client_id, created_at DESC) WHERE is_active;

CREATE TABLE promo_codes (
    id text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    code text NOT NULL,
    discount_type text NOT NULL CHECK (discount_type IN ('percent', 'fixed')),
    discount_value numeric(12, 2) NOT NULL CHECK (discount_value >= 0),
    max_discount_amount numeric(12, 2) CHECK (max_discount_amount >= 0),
    min_charge_amount numeric(12, 2) CHECK (min_charge_amount >= 0),
    usage_limit integer CHECK (usage_limit >= 0),
    client_usage_limit integer CHECK (client_usage_limit >= 0),
    valid_from timestamptz,
    valid_until timestamptz,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX promo_codes_code_idx ON promo_codes (lower(code));

CREATE TABLE stations (
    id text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    serial_number text NOT NULL UNIQUE,
    model text,
    manufacturer text,
    location_id text REFERENCES locations (id),
    user_id text REFERENCES users (id),
    power_capacity numeric(8, 2),
    connector_types text[],
    connectors_count integer NOT NULL DEFAULT 0,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'inactive', 'maintenance')),
    is_available boolean NOT NULL DEFAULT false,
    price_per_kwh numeric(12, 4) CHECK (price_per_kwh >= 0),
    session_fee numeric(12, 2) CHECK (session_fee >= 0),
    currency text NOT NULL DEFAULT 'KGS',
    tariff_plan_id text REFERENCES tariff_plans (id),
    firmware_version text,
    last_heartbeat_at timestamptz,
    -- OCPP: admission, credentials and policies of this charger (ocpp.md §1)
    ocpp_protocol text,
    registration_status text NOT NULL DEFAULT 'accepted'
        CHECK (registration_status IN ('accepted', 'pending', 'rejected')),
    auth_key_hash text,
    allow_missing_subprotocol boolean NOT NULL DEFAULT false,
    answers_pings boolean NOT NULL DEFAULT true,
    heartbeat_interval_s integer CHECK (heartbeat_interval_s BETWEEN 1 AND 86400),
    meter_interval_s integer CHECK (meter_interval_s BETWEEN 1 AND 3600),
    api_key text,
    api_key_expires_at timestamptz,
    -- OCPP: the present connection; the epoch fences out a process that lost the station
    connection_epoch bigint NOT NULL DEFAULT 0,
    connected_instance text,
    connected_at timestamptz,
    last_boot_at timestamptz,
    boot_info jsonb,
    -- status of connector 0, the charger as a whole
    ocpp_status text NOT NULL DEFAULT 'Available',
    error_code text,
    status_changed_at timestamptz,
    status_charger_at timestamptz,
    status_received_at timestamptz,
    status_epoch bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX stations_location_idx ON stations (location_id);
CREATE INDEX stations_owner_idx ON stations (user_id);
CREATE INDEX stations_silent_idx ON stations (last_heartbeat_at) WHERE is_available;

CREATE TABLE connectors (
    id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    station_id text NOT NULL REFERENCES stations (id) ON DELETE CASCADE,
    connector_number integer NOT NULL CHECK (connector_number BETWEEN 1 AND 100),
    connector_type text,
    power_kw numeric(8, 2) CHECK (power_kw > 0),
    -- what the charger said last
    ocpp_status text NOT NULL DEFAULT 'Available' CHECK (ocpp_status IN (
        'Available', 'Preparing', 'Charging', 'SuspendedEVSE', 'SuspendedEV', 'Finishing', 'Reserved', 'Unavailable',
        'Faulted', 'Occupied')),
    -- the live session that holds it (no foreign key: sessions reference connectors by number)
    live_session_id text,
    -- what the app reads: lower-case words. A plugged cable (Preparing) can still be started.
    status text GENERATED ALWAYS AS (
        CASE
            WHEN ocpp_status = 'Faulted' THEN 'faulted'
            WHEN ocpp_status = 'Unavailable' THEN 'unavailable'
            WHEN live_session_id IS NOT NULL THEN 'occupied'
            WHEN ocpp_status IN ('Available', 'Preparing') THEN 'available'
            ELSE 'occupied'
        END) STORED,
    error_code text,
    error_info text,
    vendor_error_code text,
    status_charger_at timestamptz,
    status_received_at timestamptz,
    status_epoch bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (station_id, connector_number)
);

CREATE INDEX connectors_live_session_idx ON connectors (live_session_id) WHERE live_session_id IS NOT NULL;

-- The counts that the app reads from the rows themselves.
CREATE FUNCTION evpower_count_connectors() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
    touched text := coalesce(NEW.station_id, OLD.station_id);
BEGIN
    UPDATE public.stations s
       SET connectors_count = (SELECT count(*) FROM public.connectors c WHERE c.station_id = s.id)
     WHERE s.id = touched;
    RETURN NULL;
END
$$;
CREATE TRIGGER connectors_count AFTER INSERT OR DELETE ON connectors
    FOR EACH ROW EXECUTE FUNCTION evpower_count_connectors();

CREATE FUNCTION evpower_count_stations() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    UPDATE public.locations l
       SET stations_count = t.stations, connectors_count = t.connectors
      FROM (SELECT l2.id, count(s.id) AS stations, coalesce(sum(s.connectors_count), 0) AS connectors
              FROM public.locations l2 LEFT JOIN public.stations s ON s.location_id = l2.id
             WHERE l2.id IN (
                CASE WHEN TG_OP <> 'DELETE' THEN NEW.location_id END,
                CASE WHEN TG_OP <> 'INSERT' THEN OLD.location_id END)
             GROUP BY l2.id) t
     WHERE l.id = t.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER stations_count AFTER INSERT OR DELETE OR UPDATE OF location_id, connectors_count ON stations
    FOR EACH ROW EXECUTE FUNCTION evpower_count_stations();

CREATE TABLE user_favorites (
    user_id text NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    location_id text NOT NULL REFERENCES locations (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, location_id)
);
