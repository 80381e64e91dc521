"""What the app is shown of stations and locations, and that the SQL views say the same as the Python rule."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evpower.config import Settings
from evpower.db import Conn, PooledDatabase
from evpower.errors import NotFound
from evpower.stations import service
from evpower.stations.models import (
    OCPP_STATUSES,
    AdminStatus,
    ConnectorStatus,
    Counts,
    LocationStatus,
    StationCounts,
    StationStatus,
)
from tests.integration.evpower.stations.rows import NOW, add_station, insert, one

LONG_AGO = NOW - timedelta(hours=1)


async def set_status(conn: Conn, station_id: str, number: int, word: str) -> None:
    await conn.execute(
        "UPDATE connectors SET ocpp_status = %s WHERE station_id = %s AND connector_number = %s",
        (word, station_id, number),
    )


async def add_network(conn: Conn) -> None:
    """Two visible locations and a hidden one; stations of all kinds."""
    await insert(conn, "locations", id="ala", name="Ala-Too", address="Chui 1", city="Bishkek", latitude=42.8)
    await insert(conn, "locations", id="osh", name="Osh bazaar")
    await insert(conn, "locations", id="hid", name="Hidden", status="inactive")
    await add_station(conn, "ala-1", location_id="ala", price_per_kwh=14, session_fee=5)
    await set_status(conn, "ala-1", 1, "Charging")
    await add_station(conn, "ala-2", location_id="ala", last_heartbeat_at=LONG_AGO)
    await add_station(conn, "ala-3", location_id="ala", status="inactive")
    await add_station(conn, "hid-1", location_id="hid")
    await add_station(conn, "lone", connectors=1)


async def test_locations_with_their_stations(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_network(conn)
        ala, osh = await service.list_locations(conn, NOW, include_stations=True)
    assert (ala.location.id, ala.location.city, ala.location.latitude, ala.location.longitude) == (
        "ala",
        "Bishkek",
        42.8,
        None,
    )
    assert ala.status is LocationStatus.PARTIAL
    assert ala.station_counts == StationCounts(total=2, available=1, offline=1)
    assert ala.counts == Counts(total=4, available=1, occupied=1)
    assert [(view.station.id, view.status, view.online) for view in ala.stations] == [
        ("ala-1", StationStatus.AVAILABLE, True),
        ("ala-2", StationStatus.OFFLINE, False),
    ]
    assert (ala.stations[0].price_per_kwh, ala.stations[0].session_fee) == (Decimal(14), Decimal(5))
    assert ala.stations[0].connector_types == ("CCS2",)
    assert (osh.location.id, osh.status, osh.stations, osh.counts) == ("osh", LocationStatus.MAINTENANCE, (), Counts())


async def test_locations_without_their_stations_say_the_same_otherwise(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_network(conn)
        full = await service.list_locations(conn, NOW, include_stations=True)
        short = await service.list_locations(conn, NOW)
    assert [view.stations for view in short] == [(), ()]
    assert [(v.location, v.status, v.counts, v.station_counts) for v in short] == [
        (v.location, v.status, v.counts, v.station_counts) for v in full
    ]


async def test_one_location(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_network(conn)
        assert len((await service.get_location(conn, "ala", NOW)).stations) == 2
        assert [view.location.id for view in await service.location_views(conn, ["ala", "hid", "x"], NOW)] == ["ala"]
        for unknown in ("hid", "unknown", "", "a\0la", "\ud800"):
            with pytest.raises(NotFound):
                await service.get_location(conn, unknown, NOW)


async def test_station_list_leaves_out_what_operators_hide(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_network(conn)
        stations = await service.list_stations(conn, NOW)
    assert [view.station.id for view in stations] == ["ala-1", "ala-2", "lone"]
    assert stations[2].location is None


async def test_station_status(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_network(conn)
        for ref in ("ala-1", "SN-ala-1"):
            shown = await service.station_status(conn, ref, NOW)
            assert shown.location_status is LocationStatus.PARTIAL
            assert shown.view.location is not None
            assert (shown.view.location.name, shown.view.location.working_hours) == ("Ala-Too", "24/7")
            assert shown.view.available_for_charging
            assert [(c.number, c.status, c.available, c.power_kw) for c in shown.view.connectors] == [
                (1, ConnectorStatus.OCCUPIED, False, Decimal(60)),
                (2, ConnectorStatus.AVAILABLE, True, Decimal(60)),
            ]
        offline = (await service.station_status(conn, "ala-2", NOW)).view
        assert (offline.online, offline.available_for_charging) == (False, False)
        assert [c.status for c in offline.connectors] == [ConnectorStatus.UNAVAILABLE] * 2


async def test_status_of_a_station_without_a_location_and_of_a_hidden_one(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_network(conn)
        lone = await service.station_status(conn, "lone", NOW)
        assert (lone.view.location, lone.location_status) == (None, LocationStatus.AVAILABLE)
        hidden = await service.station_status(conn, "ala-3", NOW)
        assert hidden.view.station.status is AdminStatus.INACTIVE
        assert not hidden.view.available_for_charging
        assert hidden.location_status is LocationStatus.PARTIAL, "the hidden station does not count"


async def test_shown_price_follows_the_plan_of_the_station(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await insert(conn, "tariff_plans", id="plan", name="City")
        await insert(conn, "tariff_rules", tariff_plan_id="plan", tariff_type="per_kwh", price=11, name="day")
        await insert(conn, "tariff_rules", tariff_plan_id="plan", tariff_type="session_fee", price=20, name="fee")
        await add_station(conn, "a", tariff_plan_id="plan")
        await add_station(conn, "b")
        await add_station(conn, "c", tariff_plan_id="plan", price_per_kwh=15)
        prices = [(v.price_per_kwh, v.session_fee) for v in await service.list_stations(conn, NOW)]
    assert prices == [
        (Decimal(11), Decimal(20)),
        (Decimal("13.5"), Decimal(0)),
        (Decimal(15), Decimal(0)),
    ]


async def test_lists_work_as_the_api_role(db: PooledDatabase, make_settings: Callable[..., Settings]) -> None:
    async with db.transaction() as conn:
        await add_network(conn)
    api = PooledDatabase(make_settings(database_role="evpower_api"), size=1)
    await api.open()
    try:
        async with api.transaction(claims={"sub": "somebody", "role": "authenticated"}) as conn:
            assert len(await service.list_locations(conn, NOW, include_stations=True)) == 2
            assert (await service.station_status(conn, "ala-1", NOW)).view.online
    finally:
        await api.close()


async def test_a_list_needs_three_queries_whatever_its_length(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await insert(conn, "tariff_plans", id="plan", name="City")
        for number in range(12):
            await insert(conn, "locations", id=f"l{number}", name=f"L{number}")
            await add_station(conn, f"s{number}", location_id=f"l{number}", tariff_plan_id="plan")
        statements: list[object] = []
        original = conn.cursor

        def counting(*args: object, **kwargs: object) -> object:
            statements.append(args)
            return original(*args, **kwargs)  # type: ignore[call-overload]

        conn.cursor = counting  # type: ignore[assignment]
        assert len(await service.list_locations(conn, NOW, include_stations=True)) == 12
    assert len(statements) == 3


# --- The views in the database --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AStation:
    admin: str
    seconds_since_seen: int | None
    ocpp_status: str
    registration: str
    connectors: list[tuple[str, bool]]


def mostly(usual: object, *others: object) -> st.SearchStrategy[object]:
    """Mostly ``usual``: a station in which everything is odd at once is simply offline."""
    return st.sampled_from([usual] * (len(others) * 3) + list(others))


stations = st.builds(
    AStation,
    admin=st.sampled_from(["active", "active", "active", "maintenance", "maintenance", "inactive"]),
    seconds_since_seen=mostly(1, None, -5, 0, 599, 600, 601, 4000),
    ocpp_status=mostly("Available", "Unavailable", "Faulted", "Occupied"),
    registration=mostly("accepted", "pending", "rejected"),
    connectors=st.lists(
        st.tuples(mostly("Available", *OCPP_STATUSES) | st.sampled_from(OCPP_STATUSES), mostly(False, True)), max_size=3
    ),
)


@pytest.mark.property
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(network=st.lists(st.lists(stations, max_size=4), min_size=1, max_size=3))
async def test_sql_views_and_python_rule_agree(db: PooledDatabase, network: list[list[AStation]]) -> None:
    async with db.transaction() as conn, conn.transaction(force_rollback=True):
        now = (await one(conn, "SELECT now() AS now"))["now"]
        for place, rows in enumerate(network):
            await insert(conn, "locations", id=f"l{place}", name=f"L{place}")
            for number, row in enumerate(rows):
                name = f"s{place}-{number}"
                seen = None if row.seconds_since_seen is None else now - timedelta(seconds=row.seconds_since_seen)
                await add_station(
                    conn,
                    name,
                    connectors=0,
                    location_id=f"l{place}",
                    status=row.admin,
                    last_heartbeat_at=seen,
                    ocpp_status=row.ocpp_status,
                    registration_status=row.registration,
                )
                for port, (word, held) in enumerate(row.connectors, 1):
                    await insert(
                        conn,
                        "connectors",
                        station_id=name,
                        connector_number=port,
                        ocpp_status=word,
                        live_session_id="live" if held else None,
                    )
        locations = await service.list_locations(conn, now, include_stations=True)
        by_sql = {row["location_id"]: row async for row in await conn.execute("SELECT * FROM location_status_view")}
        assert {v.location.id: v.status.value for v in locations} == {i: row["status"] for i, row in by_sql.items()}
        for view in locations:
            row = by_sql[view.location.id]
            counted = StationCounts(
                *(row[f"stations_{word}"] for word in ("total", "available", "occupied", "offline", "maintenance"))
            )
            assert view.station_counts == counted
        available = {row["station_id"]: row async for row in await conn.execute("SELECT * FROM station_availability")}
        shown = {view.station.id: view for location in locations for view in location.stations}
        assert shown.keys() == available.keys()
        for name, row in available.items():
            assert (shown[name].status.value, shown[name].online) == (row["status"], row["is_online"])
            usable = row["status"] in ("available", "occupied")
            assert shown[name].counts == Counts(
                row["connectors_total"],
                row["connectors_available"] if usable else 0,
                row["connectors_occupied"],
                row["connectors_faulted"],
            )
