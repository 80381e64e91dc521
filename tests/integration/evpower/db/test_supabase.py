"""Migrations on a database as Supabase (or RDS) hands it out: no superuser, roles and a publication that exist,
default privileges that open every new table to the world, an auth schema of another owner.

A server of its own: roles belong to the server, and here they must not be made by our superuser before.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import errors as pg

from evpower.db.migrate import load_migrations, migrate
from infra.local.services import Postgres
from tests.integration.evpower.db import network
from tests.integration.evpower.db.network import DEMO, A

ALL = [migration.version for migration in load_migrations()]
EARLIER = (Path(__file__).parents[3] / "fixtures" / "earlier_database.sql").read_text(encoding="utf-8")
_numbers = itertools.count(1)

_CLUSTER = """
CREATE ROLE anon NOLOGIN; CREATE ROLE authenticated NOLOGIN; CREATE ROLE service_role NOLOGIN BYPASSRLS;
CREATE ROLE authenticator LOGIN NOINHERIT; GRANT anon, authenticated, service_role TO authenticator;
CREATE ROLE supabase_auth_admin NOLOGIN;
CREATE ROLE owner_with_bypass LOGIN NOSUPERUSER CREATEDB CREATEROLE BYPASSRLS;
CREATE ROLE owner_without_bypass LOGIN NOSUPERUSER CREATEROLE NOBYPASSRLS;
GRANT anon, authenticated, service_role TO owner_with_bypass, owner_without_bypass;
"""
_DATABASE = """
CREATE SCHEMA auth AUTHORIZATION supabase_auth_admin;
GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role, {owner};
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT nullif(current_setting('request.jwt.claims', true)::jsonb ->> 'sub', '')::uuid $$;
CREATE TABLE auth.users (id uuid PRIMARY KEY, phone text);
ALTER TABLE auth.users OWNER TO supabase_auth_admin;
CREATE PUBLICATION supabase_realtime; ALTER PUBLICATION supabase_realtime OWNER TO {owner};
GRANT ALL ON SCHEMA public TO {owner};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;
"""


@pytest.fixture(scope="module", params=["owner_with_bypass", "owner_without_bypass"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[Postgres, str]]:
    """A server and the role that owns its projects: Supabase's may bypass policies, the one of RDS may not."""
    server = Postgres(durable=False)
    try:
        server.start()
        with psycopg.connect(server.dsn(), autocommit=True) as conn:
            conn.execute(_CLUSTER.encode())
        yield server, request.param
    finally:
        server.stop()


@pytest.fixture
def project(server: tuple[Postgres, str]) -> str:
    """DSN of the owner's login to a fresh project database."""
    (postgres, owner), name = server, f"project_{next(_numbers)}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} OWNER {owner}".encode())
    with psycopg.connect(postgres.dsn(name), autocommit=True) as conn:
        conn.execute(_DATABASE.format(owner=owner).encode())
    return postgres.dsn(name).replace("//postgres@", f"//{owner}@")


def as_role(dsn: str, role: str, sub: str | None = None) -> network.Conn:
    conn = network.owner(dsn)
    conn.execute(f"SET ROLE {role}".encode())
    if sub:
        conn.execute("SELECT set_config('request.jwt.claims', json_build_object('sub', %s::text)::text, false)", (sub,))
    return conn


async def test_the_owner_migrates_without_being_superuser(project: str) -> None:
    assert await migrate(project) == ALL
    assert await migrate(project) == []
    network.build(project)
    for role in ("evpower_api", "evpower_worker"):
        with as_role(project, role) as conn:
            conn.execute("SELECT count(*) FROM stations")


