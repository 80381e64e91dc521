"""SQL that pages of docs/operations have an operator run: it does on the present schema what the pages say."""

import re
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from evpower.db import PooledDatabase
from evpower.stations import service as stations

FOLDER = Path(__file__).resolve().parents[3] / "docs/operations"


def sql_of(page: str) -> bytes:
    (block,) = re.findall(r"```sql\n(.*?)```", (FOLDER / page).read_text(), flags=re.DOTALL)
    return str(block).encode()


async def test_the_guide_adds_a_station_that_may_connect_and_that_the_app_sees(
    database_url: str, db: PooledDatabase
) -> None:
    with psycopg.connect(database_url) as conn:
        conn.execute(sql_of("stations.md"))
    for reference in ("OSH-0001", "SN-0001"):
        admission = await db.run(lambda conn, name=reference: stations.load_for_admission(conn, name))  # type: ignore[misc]
        assert admission is not None
        assert admission.station_id == "OSH-0001"
    shown = await db.run(lambda conn: stations.get_location(conn, "osh-1", datetime.now(UTC)))
    assert shown.location.name == "EvPower Osh 1"
    assert len(shown.stations) == 1


def test_a_restored_database_gives_no_number_again(database_url: str) -> None:
    query = "SELECT sequencename, coalesce(last_value, 0) FROM pg_sequences WHERE schemaname = 'public'"
    statements = sql_of("restore.md").decode()
    with psycopg.connect(database_url) as conn:
        before = dict(conn.execute(query).fetchall())
        conn.execute(statements.encode())
        after = dict(conn.execute(query).fetchall())
    moved = set(re.findall(r"setval\('(\w+)'", statements))
    assert all(after[name] >= before[name] + 100_000 for name in moved)
    # Numbers that chargers keep come from sequences that are nobody's column.
    with psycopg.connect(database_url) as conn:
        free = conn.execute(
            """SELECT c.relname FROM pg_class c WHERE c.relkind = 'S' AND c.relnamespace = 'public'::regnamespace
                  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('a', 'i'))"""
        ).fetchall()
    assert {str(row[0]) for row in free} == moved
