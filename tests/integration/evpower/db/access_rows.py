"""The rows that ``test_access_matrix`` tries: two in each table, named ``mine`` and ``theirs``."""

# Callers are no rows to try: their names hold neither word.
CALLERS = """
INSERT INTO users (id, role, admin_id, is_active) VALUES
    ('first-admin', 'admin', NULL, true), ('second-admin', 'admin', NULL, true), ('root', 'superadmin', NULL, true),
    ('former-admin', 'superadmin', NULL, false), ('retired-admin', 'admin', NULL, false),
    ('first-operator', 'operator', 'first-admin', true), ('lone-operator', 'operator', NULL, true),
    ('root-operator', 'operator', 'root', true), ('stranded-operator', 'operator', 'retired-admin', true);
"""

# Written for `mine`; for `theirs` the words below are replaced.
ROWS = """
INSERT INTO users (id, role, admin_id) VALUES ('user-mine', 'operator', 'first-admin');
INSERT INTO clients (id, name) VALUES ('client-mine', 'mine');
INSERT INTO locations (id, name, user_id, status) VALUES ('location-mine', 'mine', 'first-admin', 'active');
INSERT INTO stations (id, serial_number, location_id, status)
    VALUES ('station-mine', 'sn-mine', 'location-mine', 'active');
INSERT INTO tariff_plans (id, name) VALUES ('plan-mine', 'mine');
INSERT INTO tariff_rules (id, tariff_plan_id, tariff_type, price) VALUES ('rule-mine', 'plan-mine', 'per_kwh', 13);
INSERT INTO client_tariffs (id, client_id) VALUES ('tariff-mine', 'client-mine');
INSERT INTO promo_codes (id, code, discount_type, discount_value) VALUES ('promo-mine', 'mine', 'fixed', 1);
INSERT INTO charging_sessions (id, user_id, station_id, connector_id, id_tag, state, price)
    VALUES ('session-mine', 'client-mine', 'station-mine', 1, 'TAG', 'stopped', '{"rate_per_kwh": "13"}');
INSERT INTO connectors (station_id, connector_number, live_session_id) VALUES ('station-mine', 1, 'session-mine');
INSERT INTO user_favorites (user_id, location_id) VALUES ('client-mine', 'location-mine');
INSERT INTO balance_topups (client_id, order_id, requested_amount) VALUES ('client-mine', 'order-mine', 10);
INSERT INTO payment_transactions_odengi (client_id, transaction_type, amount, balance_before, balance_after, source_key,
    charging_session_id) VALUES ('client-mine', 'charge_reserve', 0, 0, 0, 'mine', 'session-mine');
INSERT INTO payment_inbox (provider, order_id, fingerprint, payload, signature_scheme)
    VALUES ('ODENGI', 'order-mine', 'mine', '{}', 'hash');
INSERT INTO topup_refunds (topup_id, client_id, trans_id, amount, is_full, request_key, requested_by)
    SELECT id, 'client-mine', 't', 1, false, 'mine', 'test' FROM balance_topups WHERE order_id = 'order-mine';
INSERT INTO pricing_history (client_id, rate_per_kwh) VALUES ('client-mine', 13);
INSERT INTO settlements (session_id, revision, source, energy_wh, minutes, due_amount, taken_before, taken_after)
    VALUES ('session-mine', 1, 'test', 0, 0, 0, 0, 0);
INSERT INTO write_offs (client_id, session_id, amount, reason) VALUES ('client-mine', 'session-mine', 1, 'test');
INSERT INTO promo_code_usage (promo_code_id, client_id, session_id, discount_amount)
    VALUES ('promo-mine', 'client-mine', 'session-mine', 1);
INSERT INTO id_tags (id_tag, client_id) VALUES ('TAG-mine', 'client-mine');
INSERT INTO ocpp_transactions (station_id, connector_id, id_tag, meter_start, started_at, session_id)
    VALUES ('station-mine', 1, 'TAG', 0, now(), 'session-mine');
INSERT INTO ocpp_meter_values (station_id, connector_id, raw) VALUES ('station-mine', 1, '{}');
INSERT INTO station_commands (id, station_id, action, session_id, expires_at, requested_by)
    VALUES ('command-mine', 'station-mine', 'RemoteStopTransaction', 'session-mine', now(), 'test');
INSERT INTO ocpp_configuration (station_id, key) VALUES ('station-mine', 'Key');
INSERT INTO configuration_disputes (station_id, key, wanted) VALUES ('station-mine', 'key', 'value');
INSERT INTO station_events (station_id, type) VALUES ('station-mine', 'test');
INSERT INTO station_messages (station_id, received_at, direction) VALUES ('station-mine', now(), 'event');
INSERT INTO quarantined_messages (station_id, action, reason, payload, fingerprint)
    VALUES ('station-mine', 'StopTransaction', 'test', '{}', 'f');
INSERT INTO station_jobs (id, station_id, kind, location, requested_by, expires_at, created_at, updated_at)
    VALUES ('job-mine', 'station-mine', 'log', '', 'test', now(), now(), now());
INSERT INTO firmware_files (id, owner_id, name, version, object_key, size_bytes, sha256, created_by, created_at,
    updated_at) VALUES ('file-mine', 'first-admin', 'f', '1', 'key-mine', 1, repeat('0', 64), 'test', now(), now());
INSERT INTO session_reviews (session_id, action, actor, note, created_at)
    VALUES ('session-mine', 'close', 'test', 'n', now());
INSERT INTO reservations (station_id, reservation_id, connector_id, id_tag, client_id, expires_at, requested_by,
    created_at, updated_at) VALUES ('station-mine', 1, 1, 'TAG', 'client-mine', now(), 'test', now(), now());
INSERT INTO local_lists (station_id, updated_at) VALUES ('station-mine', now());
INSERT INTO local_list_entries (station_id, id_tag) VALUES ('station-mine', 'TAG');
INSERT INTO local_list_parts (station_id, list_version, update_type, entries) VALUES ('station-mine', 1, 'Full', '[]');
INSERT INTO charging_profiles (station_id, charging_profile_id, connector_id, purpose, stack_level, requested_by,
    created_at, updated_at) VALUES ('station-mine', 1, 1, 'TxProfile', 0, 'test', now(), now());
INSERT INTO station_key_candidates (id, station_id, key_hash, delivery, created_by, created_at)
    VALUES ('key-mine', 'station-mine', 'h', 'send', 'test', now());
INSERT INTO station_certificates (id, station_id, csr, csr_fingerprint, requested_at)
    VALUES ('cert-mine', 'station-mine', '', '', now());
INSERT INTO installed_certificates (id, station_id, certificate_type, hash_algorithm, issuer_name_hash, issuer_key_hash,
    serial_number, seen_at) VALUES ('root-mine', 'station-mine', 't', 'SHA256', 'n', 'k', '1', now());
INSERT INTO audit_logs (operation, client_id, actor) VALUES ('test', 'client-mine', 'first-admin');
INSERT INTO push_outbox (user_id, event, dedup_key) VALUES ('client-mine', 'test', 'mine');
INSERT INTO otp_codes (phone, code_hash, expires_at, created_at) VALUES ('mine', '', now(), now());
INSERT INTO refresh_tokens (id, client_id, token_hash, created_at, last_used_at, expires_at)
    VALUES ('login-mine', 'client-mine', 'mine', now(), now(), now());
INSERT INTO devices (id, client_id, fcm_token, platform) VALUES ('device-mine', 'client-mine', 'mine', 'android');
INSERT INTO push_subscriptions (id, user_id, endpoint, p256dh_key, auth_key)
    VALUES ('browser-mine', 'client-mine', 'e', 'k', 'a');
INSERT INTO used_nonces VALUES ('mine', now());
INSERT INTO rate_counters (bucket, window_start) VALUES ('mine', now());
INSERT INTO idempotency_keys (scope, key, fingerprint) VALUES ('mine', 'k', 'f');
INSERT INTO ledger_audit_progress (audit) VALUES ('mine');
INSERT INTO hearing_runs (id, instance_id, since, until) VALUES ('mine', 'mine', now(), now());
INSERT INTO meter_flushes (writer, flush) VALUES ('mine', 1);
"""
THEIRS = {"mine": "theirs", "first-admin": "second-admin", "'active'": "'inactive'"}


def rows_of_both() -> str:
    """Statements that add the callers and both rows of each table."""
    theirs = ROWS
    for word, other in THEIRS.items():
        theirs = theirs.replace(word, other)
    # whoever acted, so that the one admin's name stands in both rows of the audit log
    theirs = theirs.replace("'client-theirs', 'second-admin'", "'client-theirs', 'first-admin'")
    return CALLERS + ROWS + theirs
