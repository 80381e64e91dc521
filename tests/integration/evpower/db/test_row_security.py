"""Who may see and change which rows and columns (mobile-api.md §11.3): asked as each role, with its claims."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import orjson
import psycopg
import pytest
from psycopg import errors as pg
from psycopg import sql

from tests.conftest import create_database, drop_database
from tests.integration.evpower.db import network
from tests.integration.evpower.db.network import DEMO, A, B, Conn

As = Callable[..., Conn]


@contextmanager
def roles(dsn: str) -> Iterator[As]:
    """Connections that have taken a role and carry claims as PostgREST and our own entries set them."""
    opened: list[Conn] = []

    def connect(role: str, **claims: str) -> Conn:
        conn = network.owner(dsn)
        opened.append(conn)
        conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        if claims:
            conn.execute("SELECT set_config('request.jwt.claims', %s, false)", (orjson.dumps(claims).decode(),))
        return conn

    yield connect
    for conn in opened:
        conn.close()


@pytest.fixture(scope="module")
def shared_url(postgres: str, _template: str) -> Iterator[str]:
    """One database for all tests that change nothing."""
    name = f"{_template}_row_security"
    dsn = create_database(postgres, name, _template)
    network.build(dsn)
    yield dsn
    drop_database(postgres, name)


@pytest.fixture
def as_role(shared_url: str) -> Iterator[As]:
    with roles(shared_url) as connect:
        yield connect


@pytest.fixture
def as_fresh_role(database_url: str) -> Iterator[As]:
    network.build(database_url)
    with roles(database_url) as connect:
        yield connect


def column(conn: Conn, query: str) -> list[object]:
    return [next(iter(row.values())) for row in conn.execute(query.encode()).fetchall()]


@contextmanager
def refused() -> Iterator[None]:
    with pytest.raises(pg.InsufficientPrivilege):
        yield


OWN = {
    "clients": "id",
    "charging_sessions": "user_id",
    "balance_topups": "client_id",
    "payment_transactions_odengi": "client_id",
    "client_tariffs": "client_id",
    "user_favorites": "user_id",
}


def test_every_table_of_public_forces_row_level_security(shared_url: str) -> None:
    with network.owner(shared_url) as conn:
        tables = conn.execute(
            "SELECT relname, relrowsecurity AND relforcerowsecurity AS forced FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        ).fetchall()
        views = conn.execute(
            "SELECT relname, coalesce('security_invoker=true' = ANY (reloptions), false) AS invoker FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm')"
        ).fetchall()
        definers = conn.execute(
            "SELECT proname, r.rolname FROM pg_proc p JOIN pg_roles r"
            " ON r.rolname IN ('anon', 'authenticated', 'service_role', 'evpower_api')"
            " WHERE pronamespace = 'public'::regnamespace AND prosecdef"
            " AND has_function_privilege(r.oid, p.oid, 'EXECUTE') ORDER BY 1, 2"
        ).fetchall()
    assert len(tables) > 30
    assert [table["relname"] for table in tables if not table["forced"]] == []
    assert len(views) == 3
    assert [view["relname"] for view in views if not view["invoker"]] == []
    # What runs with the owner's rights is out of the app's reach.
    assert {(row["proname"], row["rolname"]) for row in definers} == {
        ("evpower_promo_uses", "evpower_api"),
        ("evpower_promo_uses", "service_role"),
        ("evpower_reservations_at", "evpower_api"),
        ("evpower_reservations_at", "service_role"),
        # Policies of the API ask these; they tell of the caller alone.
        ("evpower_own_admin", "evpower_api"),
        ("evpower_own_stations", "evpower_api"),
        ("evpower_sees_all_stations", "evpower_api"),
        ("evpower_staff_owner", "evpower_api"),
        ("evpower_staff_role", "evpower_api"),
    }


def test_nobody_but_the_owner_touches_the_list_of_migrations(as_role: As) -> None:
    for role in ("anon", "authenticated", "service_role", "evpower_api", "evpower_worker"):
        with refused():
            as_role(role).execute("SELECT * FROM schema_migrations")


@pytest.mark.parametrize("table", sorted(OWN))
def test_a_client_sees_only_own_rows(as_role: As, table: str) -> None:
    mine = column(as_role("authenticated", sub=A), f"SELECT DISTINCT {OWN[table]} FROM {table}")
    theirs = column(as_role("authenticated", sub=B), f"SELECT DISTINCT {OWN[table]} FROM {table}")
    nobodys = column(as_role("authenticated"), f"SELECT {OWN[table]} FROM {table}")
    assert (mine, theirs, nobodys) == ([A], [B], [])


@pytest.mark.parametrize("table", sorted(OWN))
def test_an_id_that_is_no_uuid_sees_nothing_and_breaks_nothing(as_role: As, table: str) -> None:
    """Use case: the demo account of the app sends its literal id; auth.uid() would cast it to uuid and fail."""
    assert column(as_role("authenticated", sub=DEMO), f"SELECT {OWN[table]} FROM {table}") == []


def test_staff_sees_only_the_own_staff_row(as_role: As) -> None:
    conn = as_role("authenticated", sub="staff")
    row = conn.execute("SELECT id, email, role, is_active, admin_id, created_at, updated_at FROM users").fetchone()
    assert row is not None
    assert row["id"] == "staff"
    with refused():
        conn.execute("SELECT password_hash FROM users")


def test_the_app_embeds_ledger_rows_of_a_topup(as_role: As) -> None:
    """The app asks PostgREST by this constraint name."""
    conn = as_role("authenticated", sub=A)
    found = column(
        conn,
        "SELECT confrelid::regclass::text FROM pg_constraint"
        " WHERE conname = 'payment_transactions_odengi_balance_topup_id_fkey' AND contype = 'f'",
    )
    assert found == ["balance_topups"]


def test_a_client_may_change_the_own_name_and_nothing_else(as_fresh_role: As) -> None:
    conn = as_fresh_role("authenticated", sub=A)
    assert conn.execute("UPDATE clients SET name = 'New', updated_at = now()").rowcount == 1
    assert conn.execute("UPDATE clients SET name = 'Theirs' WHERE id = %s", (B,)).rowcount == 0
    for change in ("balance = 1000000", "status = 'active'", "phone = '1'", "id = 'client-b'", "deleted_at = NULL"):
        with refused():
            conn.execute(f"UPDATE clients SET {change}".encode())
    blocked = as_fresh_role("authenticated", sub="client-x")
    assert blocked.execute("UPDATE clients SET name = 'Still here'").rowcount == 0


@pytest.mark.parametrize("table", sorted({*OWN, "settlements", "stations", "connectors", "audit_logs", "users"}))
def test_the_app_writes_to_no_table_of_money_or_network(as_role: As, table: str) -> None:
    for role in ("anon", "authenticated"):
        conn = as_role(role, sub=A)
        for statement in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE", f"INSERT INTO {table} DEFAULT VALUES"):
            if (role, table) == ("authenticated", "user_favorites") and not statement.startswith("TRUNCATE"):
                continue
            with refused():
                conn.execute(statement.encode())


def test_favourites_are_the_clients_own(as_fresh_role: As) -> None:
    conn = as_fresh_role("authenticated", sub=A)
    assert conn.execute("DELETE FROM user_favorites").rowcount == 1
    conn.execute("INSERT INTO user_favorites (user_id, location_id) VALUES (%s, 'l-1')", (A,))
    with refused():
        conn.execute("INSERT INTO user_favorites (user_id, location_id) VALUES (%s, 'l-2')", (B,))
    assert column(as_fresh_role("evpower_worker"), "SELECT count(*) FROM user_favorites") == [2]


def test_anon_sees_the_open_network_without_keys(as_role: As) -> None:
    conn = as_role("anon")
    assert column(conn, "SELECT id FROM locations") == ["l-1"]
    assert column(conn, "SELECT serial_number FROM stations") == ["SN-1"]
    assert column(conn, "SELECT count(*) FROM connectors WHERE station_id = 's-1'") == [2]
    assert column(conn, "SELECT location_id FROM location_status_view") == ["l-1"]
    assert column(conn, "SELECT station_id FROM station_availability") == ["s-1"]
    for secret in ("api_key", "auth_key_hash", "connected_instance", "boot_info", "user_id"):
        with refused():
            conn.execute(f"SELECT {secret} FROM stations".encode())
    with refused():
        conn.execute("SELECT * FROM stations")


@pytest.mark.parametrize(
    "table",
    ["users", "clients", "charging_sessions", "balance_topups", "payment_transactions_odengi", "user_favorites",
     "id_tags", "audit_logs", "station_commands", "payment_inbox", "ocpp_meter_values", "ocpp_meter_values_default",
     "station_messages", "station_messages_default",
     "ocpp_transactions", "settlements", "write_offs", "tariff_plans", "client_tariffs", "promo_codes",
     "idempotency_keys", "push_outbox", "ocpp_station_status", "quarantined_messages", "otp_codes", "refresh_tokens",
     "devices", "push_subscriptions", "session_reviews"],
)  # fmt: skip
def test_anon_sees_nothing_of_people_and_money(as_role: As, table: str) -> None:
    with refused():
        as_role("anon").execute(f"SELECT * FROM {table}".encode())


def test_no_partition_is_a_way_round_the_policies(as_role: As, shared_url: str) -> None:
    with network.owner(shared_url) as conn:
        partitions = column(
            conn,
            "SELECT inhrelid::regclass::text FROM pg_inherits"
            " WHERE inhparent IN ('ocpp_meter_values'::regclass, 'station_messages'::regclass)",
        )
    assert len(partitions) >= 4 + 9
    for role in ("anon", "authenticated", "service_role", "evpower_api", "evpower_worker"):
        conn = as_role(role, sub=A)
        for partition in partitions:
            with refused():
                conn.execute(f"SELECT * FROM {partition}".encode())


@pytest.mark.parametrize("table", sorted(set(OWN) - {"user_favorites", "client_tariffs"}))
def test_the_api_sees_its_callers_rows_and_with_a_wide_scope_more(as_role: As, shared_url: str, table: str) -> None:
    """All of it, table by table and caller by caller: test_access_matrix."""
    with network.owner(shared_url) as conn:
        everything = column(conn, f"SELECT count(*) FROM {table}")
    assert column(as_role("evpower_api", sub=A), f"SELECT DISTINCT {OWN[table]} FROM {table}") == [A]
    assert column(as_role("evpower_api"), f"SELECT count(*) FROM {table}") == [0]
    assert column(as_role("evpower_api", sub=DEMO), f"SELECT count(*) FROM {table}") == [0]
    system = column(as_role("evpower_api", evp_scope="system"), f"SELECT count(*) FROM {table}")
    assert system == ([0] if table == "payment_transactions_odengi" else everything)
    master = column(as_role("evpower_api", sub="master", evp_scope="staff"), f"SELECT count(*) FROM {table}")
    assert master == ([0] if table == "balance_topups" else everything)


def test_what_staff_did_about_a_session_is_not_its_client_s_to_see(as_role: As) -> None:
    insert = (
        "INSERT INTO session_reviews (session_id, action, actor, note, created_at)"
        " VALUES (%s, 'close', 'x', 'x', now())"
    )
    conn = as_role("evpower_api", sub=A)
    assert column(conn, "SELECT count(*) FROM session_reviews") == [0]
    with refused():
        conn.execute(insert, ("session-a",))
    with refused():
        as_role("authenticated", sub=A).execute("SELECT * FROM session_reviews")


def test_a_scope_is_not_the_apps_to_claim(as_role: As) -> None:
    """A Supabase token could carry a claim of any name; only our own role's policies look at the scope."""
    conn = as_role("authenticated", sub=A, evp_scope="system")
    assert column(conn, "SELECT id FROM clients") == [A]


