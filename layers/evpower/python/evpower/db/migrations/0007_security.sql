-- Row level security, grants and the realtime publication (mobile-api.md §11.3, design: Edge).

GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role, evpower_api, evpower_worker;
GRANT EXECUTE ON FUNCTION evpower_claim(text), evpower_scope_is_wide(), evpower_offline_after()
    TO anon, authenticated, service_role, evpower_api, evpower_worker;
-- It reads across clients, so it is not the app's to call.
REVOKE ALL ON FUNCTION evpower_promo_uses(text, text) FROM PUBLIC, anon, authenticated;
GRANT EXECUTE ON FUNCTION evpower_promo_uses(text, text) TO service_role, evpower_api, evpower_worker;

-- Every table of ours: nobody's by default (Supabase grants new tables to anon), RLS on and forced, so that the owner
-- obeys it as well; workers and the service role pass. Later migrations call it for the tables that they add.
-- Only named tables: an adopted database may hold other people's tables beside ours.
CREATE FUNCTION evpower_protect_table(table_name text) RETURNS void LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    EXECUTE format('REVOKE ALL ON public.%I FROM PUBLIC, anon, authenticated, service_role, evpower_api, evpower_worker',
                   table_name);
    EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', table_name);
    EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', table_name);
    EXECUTE format('CREATE POLICY worker_all ON public.%I TO evpower_worker, service_role USING (true) WITH CHECK (true)',
                   table_name);
    -- migrations and maintenance run as the owner
    EXECUTE format('CREATE POLICY owner_all ON public.%I TO CURRENT_USER USING (true) WITH CHECK (true)', table_name);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON public.%I TO evpower_worker, service_role', table_name);
END
$$;
REVOKE ALL ON FUNCTION evpower_protect_table(text) FROM PUBLIC, anon, authenticated;
SELECT evpower_protect_table(name) FROM unnest(ARRAY[
    'users', 'clients', 'locations', 'tariff_plans', 'tariff_rules', 'client_tariffs', 'promo_codes', 'stations',
    'connectors', 'user_favorites', 'balance_topups', 'payment_transactions_odengi', 'payment_inbox', 'topup_refunds',
    'pricing_history', 'charging_sessions', 'settlements', 'write_offs', 'promo_code_usage', 'id_tags',
    'ocpp_transactions', 'ocpp_meter_values', 'station_commands', 'ocpp_configuration', 'station_events',
    'quarantined_messages', 'audit_logs', 'idempotency_keys', 'used_nonces', 'rate_counters', 'push_outbox']) AS name;
REVOKE UPDATE, DELETE ON payment_transactions_odengi, settlements FROM evpower_worker, service_role;
REVOKE ALL ON ocpp_meter_values_default, station_availability, location_status_view, ocpp_station_status
    FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON SEQUENCE station_epoch_seq, ocpp_transaction_id_seq FROM PUBLIC, anon, authenticated;
GRANT USAGE ON SEQUENCE station_epoch_seq, ocpp_transaction_id_seq TO evpower_worker, service_role, evpower_api;
GRANT SELECT ON station_availability, location_status_view, ocpp_station_status
    TO evpower_worker, service_role, evpower_api;

-- The app, reading through PostgREST with the anon key or a Supabase session ----------------------------------

GRANT SELECT ON clients, charging_sessions, balance_topups, payment_transactions_odengi TO authenticated;
GRANT UPDATE (name, updated_at) ON clients TO authenticated;
CREATE POLICY own_select ON clients FOR SELECT TO authenticated USING (id = evpower_claim('sub'));
CREATE POLICY own_update ON clients FOR UPDATE TO authenticated
    USING (id = evpower_claim('sub') AND status = 'active') WITH CHECK (id = evpower_claim('sub'));
CREATE POLICY own_select ON charging_sessions FOR SELECT TO authenticated USING (user_id = evpower_claim('sub'));
CREATE POLICY own_select ON balance_topups FOR SELECT TO authenticated USING (client_id = evpower_claim('sub'));
CREATE POLICY own_select ON payment_transactions_odengi FOR SELECT TO authenticated
    USING (client_id = evpower_claim('sub'));

GRANT SELECT (id, email, role, is_active, admin_id, created_at, updated_at) ON users TO authenticated;
CREATE POLICY own_select ON users FOR SELECT TO authenticated USING (id = evpower_claim('sub'));

GRANT SELECT, INSERT, DELETE ON user_favorites TO authenticated;
CREATE POLICY own_all ON user_favorites TO authenticated
    USING (user_id = evpower_claim('sub')) WITH CHECK (user_id = evpower_claim('sub'));

-- Public data of the network: columns without keys and connection data.
GRANT SELECT (id, name, address, city, country, latitude, longitude, status, working_hours, stations_count,
              connectors_count, created_at, updated_at) ON locations TO anon, authenticated;
