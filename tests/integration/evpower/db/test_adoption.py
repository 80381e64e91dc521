"""A populated earlier database is taken over whole: every row accounted for, every som in its place."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from evpower.db.migrate import MigrationError, migrate
from evpower.pricing.models import Price

EARLIER = (Path(__file__).parents[3] / "fixtures" / "earlier_database.sql").read_text(encoding="utf-8")
ONE, TWO, THREE, FOUR = (f"7b0d6c1e-0000-4000-8000-00000000000{n}" for n in (1, 2, 3, 4))

Conn = psycopg.Connection[dict[str, Any]]


@pytest.fixture
async def adopted(empty_database_url: str) -> Conn:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute(EARLIER.encode())
    await migrate(empty_database_url)
    return psycopg.connect(empty_database_url, autocommit=True, row_factory=dict_row)


@pytest.fixture
def db(adopted: Conn) -> Iterator[Conn]:
    yield adopted
    adopted.close()


def rows(conn: Conn, query: str, *values: object) -> list[dict[str, Any]]:
    return conn.execute(query.encode(), values or None).fetchall()


def one(conn: Conn, query: str, *values: object) -> dict[str, Any]:
    (row,) = rows(conn, query, *values)
    return row


def balance(conn: Conn, client: str) -> Decimal:
    amount: Decimal = one(conn, "SELECT balance FROM clients WHERE id = %s", client)["balance"]
    return amount


def test_no_row_is_lost(db: Conn) -> None:
    counted = {}
    for table in ("users", "locations", "tariff_plans", "tariff_rules", "stations", "charging_sessions",
                  "ocpp_transactions", "ocpp_meter_values", "balance_topups", "client_tariffs", "promo_codes",
                  "promo_code_usage", "pricing_history", "ocpp_configuration", "audit_logs"):  # fmt: skip
        ours = one(db, f"SELECT count(*) AS n FROM {table}")["n"]
        theirs = one(db, f"SELECT count(*) AS n FROM legacy_v1.{table}")["n"]
        counted[table] = (ours, theirs)
    counted["tariff_plans"] = (counted["tariff_plans"][0] - 1, counted["tariff_plans"][1])  # for rules without one
    assert {table: pair for table, pair in counted.items() if pair[0] != pair[1]} == {}
    assert min(pair[1] for pair in counted.values()) > 0
    assert one(db, "SELECT count(*) AS n FROM id_tags")["n"] == 2
    assert one(db, "SELECT count(*) AS n FROM user_favorites")["n"] == 2  # the third is of a client who is gone


def test_balances_become_exact_and_the_ledger_opens_with_them(db: Conn) -> None:
    assert balance(db, ONE) == Decimal("1500.50")
    assert balance(db, TWO) == Decimal("0.30") + 50  # float noise gone; the second hanging session's reserve is back
    assert balance(db, THREE) == 0  # was -45.10
    assert balance(db, FOUR) == Decimal("20.00") + 53  # 80 reserved, 2 kWh at 13.5 billed
    assert balance(db, "7b0d6c1e-0000-4000-8000-000000000006") == 0  # was NULL
    assert balance(db, "7b0d6c1e-0000-4000-8000-000000000007") == Decimal("100.00")  # was 99.999
    wrong = rows(
        db,
        """SELECT c.id FROM clients c LEFT JOIN LATERAL (
               SELECT sum(amount) AS total, max(id) AS last FROM payment_transactions_odengi l WHERE l.client_id = c.id
           ) l ON true LEFT JOIN payment_transactions_odengi last ON last.id = l.last
           WHERE c.balance IS DISTINCT FROM l.total OR c.balance IS DISTINCT FROM last.balance_after""",
    )
    assert wrong == []
    openings = rows(db, "SELECT client_id FROM payment_transactions_odengi WHERE transaction_type = 'opening_balance'")
    assert len(openings) == one(db, "SELECT count(*) AS n FROM clients")["n"]
    debt = one(db, "SELECT client_id, amount, session_id FROM write_offs")
    assert (debt["client_id"], debt["amount"], debt["session_id"]) == (THREE, Decimal("45.10"), None)


def test_a_charging_session_goes_on_where_it_was(db: Conn) -> None:
    live = one(db, "SELECT * FROM charging_sessions WHERE id = 's-live'")
    assert (live["state"], live["status"], live["user_id"], live["connector_id"]) == ("charging", "started", ONE, 1)
    assert (live["ocpp_transaction_id"], live["id_tag"]) == (1757052000, "996700000011")
    assert (live["meter_start"], live["energy_wh"], live["meter_current"]) == (30000.5, 5250, 35250.5)
    assert (live["limit_type"], live["limit_value"], live["amount"]) == ("energy", 20, Decimal("70.88"))
    assert (live["reserved_amount"], live["taken_amount"], live["payment_processed"]) == (270, 270, False)
    assert Price.from_json(live["price"]).rate_per_kwh == Decimal("13.5")
    transaction = one(db, "SELECT * FROM ocpp_transactions WHERE id = 1757052000")
    assert (transaction["session_id"], transaction["status"]) == ("s-live", "active")
    held = one(db, "SELECT * FROM connectors WHERE station_id = 'CHR-BGK-001' AND connector_number = 1")
    assert (held["live_session_id"], held["status"]) == ("s-live", "occupied")


def test_sessions_that_hang_stay_for_the_sweep_that_settles_them(db: Conn) -> None:
    now = datetime.now(UTC)
    hanging = one(db, "SELECT * FROM charging_sessions WHERE id = 's-hanging'")
    assert (hanging["state"], hanging["taken_amount"], hanging["energy_wh"]) == ("charging", 150, 6500)
    assert now - hanging["created_at"] > timedelta(hours=12)
    waiting = one(db, "SELECT * FROM charging_sessions WHERE id = 's-waiting'")
    assert (waiting["state"], waiting["taken_amount"], waiting["ocpp_transaction_id"]) == ("pending", 100, None)
    assert now - waiting["created_at"] < timedelta(minutes=10)
    live = rows(db, "SELECT id FROM charging_sessions WHERE status = 'started' ORDER BY id")
    assert [row["id"] for row in live] == ["s-hanging", "s-live", "s-waiting"]


def test_sessions_that_cannot_be_live_beside_another_are_closed_and_their_rest_returned(db: Conn) -> None:
    """Use case: the earlier system let one client, or one connector, have several `started` sessions."""
    double = one(db, "SELECT * FROM charging_sessions WHERE id = 's-double'")
    assert (double["state"], double["final_amount"], double["refund_amount"]) == ("error", 0, 50)
    crowded = one(db, "SELECT * FROM charging_sessions WHERE id = 's-crowded'")
    assert (crowded["state"], crowded["final_amount"], crowded["refund_amount"]) == ("stopped", 27, 53)
    # A StopTransaction that comes after all still finds its session and reconciles.
    transaction = one(db, "SELECT session_id, status FROM ocpp_transactions WHERE id = 1756800000")
    assert transaction == {"session_id": "s-crowded", "status": "active"}
    refunds = rows(
        db,
        "SELECT charging_session_id AS id, amount, source_key FROM payment_transactions_odengi"
        " WHERE transaction_type = 'charge_refund' ORDER BY 1",
    )
    assert refunds == [
        {"id": "s-crowded", "amount": 53, "source_key": "settle:s-crowded:1"},
        {"id": "s-double", "amount": 50, "source_key": "settle:s-double:1"},
    ]


def test_closed_sessions_keep_their_figures_and_cannot_be_billed_again(db: Conn) -> None:
    settled = one(db, "SELECT * FROM charging_sessions WHERE id = 's-settled'")
    assert (settled["state"], settled["payment_processed"], settled["taken_amount"]) == ("stopped", True, 200)
    assert (settled["energy"], settled["amount_paid"]) == (Decimal("14.815"), 200)
    history = one(db, "SELECT details FROM pricing_history WHERE id = %s", settled["pricing_history_id"])
    assert history["details"] == {"v1_id": "ph-1"}
    completed = one(db, "SELECT status, final_amount FROM charging_sessions WHERE id = 's-completed'")
    assert completed == {"status": "stopped", "final_amount": Decimal("135.00")}
    refunded = one(db, "SELECT status, needs_review FROM charging_sessions WHERE id = 's-error'")
    assert refunded == {"status": "error", "needs_review": False}
    lost = one(db, "SELECT status, needs_review, review_reasons FROM charging_sessions WHERE id = 's-failed'")
    assert lost == {"status": "error", "needs_review": True, "review_reasons": ["v1_reserve_unaccounted"]}
    assert one(db, "SELECT state FROM charging_sessions WHERE id = 's-settled-started'")["state"] == "stopped"
    unsettled = rows(
        db,
        """SELECT s.id FROM charging_sessions s WHERE s.status <> 'started' AND NOT EXISTS (
               SELECT FROM settlements t WHERE t.session_id = s.id AND t.taken_after = s.taken_amount)""",
    )
    assert unsettled == []


def test_sessions_and_ledger_agree(db: Conn) -> None:
    wrong = rows(
        db,
        """SELECT s.id FROM charging_sessions s WHERE s.adopted_amount - s.taken_amount <> (
               SELECT coalesce(sum(l.amount), 0) FROM payment_transactions_odengi l
                WHERE l.charging_session_id = s.id)""",
    )
    assert wrong == []


def test_rows_without_a_client_belong_to_a_closed_nameless_one(db: Conn) -> None:
    gone = one(db, "SELECT status, anonymized, phone, balance FROM clients WHERE id = 'client-that-is-gone'")
    assert gone == {"status": "deleted", "anonymized": True, "phone": None, "balance": 0}
    assert one(db, "SELECT user_id FROM charging_sessions WHERE id = 's-unlinked'")["user_id"] == "unlinked-in-v1"


def test_a_phone_belongs_to_one_client(db: Conn) -> None:
    assert one(db, "SELECT id FROM clients WHERE phone = '+996700000011'")["id"] == ONE
    again = one(db, "SELECT phone, name FROM clients WHERE id = '7b0d6c1e-0000-4000-8000-000000000008'")
    assert again == {"phone": None, "name": "Client One again"}


def test_topups_keep_their_ids_and_only_uncredited_ones_are_asked_about(db: Conn) -> None:
    topups = {row["id"]: row for row in rows(db, "SELECT * FROM balance_topups ORDER BY id")}
    assert {id_: row["status"] for id_, row in topups.items()} == {
        1: "approved", 2: "approved", 3: "canceled", 4: "canceled", 5: "failed", 6: "approved", 7: "expired",
        8: "expired", 9: "processing", 10: "failed", 11: "approved", 12: "expired"}  # fmt: skip
    asked = {id_ for id_, row in topups.items() if row["needs_status_check"]}
    assert asked == {3, 4, 5, 9, 12}
    assert all((row["next_check_at"] is not None) == (id_ in asked) for id_, row in topups.items())
    assert {id_ for id_, row in topups.items() if row["credited_earlier"]} == {1, 2, 6, 11}
    assert (topups[2]["paid_amount"], topups[6]["refunded_amount"]) == (1000, 250)
    assert (topups[9]["order_id"], topups[9]["invoice_id"]) == ("topup_2_1756700900", "INV000000009")
    assert topups[9]["requested_amount"] == Decimal("150.56")
    # 7 and 8 share an order id at the provider: one could be credited for the other
    assert [topups[n]["order_id"] for n in (7, 8)] == ["v1-7", "v1-8"]
    assert [topups[n]["status_reason"] for n in (7, 8)] == ["v1_order_repeats"] * 2
    new = "INSERT INTO balance_topups (client_id, order_id, requested_amount) VALUES (%s, 'n', 10) RETURNING id"
    assert one(db, new, ONE)["id"] == 13


def test_transaction_numbers_stay_those_that_the_chargers_know(db: Conn) -> None:
    numbers = rows(db, "SELECT id FROM ocpp_transactions")
    assert {row["id"] for row in numbers} >= {1756706400, 1756965600, 1757052000, 1756800000, 1756792800}
    twice = rows(db, "SELECT id, status FROM ocpp_transactions WHERE started_at = '2025-09-02T06:00:05Z' ORDER BY id")
    assert [row["status"] for row in twice] == ["stopped", "stopped"]
    assert twice[0]["id"] < 1000
    following = one(db, "SELECT nextval('ocpp_transaction_id_seq') AS n")["n"]
    assert following not in {row["id"] for row in numbers}


def test_network_is_ready_for_chargers_to_return(db: Conn) -> None:
    """`unavailable` and `occupied` were the earlier server's own words, which nobody would take back."""
    connectors = {
        (row["station_id"], row["connector_number"]): row["status"]
        for row in rows(db, "SELECT station_id, connector_number, status FROM connectors")
    }
    assert connectors == {
        ("CHR-BGK-001", 1): "occupied", ("CHR-BGK-001", 2): "available", ("CHR-BGK-002", 1): "occupied",
        ("CHR-BGK-003", 1): "occupied", ("CHR-BGK-003", 2): "available", ("chr_osh_001", 1): "faulted"}  # fmt: skip
    station = one(db, "SELECT * FROM stations WHERE id = 'CHR-BGK-002'")
    assert (station["tariff_plan_id"], station["price_per_kwh"], station["is_available"]) == ("plan_standard", 0, False)
    assert one(db, "SELECT stations_count, connectors_count FROM locations WHERE id = 'EVP-001'") == {
        "stations_count": 2,
        "connectors_count": 3,
    }
    rule = one(db, "SELECT * FROM tariff_rules WHERE id = 'rule-night'")
    assert (str(rule["time_start"]), rule["days_of_week"], rule["price"]) == ("23:00:00", [1, 2, 3, 4, 5], 9)
    operator = one(db, "SELECT admin_id, is_active FROM users WHERE id = 'staff-operator'")
    assert operator == {"admin_id": "staff-admin", "is_active": False}


