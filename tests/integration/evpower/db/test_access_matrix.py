"""Every table, every verb, every role with every kind of claims: who reaches which rows (docs/decisions/0016).

The tables come from the catalogue, so that a new one without an expectation in ``access.py`` fails here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import psycopg
import pytest
from psycopg import errors as pg
from psycopg import sql

from tests.conftest import create_database, drop_database
from tests.integration.evpower.db import network
from tests.integration.evpower.db.access import API, APP, BOTH, NONE, TABLES, Access, Claims, Rows, reach
from tests.integration.evpower.db.access_rows import rows_of_both
from tests.integration.evpower.db.network import Conn

VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE")
WORKERS = ("evpower_worker", "service_role")
ROLES = ("anon", "authenticated", "evpower_api", *WORKERS)
ACTORS: dict[str, tuple[str, Claims]] = {
    **{name: ("evpower_api", claims) for name, claims in API.items()},
    **APP,
    **{role: (role, {}) for role in WORKERS},
}
_LABEL = re.compile(r"mine|theirs")
_TABLES = """
    SELECT relname::text AS name FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY 1"""


@pytest.fixture(scope="module")
def tried_url(postgres: str, _template: str) -> Iterator[str]:
    name = f"{_template}_access"
    dsn = create_database(postgres, name, _template)
    with network.owner(dsn) as conn:
        conn.execute(rows_of_both().encode())
    yield dsn
    drop_database(postgres, name)


@pytest.fixture
def owner(tried_url: str) -> Iterator[Conn]:
    with network.owner(tried_url) as conn:
        yield conn


@dataclass(frozen=True)
class Tried:
    """A table with its columns and its two rows by their names."""

    name: str
    key: tuple[str, ...]
    writable: tuple[str, ...]
    rows: dict[str, dict[str, Any]]

    def statement(self, verb: str, columns: tuple[str, ...]) -> sql.Composed:
        """One that touches the row whose key is given, and changes nothing."""
        table = sql.Identifier("public", self.name)
        where = sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier(c), sql.Placeholder(c)) for c in self.key
        )
        if verb == "INSERT":
            names = sql.SQL(", ").join(map(sql.Identifier, self.writable))
            return sql.SQL(
                "INSERT INTO {table} ({names}) SELECT {names} FROM json_populate_record(NULL::{table}, %(_row)s)"
            ).format(table=table, names=names)
        if verb == "UPDATE":
            column = sql.Identifier(next(c for c in columns if c in self.writable))
            return sql.SQL("UPDATE {} SET {c} = {c} WHERE ").format(table, c=column) + where
        return sql.SQL("SELECT FROM {} WHERE " if verb == "SELECT" else "DELETE FROM {} WHERE ").format(table) + where


def _names(conn: Conn, query: str, *values: object) -> tuple[str, ...]:
    return tuple(next(iter(row.values())) for row in conn.execute(query.encode(), values).fetchall())


def look_at(conn: Conn, table: str) -> Tried:
    key = _names(
        conn,
        """SELECT attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = indrelid AND attnum = ANY (indkey)
            WHERE indrelid = %s::regclass AND indisprimary""",
        table,
    ) or ("id",)
    writable = _names(
        conn,
        """SELECT attname::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
              AND attgenerated = '' AND attidentity <> 'a' ORDER BY attname""",
        table,
    )
    found: dict[str, dict[str, Any]] = {}
    query = sql.SQL("SELECT to_jsonb(t) AS line FROM public.{} t").format(sql.Identifier(table))
    for row in conn.execute(query).fetchall():
        if label := _LABEL.search(orjson.dumps(row["line"]).decode()):
            assert found.setdefault(label[0], row["line"]) is row["line"], f"{table}: two rows named {label[0]}"
    return Tried(table, key, writable, found)


def columns_of(conn: Conn, role: str, table: str, verb: str) -> tuple[str, ...]:
    """Columns on which the role has the right; of a right without columns (DELETE) all of them or none."""
    right = "has_table_privilege(%s, c.oid, %s)" if verb == "DELETE" else "has_column_privilege(%s, c.oid, attnum, %s)"
    return _names(
        conn,
        f"""SELECT attname::text FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid
             WHERE c.oid = %s::regclass AND attnum > 0 AND NOT attisdropped AND {right} ORDER BY attname""",
        f"public.{table}",
        role,
        verb,
    )


def _succeeds(conn: Conn, tried: Tried, verb: str, label: str, actor: str, columns: tuple[str, ...]) -> bool:
    role, claims = ACTORS[actor]
    row = tried.rows[label]
    values = {name: str(row[name]) for name in tried.key} | {"_row": orjson.dumps(row).decode()}
    with conn.transaction(force_rollback=True):
        if verb == "INSERT":  # what is not there yet, of all that refers to it
            conn.execute("SET LOCAL session_replication_role = replica")
            conn.execute(tried.statement("DELETE", ()), values)
            conn.execute("SET LOCAL session_replication_role = DEFAULT")
        conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        conn.execute("SELECT set_config('request.jwt.claims', %s, true)", (orjson.dumps(claims).decode(),))
        try:
            return conn.execute(tried.statement(verb, columns), values).rowcount == 1
        except pg.InsufficientPrivilege:
            return False
        except pg.ForeignKeyViolation:
            return verb == "DELETE"  # the row was there to be deleted; others refer to it


def expected(access: Access, actor: str, verb: str) -> Rows:
    if actor in WORKERS:
        return BOTH if verb in access.worker.split() else NONE
    return reach(access.words(actor, verb), actor)


def test_every_table_has_an_expectation(owner: Conn) -> None:
    assert set(_names(owner, _TABLES)) == set(TABLES)


@pytest.mark.parametrize("table", sorted(set(TABLES) - {"schema_migrations"}))
def test_who_reaches_which_rows(owner: Conn, table: str) -> None:
    tried = look_at(owner, table)
    assert set(tried.rows) == BOTH, f"{table} needs two rows to try, named mine and theirs (access_rows.py)"
    wrong = {}
    for actor, (role, _) in ACTORS.items():
        for verb in VERBS:
            columns = columns_of(owner, role, table, verb)
            found = frozenset(
                label for label in tried.rows if columns and _succeeds(owner, tried, verb, label, actor, columns)
            )
            if found != expected(TABLES[table], actor, verb):
                wrong[actor, verb] = set(found)
    assert wrong == {}


@pytest.mark.parametrize("table", sorted(TABLES))
@pytest.mark.parametrize("role", ROLES)
def test_rights_go_no_further_than_what_is_needed(owner: Conn, table: str, role: str) -> None:
    """Also rights that no row policy lets through, and single columns (``users.role``, ``users.password_hash``)."""
    access = TABLES[table]
    all_columns = set(_names(owner, "SELECT attname::text FROM pg_attribute WHERE attrelid = %s::regclass"
                                    " AND attnum > 0 AND NOT attisdropped", f"public.{table}"))  # fmt: skip
    actors = [name for name, (acting_as, _) in ACTORS.items() if acting_as == role]
    for verb in VERBS:
        wanted: set[str] = set()
        given = dict(access.columns).get(f"{role}.{verb}")
        if role in WORKERS:
            is_wanted = verb in access.worker.split()
        elif role == "anon":  # its words are shared with `authenticated`
            is_wanted = bool(expected(access, "anon", verb))
        else:
            is_wanted = bool(access.words(actors[0], verb))
        if is_wanted and given is None:
            wanted = all_columns
        elif is_wanted and given is not None:
            named = set(given.split()) - {"-"}
            wanted = all_columns - named if given.startswith("-") else named
        assert set(columns_of(owner, role, table, verb)) == wanted, f"{role} {verb} {table}"
    more = _names(
        owner,
        """SELECT p FROM unnest('{TRUNCATE,REFERENCES,TRIGGER}'::text[]) p
            WHERE has_table_privilege(%s, %s::regclass, p)""",
        role,
        f"public.{table}",
    )
    assert more == ()


def as_api(conn: Conn, claims: Claims) -> None:
    conn.execute("SET LOCAL ROLE evpower_api")
    conn.execute("SELECT set_config('request.jwt.claims', %s, true)", (orjson.dumps(claims).decode(),))


@pytest.mark.parametrize("actor", sorted(API))
def test_no_claims_make_somebody_superadmin(owner: Conn, actor: str) -> None:
    """`users.role` is changed by superadmins; an admin changes its own operators and leaves them operators."""
    promoted = []
    for user in ("user-mine", "user-theirs", "first-admin", "first-operator"):
        try:
            with owner.transaction(force_rollback=True):
                as_api(owner, API[actor])
                change = owner.execute("UPDATE users SET role = 'superadmin' WHERE id = %s", (user,))
                promoted += [user] * change.rowcount
        except pg.InsufficientPrivilege:
            pass
    assert bool(promoted) is (actor in ("superadmin", "master key"))


def test_a_driver_frees_no_connector_of_somebody_else(owner: Conn) -> None:
    free = "UPDATE connectors SET live_session_id = NULL WHERE live_session_id = %s"
    with owner.transaction(force_rollback=True):
        as_api(owner, API["client"])
        # A start locks whatever connector it wants, to see whether it is free.
        locked = owner.execute("SELECT station_id FROM connectors FOR UPDATE").fetchall()
        assert len(locked) == 2
        assert owner.execute(free, ("session-mine",)).rowcount == 1
        with pytest.raises(pg.InsufficientPrivilege, match="held by a session"):
            owner.execute(free, ("session-theirs",))
    for role in ("evpower_worker", None):
        with owner.transaction(force_rollback=True):
            if role:
                owner.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
            assert owner.execute(free, ("session-theirs",)).rowcount == 1


def test_staff_see_what_a_cards_holder_has_running_elsewhere(owner: Conn) -> None:
    """Use case: an operator starts a charge by a card whose holder is charging at another owner's station."""
    for state, seen in (("stopped", 1), ("charging", 2)):
        with owner.transaction(force_rollback=True):
            owner.execute("UPDATE charging_sessions SET state = %s WHERE id = 'session-theirs'", (state,))
            as_api(owner, API["operator"])
            assert len(owner.execute("SELECT id FROM charging_sessions").fetchall()) == seen
            assert owner.execute("UPDATE charging_sessions SET energy_wh = 1").rowcount == 1


