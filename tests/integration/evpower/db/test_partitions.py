"""Monthly partitions of the meter values: made ahead, filled late, dropped old."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from evpower.config import Settings
from evpower.db import PooledDatabase, retention
from tests.integration.evpower.db import network
from tests.integration.evpower.db.network import Conn

NOW = datetime.now(UTC)


@pytest.fixture
def conn(database_url: str) -> Iterator[Conn]:
    with network.owner(database_url) as conn:
        yield conn


def partitions(conn: Conn) -> list[str]:
    rows = conn.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'ocpp_meter_values'::regclass ORDER BY 1"
    ).fetchall()
    return [row["relname"].removeprefix("ocpp_meter_values_") for row in rows]


def month(ahead: int) -> str:
    number = NOW.year * 12 + NOW.month - 1 + ahead
    return f"{number // 12}_{number % 12 + 1:02}"


def add(conn: Conn, *moments: datetime) -> None:
    for moment in moments:
        conn.execute(
            "INSERT INTO ocpp_meter_values (station_id, connector_id, received_at, raw) VALUES ('s', 1, %s, '{}')",
            (moment,),
        )


def where(conn: Conn) -> dict[str, int]:
    rows = conn.execute(
        "SELECT tableoid::regclass::text AS name, count(*) AS n FROM ocpp_meter_values GROUP BY 1 ORDER BY 1"
    ).fetchall()
    return {row["name"].removeprefix("ocpp_meter_values_"): row["n"] for row in rows}


def test_a_fresh_database_has_this_month_the_next_two_and_a_default(conn: Conn) -> None:
    assert partitions(conn) == sorted([month(0), month(1), month(2), "default"])
    assert conn.execute("SELECT evpower_ensure_meter_partitions()").fetchone() == {"evpower_ensure_meter_partitions": 0}


def test_rows_of_an_unprepared_month_are_kept_and_move_into_their_partition(conn: Conn) -> None:
    inside = [datetime(2019, 12, 1, tzinfo=UTC), datetime(2019, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)]
    outside = [datetime(2019, 11, 30, 23, 59, 59, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)]
    add(conn, NOW, *inside, *outside)
    assert where(conn) == {month(0): 1, "default": 4}
    ids = conn.execute("SELECT array_agg(id ORDER BY id) AS ids FROM ocpp_meter_values").fetchone()
    assert conn.execute("SELECT evpower_make_meter_partition('2019-12-15') AS made").fetchone() == {"made": True}
    assert where(conn) == {month(0): 1, "2019_12": 2, "default": 2}
    assert conn.execute("SELECT array_agg(id ORDER BY id) AS ids FROM ocpp_meter_values").fetchone() == ids
    add(conn, inside[0])
    assert where(conn)["2019_12"] == 3


def test_months_are_those_of_utc_whatever_the_session_says(conn: Conn) -> None:
    conn.execute("SET timezone = 'Asia/Bishkek'")
    conn.execute("SELECT evpower_make_meter_partition('2019-12-31 23:30:00+00')")
    add(conn, datetime(2019, 12, 31, 23, 30, tzinfo=UTC), datetime(2020, 1, 1, 0, 30, tzinfo=UTC))
    assert where(conn) == {"2019_12": 1, "default": 1}


def test_a_partition_has_the_indexes_of_its_parent(conn: Conn) -> None:
    conn.execute("SELECT evpower_make_meter_partition('2019-12-15')")
    rows = conn.execute("SELECT count(*) AS n FROM pg_indexes WHERE tablename = 'ocpp_meter_values_2019_12'").fetchone()
    parent = conn.execute("SELECT count(*) AS n FROM pg_indexes WHERE tablename = 'ocpp_meter_values'").fetchone()
    assert rows == parent


async def test_the_worker_prepares_and_drops_whole_months_only(
    conn: Conn, db: PooledDatabase, database_url: str
) -> None:
    settings = Settings.model_validate({"meter_retention_days": 60})
    for moment in ("2019-12-15", "2020-01-15"):
        conn.execute("SELECT evpower_make_meter_partition(%s)", (moment,))
    add(conn, datetime(2019, 12, 5, tzinfo=UTC), datetime(2020, 1, 5, tzinfo=UTC))
    just_before = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=60) - timedelta(seconds=1)
    assert await db.run(lambda c: retention.drop_partition(c, settings, just_before)) is None
    later = just_before + timedelta(seconds=1)
    assert await db.run(lambda c: retention.drop_partition(c, settings, later)) == "ocpp_meter_values_2019_12"
    assert await db.run(lambda c: retention.drop_partition(c, settings, later)) is None
    assert where(conn) == {"2020_01": 1}
    assert "default" in partitions(conn)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await db.run(lambda c: c.execute("DROP TABLE ocpp_meter_values_2020_01"))


async def test_old_rows_of_the_default_partition_leave_by_rows(conn: Conn, db: PooledDatabase) -> None:
    settings = Settings.model_validate({"meter_retention_days": 60})
    add(conn, datetime(1970, 1, 1, tzinfo=UTC), NOW - timedelta(days=61), NOW - timedelta(days=59), NOW)
    assert await db.run(lambda c: retention.purge_unfiled_readings(c, settings, NOW)) == 2
    assert sum(where(conn).values()) == 2


def test_readings_flow_while_a_month_is_added(conn: Conn, database_url: str) -> None:
    """Use case: the sweep adds a month while chargers report; their inserts wait, none fails or is lost."""
    with network.owner(database_url) as reporting:
        conn.autocommit = False
        conn.execute("SELECT evpower_make_meter_partition('2019-12-15')")
        reporting.execute("SET lock_timeout = '100ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            add(reporting, datetime(2019, 12, 20, tzinfo=UTC))
        conn.commit()
        add(reporting, datetime(2019, 12, 20, tzinfo=UTC))
        assert where(reporting) == {"2019_12": 1}