def test_meter_values_find_their_session_and_month(db: Conn) -> None:
    query = "SELECT session_id, energy_wh FROM ocpp_meter_values WHERE transaction_id = 1756706400 ORDER BY 2"
    september = rows(db, query)
    assert september == [
        {"session_id": "s-settled", "energy_wh": 8400},
        {"session_id": "s-settled", "energy_wh": 15815},
    ]
    liar = one(db, "SELECT received_at FROM ocpp_meter_values WHERE sampled_at < '1971-01-01'")
    assert datetime.now(UTC) - liar["received_at"] < timedelta(minutes=5)


def test_what_was_not_ours_is_left_and_what_bypassed_policies_is_out_of_reach(db: Conn) -> None:
    assert one(db, "SELECT description FROM maintenance")["description"] == "Cable"
    assert one(db, "SELECT relrowsecurity FROM pg_class WHERE oid = 'public.maintenance'::regclass") == {
        "relrowsecurity": False
    }
    assert one(db, "SELECT to_regproc('public.restore_account') IS NULL AS gone")["gone"]
    assert one(db, "SELECT to_regclass('public.rich_clients') IS NULL AS gone")["gone"]
    assert one(db, "SELECT has_schema_privilege('authenticated', 'legacy_v1', 'USAGE') AS may")["may"] is False
    assert one(db, "SELECT count(*) AS n FROM legacy_v1.payment_transactions_odengi")["n"] == 7