GRANT SELECT (id, serial_number, model, manufacturer, location_id, power_capacity, connector_types, connectors_count,
              status, is_available, price_per_kwh, session_fee, currency, tariff_plan_id, firmware_version,
              last_heartbeat_at, registration_status, ocpp_status, created_at, updated_at) ON stations TO anon, authenticated;
GRANT SELECT (id, station_id, connector_number, connector_type, power_kw, status, error_code) ON connectors
    TO anon, authenticated;
CREATE POLICY public_select ON locations FOR SELECT TO anon, authenticated USING (status = 'active');
CREATE POLICY public_select ON stations FOR SELECT TO anon, authenticated USING (status <> 'inactive');
CREATE POLICY public_select ON connectors FOR SELECT TO anon, authenticated USING (true);
GRANT SELECT ON station_availability, location_status_view TO anon, authenticated;

GRANT SELECT ON tariff_plans, tariff_rules, client_tariffs TO authenticated;
CREATE POLICY active_select ON tariff_plans FOR SELECT TO authenticated USING (is_active);
CREATE POLICY active_select ON tariff_rules FOR SELECT TO authenticated USING (is_active);
CREATE POLICY own_select ON client_tariffs FOR SELECT TO authenticated USING (client_id = evpower_claim('sub'));

-- functions/api: the caller's rows; staff and system steps by their scope -------------------------------------

GRANT SELECT, INSERT, UPDATE ON clients, balance_topups, charging_sessions, topup_refunds, station_commands,
    stations, connectors, locations, users, payment_inbox TO evpower_api;
GRANT UPDATE (discount_amount) ON promo_code_usage TO evpower_api;
GRANT SELECT, INSERT ON payment_transactions_odengi, settlements, write_offs, pricing_history, promo_code_usage,
    audit_logs, station_events TO evpower_api;
GRANT SELECT ON tariff_plans, tariff_rules, client_tariffs, promo_codes, ocpp_transactions, ocpp_meter_values,
    ocpp_configuration TO evpower_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON id_tags, quarantined_messages, idempotency_keys, used_nonces, rate_counters,
    push_outbox, user_favorites TO evpower_api;

CREATE POLICY api_own ON clients TO evpower_api
    USING (id = evpower_claim('sub') OR evpower_scope_is_wide())
    WITH CHECK (id = evpower_claim('sub') OR evpower_scope_is_wide());
CREATE POLICY api_own ON charging_sessions TO evpower_api
    USING (user_id = evpower_claim('sub') OR evpower_scope_is_wide())
    WITH CHECK (user_id = evpower_claim('sub') OR evpower_scope_is_wide());
CREATE POLICY api_own ON user_favorites TO evpower_api
    USING (user_id = evpower_claim('sub') OR evpower_scope_is_wide())
    WITH CHECK (user_id = evpower_claim('sub') OR evpower_scope_is_wide());
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['balance_topups', 'payment_transactions_odengi', 'topup_refunds', 'write_offs',
                             'client_tariffs', 'promo_code_usage', 'id_tags'] LOOP
        EXECUTE format('CREATE POLICY api_own ON public.%I TO evpower_api
            USING (client_id = evpower_claim(''sub'') OR evpower_scope_is_wide())
            WITH CHECK (client_id = evpower_claim(''sub'') OR evpower_scope_is_wide())', t);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['settlements', 'ocpp_transactions', 'ocpp_meter_values'] LOOP
        EXECUTE format('CREATE POLICY api_own ON public.%I TO evpower_api
            USING (evpower_scope_is_wide() OR EXISTS (SELECT FROM charging_sessions s
                    WHERE s.id = session_id AND s.user_id = evpower_claim(''sub'')))
            WITH CHECK (evpower_scope_is_wide() OR EXISTS (SELECT FROM charging_sessions s
                    WHERE s.id = session_id AND s.user_id = evpower_claim(''sub'')))', t);
    END LOOP;
    -- Network data and the API's own bookkeeping carry nobody's private rows.
    FOREACH t IN ARRAY ARRAY['stations', 'connectors', 'locations', 'tariff_plans', 'tariff_rules', 'promo_codes',
                             'pricing_history', 'station_commands', 'ocpp_configuration', 'station_events',
                             'audit_logs', 'idempotency_keys', 'used_nonces', 'rate_counters', 'push_outbox',
                             'payment_inbox', 'quarantined_messages', 'users'] LOOP
        EXECUTE format('CREATE POLICY api_all ON public.%I TO evpower_api USING (true) WITH CHECK (true)', t);
    END LOOP;
END
$$;

-- Balance changes reach the app's profile screen through Supabase realtime; the SELECT policy applies there.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_publication WHERE pubname = 'supabase_realtime' AND NOT puballtables)
       AND NOT EXISTS (SELECT FROM pg_publication_tables WHERE pubname = 'supabase_realtime'
                          AND schemaname = 'public' AND tablename = 'clients') THEN
        ALTER PUBLICATION supabase_realtime ADD TABLE public.clients;
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'supabase_realtime belongs to another role: add public.clients to it by hand';
END
$$;
