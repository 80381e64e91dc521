"""Row policies ask their functions once per statement, not for each row (docs/decisions/0016)."""

from collections.abc import Iterator

import pytest

from tests.conftest import create_database, drop_database
from tests.integration.evpower.db import network
from tests.integration.evpower.db.network import Conn
from tests.integration.evpower.db.plan_reading import calls_per_row

_POLICIES = """
    SELECT tablename || '.' || policyname AS name, concat_ws(' AND ', qual, with_check) AS condition
      FROM pg_policies WHERE schemaname = 'public' ORDER BY 1"""


@pytest.fixture(scope="module")
def owner(postgres: str, _template: str) -> Iterator[Conn]:
    name = f"{_template}_policies"
    with network.owner(create_database(postgres, name, _template)) as conn:
        yield conn
    drop_database(postgres, name)


def _slow(conn: Conn) -> dict[str, list[str]]:
    """Policies that call a function for each row."""
    rows = conn.execute(_POLICIES.encode()).fetchall()
    assert len(rows) > 100
    return {row["name"]: calls for row in rows if (calls := calls_per_row(row["condition"] or ""))}


def test_no_policy_calls_a_function_for_each_row(owner: Conn) -> None:
    assert _slow(owner) == {}


@pytest.mark.parametrize(
    ("condition", "calls"),
    [
        ("id = evpower_claim('sub')", ["evpower_claim"]),
        ("evpower_scope_is_wide()", ["evpower_scope_is_wide"]),
        ("id = (SELECT evpower_claim(name))", ["evpower_claim"]),  # correlated
        ("EXISTS (SELECT FROM stations s WHERE s.id = evpower_claim('sub'))", ["evpower_claim"]),
        ("coalesce((SELECT evpower_is_system()), upper(name) = 'X')", ["upper"]),
        ("id = (SELECT evpower_claim('sub')) OR (SELECT evpower_is_system())", []),
        ("id IN (SELECT evpower_own_stations()) OR (balance > 1 AND status = ANY ('{a}') AND name IS NULL)", []),
    ],
)
def test_such_policies_are_told_from_others(owner: Conn, condition: str, calls: list[str]) -> None:
    with owner.transaction(force_rollback=True):
        owner.execute(f"CREATE POLICY tried ON clients USING ({condition})".encode())
        assert _slow(owner) == ({"clients.tried": calls} if calls else {})


def test_no_view_or_policy_compares_folded_text_itself(owner: Conn) -> None:
    """upper() and lower() are not leakproof: behind a policy they run on every row that it lets through."""
    rows = owner.execute(
        """SELECT viewname AS name FROM pg_views WHERE schemaname = 'public' AND definition ~* '\\m(upper|lower)\\('
            UNION ALL
           SELECT policyname FROM pg_policies
            WHERE schemaname = 'public' AND concat(qual, with_check) ~* '\\m(upper|lower)\\('"""
    ).fetchall()
    assert rows == []