async def test_taking_over_twice_changes_nothing(db: Conn, empty_database_url: str) -> None:
    before = rows(db, "SELECT id, balance FROM clients ORDER BY id")
    assert await migrate(empty_database_url) == []
    assert rows(db, "SELECT id, balance FROM clients ORDER BY id") == before


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        ("UPDATE clients SET balance = 'NaN' WHERE id = 'staff-admin'", "clients staff-admin are no amounts"),
        ("ALTER TABLE ocpp_meter_values DROP COLUMN sampled_values, ALTER station_id DROP NOT NULL;"
         " UPDATE ocpp_meter_values SET station_id = NULL WHERE id = 3", "null value in column"),
        ("UPDATE tariff_rules SET price = -1 WHERE id = 'rule-day'", "violates check constraint"),
    ],
)  # fmt: skip
async def test_data_that_cannot_be_taken_over_stops_the_takeover(
    empty_database_url: str, spoil: str, complaint: str
) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute(EARLIER.encode())
        conn.execute(spoil.encode())
    with pytest.raises(MigrationError, match=complaint):
        await migrate(empty_database_url)


async def test_what_people_must_look_at_is_a_warning(empty_database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute(EARLIER.encode())
    with caplog.at_level(logging.INFO):
        await migrate(empty_database_url)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["top-ups 7, 8 share an order id: ask the provider about them by hand, by their invoices"]
    assert "taken over: 12 sessions" in caplog.text


async def test_a_database_of_an_older_make_has_fewer_tables_and_columns(empty_database_url: str) -> None:
    """Use case: the takeover must not depend on columns that came late to the earlier system."""
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute(EARLIER.encode())
        conn.execute(
            b"""DROP TABLE ocpp_meter_values, client_tariffs, promo_code_usage, promo_codes, pricing_history,
                           audit_logs, ocpp_configuration, ocpp_authorization, ocpp_station_status, user_favorites;
                ALTER TABLE charging_sessions DROP COLUMN reserved_amount, DROP COLUMN payment_processed,
                    DROP COLUMN pricing_history_id, DROP COLUMN final_amount;
                ALTER TABLE clients DROP COLUMN anonymized, DROP COLUMN deleted_at, DROP COLUMN delete_requested_at;
                ALTER TABLE balance_topups DROP COLUMN invoice_expires_at, DROP COLUMN needs_status_check;
                ALTER TABLE stations DROP COLUMN tariff_plan_id, DROP COLUMN last_heartbeat_at"""
        )
    await migrate(empty_database_url)
    with psycopg.connect(empty_database_url, row_factory=dict_row) as conn:
        # without the column the reserve is found in the earlier ledger, else in `amount`
        found = rows(conn, "SELECT id, taken_amount FROM charging_sessions WHERE status = 'started' ORDER BY id")
        assert {row["id"]: row["taken_amount"] for row in found} == {
            "s-hanging": 150,
            "s-live": Decimal("70.88"),
            "s-waiting": 100,
        }
