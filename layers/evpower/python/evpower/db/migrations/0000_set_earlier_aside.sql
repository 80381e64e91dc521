-- An earlier EvPower database may be in the way: tables of the same names with other types, other rules and float
-- balances. They move, whole and unchanged, into the schema `legacy_v1`; 0009 to 0011 copy their rows into our tables.
-- On an empty database this does nothing.
DO $$
DECLARE
    -- our own names, those of the next migrations, and what the earlier system kept beside them
    names text[] := ARRAY[
        'users', 'clients', 'locations', 'tariff_plans', 'tariff_rules', 'client_tariffs', 'promo_codes', 'stations',
        'connectors', 'user_favorites', 'balance_topups', 'payment_transactions_odengi', 'payment_inbox',
        'topup_refunds', 'pricing_history', 'charging_sessions', 'settlements', 'write_offs', 'promo_code_usage',
        'id_tags', 'ocpp_transactions', 'ocpp_meter_values', 'station_commands', 'ocpp_configuration',
        'station_events', 'quarantined_messages', 'audit_logs', 'idempotency_keys', 'used_nonces', 'rate_counters',
        'push_outbox', 'ocpp_station_status', 'ocpp_authorization', 'otp_codes', 'push_subscriptions', 'user_devices',
        'devices', 'refresh_tokens', 'station_availability', 'location_status_view'];
    found text[];
    item record;
BEGIN
    SELECT coalesce(array_agg(c.relname::text ORDER BY c.relname), '{}') INTO found
      FROM pg_class c
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
       AND c.relname = ANY (names);
    IF found = '{}' THEN
        RETURN;
    END IF;
    IF NOT found @> ARRAY['clients', 'stations', 'charging_sessions'] THEN
        -- Use case: somebody else's `users` table. Taking it away would break another application.
        RAISE EXCEPTION 'the schema public has tables named like ours (%), but it is no EvPower database',
            array_to_string(found, ', ') USING HINT = 'Migrate into a database of its own, or rename these tables.';
    END IF;

    CREATE SCHEMA legacy_v1;
    REVOKE ALL ON SCHEMA legacy_v1 FROM PUBLIC;

    -- What the copying migrations read through. A row as JSON has whatever columns the earlier table had, and text
    -- casts hide whether an id was uuid, varchar or serial and an amount float or numeric.
    EXECUTE $def$
        CREATE FUNCTION legacy_v1.rows(table_name text) RETURNS SETOF jsonb LANGUAGE plpgsql STABLE ROWS 100000 AS $f$
        BEGIN
            IF to_regclass(format('legacy_v1.%I', table_name)) IS NOT NULL THEN
                RETURN QUERY EXECUTE format('SELECT to_jsonb(t) FROM legacy_v1.%I t', table_name);
            END IF;
        END $f$ $def$;
    EXECUTE $def$
        CREATE FUNCTION legacy_v1.number(value text, below numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS $f$
            -- NULL for what is no finite number of a sane size
            SELECT CASE WHEN value ~ '^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?$'
                        THEN CASE WHEN abs(value::numeric) < below THEN value::numeric END END
        $f$ $def$;
    EXECUTE $def$
        CREATE FUNCTION legacy_v1.som(value text) RETURNS numeric LANGUAGE sql IMMUTABLE AS $f$
            SELECT round(legacy_v1.number(value, 1e9), 2)
        $f$ $def$;
    EXECUTE $def$
        CREATE FUNCTION legacy_v1.positive(value text) RETURNS numeric LANGUAGE sql IMMUTABLE AS $f$
            SELECT CASE WHEN legacy_v1.som(value) >= 0 THEN legacy_v1.som(value) END
        $f$ $def$;
    EXECUTE $def$
        CREATE FUNCTION legacy_v1.same(what text, expected numeric, actual numeric) RETURNS void LANGUAGE plpgsql AS $f$
        BEGIN
            IF expected IS DISTINCT FROM actual THEN
                RAISE EXCEPTION 'taking over %: % expected, % found', what, expected, actual;
            END IF;
            RAISE NOTICE 'taken over: % %', actual, what;
        END $f$ $def$;

    -- Views and functions that bypass row level security must not stay reachable: they would show or change our
    -- tables by the same names. (restore_account of the earlier system re-activates blocked clients.)
    FOR item IN
        SELECT p.oid::regprocedure AS name FROM pg_proc p
         WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef AND pg_has_role(p.proowner, 'USAGE')
           AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET SCHEMA legacy_v1', item.name);
    END LOOP;
    FOR item IN
        WITH RECURSIVE moved AS (
            SELECT c.oid, c.relname, c.relkind FROM pg_class c
             WHERE c.relnamespace = 'public'::regnamespace AND c.relname = ANY (found)
            UNION
            SELECT v.oid, v.relname, v.relkind
              FROM moved m
              JOIN pg_depend d ON d.refobjid = m.oid AND d.classid = 'pg_rewrite'::regclass
              JOIN pg_rewrite r ON r.oid = d.objid
              JOIN pg_class v ON v.oid = r.ev_class AND v.relnamespace = 'public'::regnamespace)
        SELECT relname, relkind FROM moved
    LOOP
        EXECUTE format('ALTER %s public.%I SET SCHEMA legacy_v1',
                       CASE item.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                                         WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, item.relname);
        IF item.relkind IN ('r', 'p') THEN
            -- An owner that obeys row level security would copy nothing and notice nothing.
            EXECUTE format('ALTER TABLE legacy_v1.%I NO FORCE ROW LEVEL SECURITY', item.relname);
        END IF;
    END LOOP;
    FOR item IN
        SELECT pubname, tablename FROM pg_publication_tables JOIN pg_publication USING (pubname)
         WHERE schemaname = 'legacy_v1' AND NOT puballtables AND pg_has_role(pubowner, 'USAGE')
    LOOP
        EXECUTE format('ALTER PUBLICATION %I DROP TABLE legacy_v1.%I', item.pubname, item.tablename);
    END LOOP;
    RAISE NOTICE 'moved the earlier database into the schema legacy_v1: %', array_to_string(found, ', ');
END
$$;