async def test_what_supabase_opens_by_default_is_closed_again(project: str) -> None:
    await migrate(project)
    network.build(project)
    with as_role(project, "evpower_worker") as conn:
        made = conn.execute("SELECT evpower_ensure_meter_partitions(5) AS made").fetchone()
        assert made == {"made": 3}
    with network.owner(project) as conn:
        open_tables = conn.execute(
            """SELECT c.relname, r.rolname, p.privilege FROM pg_class c
                 CROSS JOIN (VALUES ('anon'), ('authenticated')) r (rolname)
                 CROSS JOIN (VALUES ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE'), ('REFERENCES'), ('TRIGGER'))
                       p (privilege)
                WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')
                  AND has_table_privilege(r.rolname, c.oid, p.privilege)"""
        ).fetchall()
        readable = conn.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')"
            " AND has_table_privilege('anon', oid, 'SELECT') ORDER BY 1"
        ).fetchall()
        partitions = conn.execute(
            "SELECT relname FROM pg_class WHERE relname LIKE 'ocpp_meter_values%' AND relkind IN ('r', 'p')"
            " AND (NOT relrowsecurity OR NOT relforcerowsecurity)"
        ).fetchall()
        functions = conn.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef"
            " AND (has_function_privilege('anon', oid, 'EXECUTE')"
            "      OR has_function_privilege('authenticated', oid, 'EXECUTE'))"
        ).fetchall()
    assert {(row["relname"], row["rolname"], row["privilege"]) for row in open_tables} == {
        ("user_favorites", "authenticated", "INSERT"),
        ("user_favorites", "authenticated", "DELETE"),
    }
    assert [row["relname"] for row in readable] == ["location_status_view", "station_availability"]
    assert partitions == []
    assert functions == []


async def test_policies_do_not_need_uuid_ids(project: str) -> None:
    await migrate(project)
    network.build(project)
    with as_role(project, "authenticated", DEMO) as conn:
        with pytest.raises(pg.InvalidTextRepresentation):
            conn.execute("SELECT auth.uid()")
        assert conn.execute("SELECT id FROM clients").fetchall() == []
    with as_role(project, "authenticated", A) as conn:
        assert conn.execute("SELECT balance FROM clients").fetchall() == [{"balance": 100}]


async def test_service_role_bypasses_policies_but_not_the_ledger(project: str) -> None:
    await migrate(project)
    network.build(project)
    with as_role(project, "service_role") as conn:
        assert len(conn.execute("SELECT id FROM clients").fetchall()) == 3
        for statement in (b"DELETE FROM payment_transactions_odengi", b"TRUNCATE payment_transactions_odengi CASCADE"):
            with pytest.raises(pg.InsufficientPrivilege):
                conn.execute(statement)


async def test_balances_are_published_to_the_app(project: str) -> None:
    await migrate(project)
    with network.owner(project) as conn:
        published = conn.execute("SELECT schemaname, tablename FROM pg_publication_tables").fetchall()
    assert published == [{"schemaname": "public", "tablename": "clients"}]


async def test_an_earlier_database_there_is_taken_over(project: str) -> None:
    """With policies by auth.uid(), forced row level security and a published table, as the earlier system had them."""
    with psycopg.connect(project, autocommit=True) as conn:
        conn.execute(EARLIER.encode())
        conn.execute(
            b"""CREATE POLICY own ON balance_topups USING (client_id = auth.uid()::text);
                ALTER TABLE balance_topups ENABLE ROW LEVEL SECURITY;
                ALTER TABLE balance_topups FORCE ROW LEVEL SECURITY;
                ALTER PUBLICATION supabase_realtime ADD TABLE clients, charging_sessions"""
        )
    assert await migrate(project) == ALL
    with network.owner(project) as conn:
        row = conn.execute("SELECT count(*) AS n FROM balance_topups").fetchone()
        assert row == {"n": 12}
        published = conn.execute("SELECT schemaname, tablename FROM pg_publication_tables").fetchall()
    assert published == [{"schemaname": "public", "tablename": "clients"}]
    for role in ("anon", "authenticated", "service_role"):
        with as_role(project, role) as conn, pytest.raises(pg.InsufficientPrivilege):
            conn.execute("SELECT * FROM legacy_v1.clients")
