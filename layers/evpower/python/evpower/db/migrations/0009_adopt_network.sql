-- Takes over people, places, chargers and prices of an earlier database (set aside by 0000). Without one: only adds
-- the two columns that tell adopted rows.

-- What the earlier system had taken from the balance for a session: it is inside the opening balance, so it has no
-- rows in the ledger. Always: taken_amount - adopted_amount = -(sum of the session's ledger rows).
ALTER TABLE charging_sessions ADD COLUMN adopted_amount numeric(12, 2) NOT NULL DEFAULT 0 CHECK (adopted_amount >= 0);
-- The earlier system credited this top-up: asking the provider again must not credit it a second time.
ALTER TABLE balance_topups ADD COLUMN credited_earlier boolean NOT NULL DEFAULT false;

SET LOCAL timezone = 'UTC'; -- the earlier system wrote UTC into columns without a zone

DO $$
DECLARE
    copied bigint;
    numeric_ids boolean;
BEGIN
    IF to_regnamespace('legacy_v1') IS NULL THEN
        RETURN;
    END IF;

    INSERT INTO public.users (id, email, phone, name, role, is_active, password_hash, created_at, updated_at)
    SELECT r ->> 'id',
           CASE WHEN row_number() OVER (PARTITION BY r ->> 'email' ORDER BY r ->> 'created_at', r ->> 'id') = 1
                THEN nullif(r ->> 'email', '') END,
           CASE WHEN row_number() OVER (PARTITION BY r ->> 'phone' ORDER BY r ->> 'created_at', r ->> 'id') = 1
                THEN nullif(r ->> 'phone', '') END,
           r ->> 'name',
           CASE WHEN lower(r ->> 'role') IN ('operator', 'admin', 'superadmin') THEN lower(r ->> 'role')
                ELSE 'operator' END,
           coalesce((r ->> 'is_active')::boolean, false) AND lower(r ->> 'role') IN ('operator', 'admin', 'superadmin'),
           coalesce(r ->> 'password_hash', r ->> 'hashed_password'),
           coalesce((r ->> 'created_at')::timestamptz, now()), coalesce((r ->> 'updated_at')::timestamptz, now())
      FROM legacy_v1.rows('users') r;
    GET DIAGNOSTICS copied = ROW_COUNT;
    PERFORM legacy_v1.same('users', (SELECT count(*) FROM legacy_v1.rows('users')), copied);
    UPDATE public.users u SET admin_id = a.id
      FROM legacy_v1.rows('users') r JOIN public.users a ON a.id = r ->> 'admin_id'
     WHERE u.id = r ->> 'id';

    -- Balances come with their opening ledger rows in 0011.
    -- A phone is the login, so one client can have it: the active one with the most money keeps it.
    INSERT INTO public.clients (id, phone, email, name, status, delete_requested_at, deleted_at, anonymized,
                                created_at, updated_at)
    SELECT id,
           CASE WHEN row_number() OVER (PARTITION BY phone ORDER BY status = 'active' DESC, balance DESC, created_at, id) = 1
                THEN phone END,
           email, name, status, delete_requested_at, deleted_at, anonymized, created_at, updated_at
      FROM (SELECT r ->> 'id' AS id,
                   CASE WHEN length(digits) = 9 THEN '+996' || digits
                        WHEN length(digits) = 10 AND digits LIKE '0%' THEN '+996' || substr(digits, 2)
                        WHEN length(digits) BETWEEN 11 AND 15 THEN '+' || digits END AS phone,
                   nullif(r ->> 'email', '') AS email,
                   left(nullif(btrim(r ->> 'name'), ''), 200) AS name,
                   CASE WHEN r ->> 'deleted_at' IS NOT NULL OR (r ->> 'anonymized')::boolean THEN 'deleted'
                        WHEN lower(r ->> 'status') IN ('active', 'inactive', 'blocked', 'pending_deletion', 'deleted')
                             THEN lower(r ->> 'status')
                        WHEN lower(r ->> 'status') IN ('suspended', 'banned') THEN 'blocked'
                        WHEN r ->> 'status' IS NULL THEN 'active'
                        ELSE 'inactive' END AS status,
                   coalesce(legacy_v1.som(r ->> 'balance'), 0) AS balance,
                   (r ->> 'delete_requested_at')::timestamptz AS delete_requested_at,
                   (r ->> 'deleted_at')::timestamptz AS deleted_at,
                   coalesce((r ->> 'anonymized')::boolean, false) AS anonymized,
                   coalesce((r ->> 'created_at')::timestamptz, now()) AS created_at,
                   coalesce((r ->> 'updated_at')::timestamptz, now()) AS updated_at
              FROM legacy_v1.rows('clients') r,
                   regexp_replace(coalesce(r ->> 'phone', ''), '\D', '', 'g') AS digits) source;
    GET DIAGNOSTICS copied = ROW_COUNT;
    PERFORM legacy_v1.same('clients', (SELECT count(*) FROM legacy_v1.rows('clients')), copied);

    -- Accounting rows whose client is gone keep their id under a closed, nameless client.
    INSERT INTO public.clients (id, status, anonymized, deleted_at)
    SELECT DISTINCT coalesce(nullif(id, ''), 'unlinked-in-v1'), 'deleted', true, now()
      FROM (SELECT r ->> 'user_id' AS id FROM legacy_v1.rows('charging_sessions') r
            UNION SELECT r ->> 'client_id' FROM legacy_v1.rows('balance_topups') r) referenced
     WHERE NOT EXISTS (SELECT FROM public.clients c WHERE c.id = referenced.id);

    INSERT INTO public.locations (id, name, address, city, country, latitude, longitude, status, user_id, admin_id,
                                  created_at, updated_at)
    SELECT r ->> 'id', r ->> 'name', coalesce(r ->> 'address', ''), r ->> 'city', r ->> 'country',
           legacy_v1.number(r ->> 'latitude', 90.0001), legacy_v1.number(r ->> 'longitude', 180.0001),
           CASE WHEN r ->> 'status' IS NULL THEN 'active'
                WHEN lower(r ->> 'status') IN ('inactive', 'maintenance') THEN lower(r ->> 'status')
                ELSE 'active' END,
           (SELECT id FROM public.users WHERE id = r ->> 'user_id'),
           (SELECT id FROM public.users WHERE id = r ->> 'admin_id'),
           coalesce((r ->> 'created_at')::timestamptz, now()), coalesce((r ->> 'updated_at')::timestamptz, now())
      FROM legacy_v1.rows('locations') r;
    GET DIAGNOSTICS copied = ROW_COUNT;
    PERFORM legacy_v1.same('locations', (SELECT count(*) FROM legacy_v1.rows('locations')), copied);

    INSERT INTO public.tariff_plans (id, name, description, is_active, created_at)
    SELECT r ->> 'id', coalesce(r ->> 'name', r ->> 'id'), r ->> 'description',
           coalesce((r ->> 'is_active')::boolean, true), coalesce((r ->> 'created_at')::timestamptz, now())
      FROM legacy_v1.rows('tariff_plans') r
    UNION ALL
    SELECT 'rules-without-plan-in-v1', 'Rules without a plan', NULL, false, now()
     WHERE EXISTS (SELECT FROM legacy_v1.rows('tariff_rules') r WHERE r ->> 'tariff_plan_id' IS NULL);

    INSERT INTO public.tariff_rules (id, tariff_plan_id, name, tariff_type, connector_type, power_range_min,
        power_range_max, price, currency, time_start, time_end, is_weekend, days_of_week, priority, valid_from,
        valid_until, min_duration_minutes, max_duration_minutes, is_active, created_at)
    SELECT r ->> 'id', coalesce(r ->> 'tariff_plan_id', 'rules-without-plan-in-v1'), coalesce(r ->> 'name', ''),
           r ->> 'tariff_type', coalesce(r ->> 'connector_type', 'ALL'), legacy_v1.number(r ->> 'power_range_min', 1e6),
           legacy_v1.number(r ->> 'power_range_max', 1e6), legacy_v1.number(r ->> 'price', 1e8),
           coalesce(r ->> 'currency', 'KGS'), (r ->> 'time_start')::time, (r ->> 'time_end')::time,
           (r ->> 'is_weekend')::boolean,
           CASE WHEN jsonb_typeof(r -> 'days_of_week') = 'array' AND jsonb_array_length(r -> 'days_of_week') > 0
                THEN (SELECT array_agg(day::integer) FROM jsonb_array_elements_text(r -> 'days_of_week') day) END,
           coalesce((r ->> 'priority')::integer, 0), (r ->> 'valid_from')::timestamptz,
           (r ->> 'valid_until')::timestamptz, (r ->> 'min_duration_minutes')::integer,
           (r ->> 'max_duration_minutes')::integer, coalesce((r ->> 'is_active')::boolean, true),
           coalesce((r ->> 'created_at')::timestamptz, now())
      FROM legacy_v1.rows('tariff_rules') r;
    GET DIAGNOSTICS copied = ROW_COUNT;
    PERFORM legacy_v1.same('tariff rules', (SELECT count(*) FROM legacy_v1.rows('tariff_rules')), copied);

    INSERT INTO public.client_tariffs (id, client_id, tariff_plan_id, fixed_rate_per_kwh, fixed_rate_per_minute,
        session_fee, discount_percent, valid_from, valid_until, is_active, created_at)
    SELECT r ->> 'id', r ->> 'client_id', (SELECT id FROM public.tariff_plans WHERE id = r ->> 'tariff_plan_id'),
           legacy_v1.number(r ->> 'fixed_rate_per_kwh', 1e8), legacy_v1.number(r ->> 'fixed_rate_per_minute', 1e8),
           legacy_v1.som(r ->> 'session_fee'), legacy_v1.number(r ->> 'discount_percent', 100.01),
           coalesce((r ->> 'valid_from')::timestamptz, now()), (r ->> 'valid_until')::timestamptz,
           coalesce((r ->> 'is_active')::boolean, true), coalesce((r ->> 'created_at')::timestamptz, now())
      FROM legacy_v1.rows('client_tariffs') r JOIN public.clients c ON c.id = r ->> 'client_id';

    INSERT INTO public.promo_codes (id, code, discount_type, discount_value, max_discount_amount, min_charge_amount,
        usage_limit, client_usage_limit, valid_from, valid_until, is_active)
    SELECT DISTINCT ON (lower(r ->> 'code'))
           r ->> 'id', r ->> 'code', CASE WHEN r ->> 'discount_type' = 'percent' THEN 'percent' ELSE 'fixed' END,
           legacy_v1.som(r ->> 'discount_value'), legacy_v1.som(r ->> 'max_discount_amount'),
           legacy_v1.som(r ->> 'min_charge_amount'), (r ->> 'usage_limit')::integer,
           (r ->> 'client_usage_limit')::integer, (r ->> 'valid_from')::timestamptz,
           (r ->> 'valid_until')::timestamptz, coalesce((r ->> 'is_active')::boolean, true)
      FROM legacy_v1.rows('promo_codes') r ORDER BY lower(r ->> 'code'), (r ->> 'is_active')::boolean DESC NULLS LAST;

    INSERT INTO public.stations (id, serial_number, model, manufacturer, location_id, user_id, power_capacity,
        connector_types, status, is_available, price_per_kwh, session_fee, currency, tariff_plan_id, firmware_version,
        last_heartbeat_at, api_key, api_key_expires_at, created_at, updated_at)
    SELECT r ->> 'id', coalesce(nullif(r ->> 'serial_number', ''), r ->> 'id'), r ->> 'model', r ->> 'manufacturer',
           (SELECT id FROM public.locations WHERE id = r ->> 'location_id'),
           coalesce((SELECT id FROM public.users WHERE id = r ->> 'user_id'),
                    (SELECT id FROM public.users WHERE id = r ->> 'admin_id')),
           legacy_v1.number(r ->> 'power_capacity', 1e6),
           CASE WHEN jsonb_typeof(r -> 'connector_types') = 'array'
                THEN ARRAY(SELECT jsonb_array_elements_text(r -> 'connector_types')) END,
           CASE WHEN lower(r ->> 'status') IN ('active', 'online', 'available', 'offline') THEN 'active'
                WHEN lower(r ->> 'status') IN ('maintenance', 'error', 'faulted') THEN 'maintenance'
                ELSE 'inactive' END,
           false, -- until it connects to us
           greatest(legacy_v1.number(r ->> 'price_per_kwh', 1e8), 0), greatest(legacy_v1.som(r ->> 'session_fee'), 0),
           coalesce(r ->> 'currency', 'KGS'),
           (SELECT id FROM public.tariff_plans WHERE id = r ->> 'tariff_plan_id'), r ->> 'firmware_version',
           coalesce((r ->> 'last_heartbeat_at')::timestamptz, (o ->> 'last_heartbeat')::timestamptz),
           r ->> 'api_key', (r ->> 'api_key_expires_at')::timestamptz,
           coalesce((r ->> 'created_at')::timestamptz, now()), coalesce((r ->> 'updated_at')::timestamptz, now())
      FROM legacy_v1.rows('stations') r
      LEFT JOIN legacy_v1.rows('ocpp_station_status') o ON o ->> 'station_id' = r ->> 'id';
    GET DIAGNOSTICS copied = ROW_COUNT;
    PERFORM legacy_v1.same('stations', (SELECT count(*) FROM legacy_v1.rows('stations')), copied);
    INSERT INTO public.stations (id, serial_number, status)
    SELECT DISTINCT r ->> 'station_id', r ->> 'station_id', 'inactive' FROM legacy_v1.rows('charging_sessions') r
     WHERE NOT EXISTS (SELECT FROM public.stations s WHERE s.id = r ->> 'station_id');

    -- `unavailable` was written by the earlier server at every disconnect, `occupied` at every start: neither is what
    -- the charger said, and after the takeover nobody would take them back. Only faults and OCPP's own words stay.
    SELECT coalesce(bool_and(r ->> 'id' ~ '^\d{1,15}$'), false) INTO numeric_ids FROM legacy_v1.rows('connectors') r;
    INSERT INTO public.connectors (id, station_id, connector_number, connector_type, power_kw, ocpp_status, error_code)
    SELECT DISTINCT ON (r ->> 'station_id', number)
           CASE WHEN numeric_ids THEN (r ->> 'id')::bigint
                ELSE nextval(pg_get_serial_sequence('public.connectors', 'id')) END,
           r ->> 'station_id', number, r ->> 'connector_type', nullif(greatest(legacy_v1.number(r ->> 'power_kw', 1e6), 0), 0),
           CASE WHEN lower(r ->> 'status') = 'faulted' THEN 'Faulted'
                WHEN r ->> 'status' IN ('Preparing', 'Charging', 'SuspendedEVSE', 'SuspendedEV', 'Finishing', 'Reserved')
                     THEN r ->> 'status'
                ELSE 'Available' END,
           nullif(r ->> 'error_code', 'NoError')
      FROM legacy_v1.rows('connectors') r JOIN public.stations s ON s.id = r ->> 'station_id',
           coalesce((r ->> 'connector_number')::integer, (r ->> 'connector_id')::integer, 1) AS number
     WHERE number BETWEEN 1 AND 100
     ORDER BY r ->> 'station_id', number, r ->> 'id';
    GET DIAGNOSTICS copied = ROW_COUNT;
    PERFORM setval(pg_get_serial_sequence('public.connectors', 'id'), greatest((SELECT max(id) FROM public.connectors), 1));
    RAISE NOTICE 'taken over: % connectors', copied;
    -- Stations that only counted their connectors get their rows.
    INSERT INTO public.connectors (station_id, connector_number)
    SELECT r ->> 'id', number
      FROM legacy_v1.rows('stations') r,
           generate_series(1, least(coalesce((r ->> 'connectors_count')::integer, 1), 100)) AS number
    ON CONFLICT (station_id, connector_number) DO NOTHING;

    INSERT INTO public.user_favorites (user_id, location_id, created_at)
    SELECT r ->> 'user_id', r ->> 'location_id', min(coalesce((r ->> 'created_at')::timestamptz, now()))
      FROM legacy_v1.rows('user_favorites') r
      JOIN public.clients c ON c.id = r ->> 'user_id' AND c.status <> 'deleted'
      JOIN public.locations l ON l.id = r ->> 'location_id'
     GROUP BY 1, 2;
END
$$;
