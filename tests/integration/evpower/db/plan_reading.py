"""What plans tell: which tables are scanned, and which functions of row policies are called for each row."""

import re
from collections.abc import Iterator
from typing import Any

import psycopg

BIG = {
    "clients", "charging_sessions", "payment_transactions_odengi", "balance_topups", "payment_inbox", "topup_refunds",
    "station_commands", "ocpp_transactions", "ocpp_meter_values", "station_events", "audit_logs", "push_outbox",
    "idempotency_keys", "used_nonces", "rate_counters", "settlements", "quarantined_messages", "id_tags",
    "session_reviews", "reservations", "charging_profiles", "station_jobs", "station_certificates",
    "installed_certificates",
}  # fmt: skip

# `( SELECT f('x'::text) AS f)`: an initplan, or a hashed subplan after IN; asked once per statement.
_ONCE = re.compile(r"\( ?SELECT [a-z_.]+\((?:'[^']*'::text)?\) AS [a-z_]+\)")
_COST_OF_A_SMALL_TABLE = 100
_CALL = re.compile(r"\b[a-z_][a-z_0-9.]*\(")
_POLICY_CALL = re.compile(
    r"evpower_(?:claim|scope_is_wide|is_system|staff_role|staff_owner|own_admin|sees_all_stations|own_stations)\("
)


def calls_per_row(condition: str) -> list[str]:
    """Functions that a policy's condition (as the server prints it) calls outside an initplan."""
    return [call[0].rstrip("(") for call in _CALL.finditer(_ONCE.sub("", condition))]


def policy_calls_per_row(plan: dict[str, Any]) -> list[str]:
    """Functions of policies that a plan (VERBOSE, FORMAT JSON) calls once for each row."""
    return sorted(set(_per_row(plan, str(plan), is_once=False)))


def _per_row(node: dict[str, Any], whole: str, *, is_once: bool) -> Iterator[str]:
    name = str(node.get("Subplan Name", ""))
    is_hashed = bool(name) and f"hashed {name})" in whole
    is_once = is_once or node.get("Parent Relationship") == "InitPlan" or is_hashed
    if not is_once:
        own = {key: value for key, value in node.items() if key != "Plans"}
        yield from (call.rstrip("(") for call in _POLICY_CALL.findall(str(own)))
    for child in node.get("Plans", []):
        yield from _per_row(child, whole, is_once=is_once)


class Explained:
    """A connection that reads the plan of each statement before it runs it."""

    def __init__(self, conn: psycopg.AsyncConnection[dict[str, Any]]) -> None:
        self._conn = conn
        self.scans: list[str] = []
        self.indexes: set[str] = set()
        self.walks: set[str] = set()  # indexes read from one end, because no condition narrows them
        self.per_row: list[str] = []
        self.statements = 0

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        text = query if isinstance(query, bytes) else str(query).encode()
        if text.lstrip()[:6].upper() in (b"SELECT", b"UPDATE", b"DELETE", b"INSERT", b"WITH S", b"WITH D"):
            self.statements += 1
            cursor = await self._conn.execute(b"EXPLAIN (VERBOSE, FORMAT JSON) " + text, params)
            row = await cursor.fetchone()
            assert row is not None
            self._read(row["QUERY PLAN"][0]["Plan"])
            self.per_row += policy_calls_per_row(row["QUERY PLAN"][0]["Plan"])
        return await self._conn.execute(query, params, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)

    def _read(self, node: dict[str, Any]) -> None:
        relation = node.get("Relation Name", "")
        # Near the end of a month one of the partitions is all but empty, and reading it whole is right.
        is_big_part = relation.startswith("ocpp_meter_values_2") and node["Total Cost"] > _COST_OF_A_SMALL_TABLE
        if node["Node Type"] == "Seq Scan" and (relation in BIG or is_big_part):
            self.scans.append(relation)
        if "Index Name" in node:
            self.indexes.add(node["Index Name"])
            if "Index Cond" not in node:
                self.walks.add(node["Index Name"])
        for child in node.get("Plans", []):
            self._read(child)
