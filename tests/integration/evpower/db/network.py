"""A small network for the tests of this folder, written as the owner."""

from typing import Any

import psycopg
from psycopg.rows import dict_row

A, B, DEMO = "client-a", "client-b", "demo-user-apple-review"

Conn = psycopg.Connection[dict[str, Any]]

_NETWORK = """
INSERT INTO users (id, email, role) VALUES ('staff', 'staff@example.test', 'admin'), ('other', NULL, 'operator');
INSERT INTO clients (id, phone, name, balance) VALUES
    ('client-a', '+996700000021', 'A', 100), ('client-b', '+996700000022', 'B', 50), ('client-x', NULL, 'X', 0);
UPDATE clients SET status = 'blocked' WHERE id = 'client-x';
INSERT INTO payment_transactions_odengi (client_id, transaction_type, amount, balance_before, balance_after, source_key)
VALUES ('client-a', 'opening_balance', 150, 0, 150, 'o:a'), ('client-b', 'opening_balance', 50, 0, 50, 'o:b');
INSERT INTO locations (id, name, status) VALUES ('l-1', 'Open', 'active'), ('l-2', 'Closed', 'inactive');
INSERT INTO stations (id, serial_number, location_id, api_key, auth_key_hash, last_heartbeat_at) VALUES
    ('s-1', 'SN-1', 'l-1', 'invented', 'invented', now()), ('s-2', 'SN-2', 'l-2', NULL, NULL, NULL);
UPDATE stations SET status = 'inactive' WHERE id = 's-2';
INSERT INTO connectors (station_id, connector_number) VALUES ('s-1', 1), ('s-1', 2), ('s-2', 1);
INSERT INTO tariff_plans (id, name) VALUES ('plan', 'Plan');
INSERT INTO tariff_rules (id, tariff_plan_id, tariff_type, price) VALUES ('rule', 'plan', 'per_kwh', 13.5);
INSERT INTO client_tariffs (id, client_id, fixed_rate_per_kwh) VALUES ('ct-a', 'client-a', 10), ('ct-b', 'client-b', 11);
INSERT INTO charging_sessions (id, user_id, station_id, connector_id, id_tag, state, price, reserved_amount,
    taken_amount, ocpp_transaction_id) VALUES
    ('session-a', 'client-a', 's-1', 1, 'TAGA', 'charging', '{"rate_per_kwh": "13.5"}', 50, 50, 7),
    ('session-b', 'client-b', 's-1', 2, 'TAGB', 'pending', '{"rate_per_kwh": "13.5"}', 0, 0, NULL);
UPDATE connectors SET live_session_id = 'session-a' WHERE station_id = 's-1' AND connector_number = 1;
UPDATE connectors SET live_session_id = 'session-b' WHERE station_id = 's-1' AND connector_number = 2;
INSERT INTO payment_transactions_odengi (client_id, transaction_type, amount, balance_before, balance_after, source_key,
    charging_session_id) VALUES ('client-a', 'charge_reserve', -50, 150, 100, 'reserve:session-a:1', 'session-a');
INSERT INTO ocpp_transactions (id, station_id, connector_id, id_tag, meter_start, started_at, session_id)
    VALUES (7, 's-1', 1, 'TAGA', 0, now(), 'session-a');
INSERT INTO ocpp_meter_values (station_id, connector_id, transaction_id, session_id, energy_wh, raw)
    VALUES ('s-1', 1, 7, 'session-a', 100, '{}'), ('s-1', 2, NULL, NULL, 5, '{}');
INSERT INTO balance_topups (client_id, order_id, requested_amount) VALUES ('client-a', 'order-a', 10), ('client-b', 'order-b', 10);
INSERT INTO user_favorites (user_id, location_id) VALUES ('client-a', 'l-1'), ('client-b', 'l-1');
INSERT INTO audit_logs (operation, client_id) VALUES ('start', 'client-a');
INSERT INTO settlements (session_id, revision, source, energy_wh, minutes, due_amount, taken_before, taken_after)
    VALUES ('session-a', 1, 'test', 0, 0, 0, 0, 0), ('session-b', 1, 'test', 0, 0, 0, 0, 0);
INSERT INTO write_offs (client_id, amount, reason) VALUES ('client-a', 1, 'test'), ('client-b', 1, 'test');
"""  # noqa: E501


def owner(dsn: str) -> Conn:
    """A connection of the owner."""
    return psycopg.connect(dsn, autocommit=True, row_factory=dict_row)


def build(dsn: str) -> None:
    """Two clients with a live session each on one station, and what belongs to them."""
    with owner(dsn) as conn:
        conn.execute(_NETWORK.encode())