def test_an_operator_reads_its_own_row_and_its_admins(owner: Conn) -> None:
    with owner.transaction(force_rollback=True):
        as_api(owner, {"sub": "first-operator", "role": "authenticated"})
        found = owner.execute("SELECT id FROM users ORDER BY id").fetchall()
        assert [row["id"] for row in found] == ["first-admin", "first-operator"]


def test_the_outbox_shows_only_the_row_that_was_just_added(owner: Conn) -> None:
    insert = """INSERT INTO push_outbox (user_type, user_id, event, payload, dedup_key)
        VALUES (%s, %s, 'session_completed', jsonb_build_object('session_id', %s::text), 'd')
        ON CONFLICT (dedup_key) DO NOTHING RETURNING id"""
    with owner.transaction(force_rollback=True):
        as_api(owner, API["client"])
        assert len(owner.execute(insert, ("owner", "first-admin", "session-mine")).fetchall()) == 1
        assert len(owner.execute("SELECT id FROM push_outbox").fetchall()) == 1
    for values in (("owner", "second-admin", "session-theirs"), ("client", "client-theirs", "session-mine")):
        with owner.transaction(force_rollback=True):
            as_api(owner, API["client"])
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                owner.execute(insert, values)


def test_an_adjustment_for_a_session_is_seen_with_the_session(owner: Conn) -> None:
    with owner.transaction(force_rollback=True):
        owner.execute(
            """WITH booked AS (
                   INSERT INTO payment_transactions_odengi (client_id, transaction_type, amount, balance_before,
                       balance_after, source_key)
                   SELECT 'client-' || whose, 'manual_adjustment', 1, 0, 1, 'adjust:' || whose
                     FROM unnest('{mine,theirs}'::text[]) whose RETURNING id, client_id)
               INSERT INTO session_reviews (session_id, action, actor, note, ledger_id, created_at)
               SELECT replace(client_id, 'client', 'session'), 'adjust', 'test', 'n', id, now() FROM booked"""
        )
        as_api(owner, API["operator"])
        found = owner.execute("SELECT source_key FROM payment_transactions_odengi ORDER BY 1").fetchall()
        assert [row["source_key"] for row in found] == ["adjust:mine", "mine"]


@pytest.mark.parametrize(
    ("action", "station", "session", "is_allowed"),
    [
        ("RemoteStopTransaction", "station-mine", "session-mine", True),
        ("Reset", "station-mine", "session-mine", False),
        ("RemoteStopTransaction", "station-theirs", "session-mine", False),
        ("RemoteStopTransaction", "station-theirs", "session-theirs", False),
        ("RemoteStopTransaction", "station-mine", None, False),
    ],
)
def test_a_driver_starts_and_stops_the_own_session_only(
    owner: Conn, action: str, station: str, session: str | None, is_allowed: bool
) -> None:
    with owner.transaction(force_rollback=True):
        as_api(owner, API["client"])
        insert = """INSERT INTO station_commands (id, station_id, action, session_id, expires_at, requested_by)
                    VALUES ('new', %s, %s, %s, now(), 'test')"""
        if is_allowed:
            owner.execute(insert, (station, action, session))
        else:
            with pytest.raises(pg.InsufficientPrivilege):
                owner.execute(insert, (station, action, session))