def test_the_api_cannot_book_for_another_client(as_role: As) -> None:
    conn = as_role("evpower_api", sub=A)
    with refused():
        conn.execute(
            "INSERT INTO payment_transactions_odengi (client_id, transaction_type, amount, balance_before,"
            " balance_after, source_key) VALUES (%s, 'manual_adjustment', 1, 50, 51, 'x')",
            (B,),
        )
    assert conn.execute("UPDATE clients SET balance = balance + 1 WHERE id = %s", (B,)).rowcount == 0
    with refused():
        conn.execute("DELETE FROM clients")


@pytest.mark.parametrize("role", ["evpower_api", "evpower_worker", "service_role"])
def test_booked_rows_stay_as_they_are(as_role: As, role: str) -> None:
    conn = as_role(role, evp_scope="system")
    for table in ("payment_transactions_odengi", "settlements", "session_reviews"):
        for statement in (
            f"DELETE FROM {table}",
            f"TRUNCATE {table} CASCADE",
            f"UPDATE {table} SET created_at = now()",
        ):
            with refused():
                conn.execute(statement.encode())


def test_not_even_the_owner_changes_a_booked_row(database_url: str) -> None:
    network.build(database_url)
    with network.owner(database_url) as conn, pytest.raises(pg.RestrictViolation, match="append-only"):
        conn.execute("UPDATE payment_transactions_odengi SET amount = 0, balance_after = balance_before")


def test_the_worker_sees_and_serves_everything(as_fresh_role: As) -> None:
    conn = as_fresh_role("evpower_worker")
    assert column(conn, "SELECT count(*) FROM clients") == [3]
    assert conn.execute("UPDATE clients SET balance = balance WHERE id = %s", (B,)).rowcount == 1
    conn.execute("INSERT INTO ocpp_meter_values (station_id, connector_id, raw) VALUES ('s-1', 1, '{}')")
    conn.execute(
        "INSERT INTO ocpp_transactions (station_id, connector_id, id_tag, meter_start, started_at)"
        " VALUES ('s-1', 1, 'T', 0, now())"
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("CREATE TABLE public.mine ()")


def test_balances_cannot_go_below_zero_whoever_asks(as_role: As) -> None:
    with pytest.raises(pg.CheckViolation):
        as_role("evpower_worker").execute("UPDATE clients SET balance = -0.01 WHERE id = %s", (A,))
