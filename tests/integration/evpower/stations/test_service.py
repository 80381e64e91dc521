"""Stations on a real database: addressing, connectors and sessions, the connection, what chargers report."""

import asyncio
from datetime import timedelta

import pytest

from evpower.db import Conn, PooledDatabase
from evpower.errors import StationNotFound
from evpower.stations import credentials, service
from evpower.stations.models import AdminStatus, BootInfo, ConnectorStatus, RegistrationStatus, StationRef, StatusReport
from tests.fakes.hearing import heard
from tests.integration.evpower.stations.rows import NOW, add_station, events, insert, one

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


# --- Addressing -----------------------------------------------------------------------------------------------------


async def test_a_station_is_found_by_id_and_by_serial_number(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_station(conn, "st-1", price_per_kwh=14)
        for ref in ("st-1", "SN-st-1"):
            station = await service.resolve(conn, ref)
            assert station is not None
            assert (station.id, station.connectors_count, station.connected) == ("st-1", 2, False)


async def test_an_id_goes_before_another_stations_serial_number(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_station(conn, "A")
        await add_station(conn, "B", serial_number="A-2")
        await conn.execute("UPDATE stations SET serial_number = 'B' WHERE id = 'A'")
        found = await service.resolve(conn, "B")
        assert found is not None
        assert found.id == "B"


@pytest.mark.parametrize("ref", ["unknown", "", "st\0-1", "st-\ud800", "' OR true --", "ST-1"])
async def test_what_is_no_station_is_not_found(db: PooledDatabase, ref: str) -> None:
    async with db.transaction() as conn:
        await add_station(conn)
        assert await service.resolve(conn, ref) is None
        assert await service.load_for_admission(conn, ref) is None
        with pytest.raises(StationNotFound):
            await service.station_status(conn, ref, NOW)


async def test_online_is_being_seen_within_the_threshold(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_station(conn)
        station = await service.resolve(conn, "st-1")
        assert station is not None
        assert service.is_online(station, NOW + timedelta(seconds=599))
        assert not service.is_online(station, NOW + timedelta(seconds=600))


# --- Admission ------------------------------------------------------------------------------------------------------


async def test_admission_loads_what_the_upgrade_needs(db: PooledDatabase) -> None:
    key = credentials.new_authorization_key()
    async with db.transaction() as conn:
        await add_station(
            conn, status="maintenance", registration_status="pending", answers_pings=False, heartbeat_interval_s=60
        )
        await service.set_authorization_key(conn, "st-1", key)
        admission = await service.load_for_admission(conn, "SN-st-1")
        assert admission is not None
        assert (admission.station_id, admission.status, admission.registration_status) == (
            "st-1",
            AdminStatus.MAINTENANCE,
            RegistrationStatus.PENDING,
        )
        assert (admission.answers_pings, admission.heartbeat_interval_s) == (False, 60)
        assert admission.auth_key_hash is not None
        assert key not in admission.auth_key_hash
        assert credentials.verify_authorization_key(admission.auth_key_hash, key)
        await service.set_authorization_key(conn, "st-1", None)
        after = await service.load_for_admission(conn, "st-1")
        assert after is not None
        assert after.auth_key_hash is None
        with pytest.raises(StationNotFound):
            await service.set_authorization_key(conn, "unknown", key)


# --- Connectors and sessions ------------------------------------------------------------------------------------------


async def test_a_connector_is_held_by_one_session_and_released_by_it(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_station(conn, location_id=None)
        assert await service.hold_connector(conn, "st-1", 1, "session-a")
        assert await service.hold_connector(conn, "st-1", 1, "session-a"), "again by the same session"
        assert not await service.hold_connector(conn, "st-1", 1, "session-b")
        assert not await service.hold_connector(conn, "st-1", 9, "session-b")
        held = await service.lock_connector(conn, "st-1", 1)
        assert held is not None
        assert (held.status, held.startable, held.live_session_id) == (ConnectorStatus.OCCUPIED, False, "session-a")
        assert await service.release_connector(conn, "session-b") is None
        assert await service.release_connector(conn, "session-a") == StationRef("st-1", None)
        free = await service.lock_connector(conn, "st-1", 1)
        assert free is not None
        assert free.startable


@pytest.mark.parametrize("number", [0, -1, 3, 101, 2**40])
async def test_a_connector_that_does_not_exist(db: PooledDatabase, number: int) -> None:
    async with db.transaction() as conn:
        await add_station(conn)
        assert await service.lock_connector(conn, "st-1", number) is None


async def test_two_starts_on_one_connector_come_one_after_the_other(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_station(conn)

    async def start(session: str) -> bool:
        async with db.transaction() as conn:
            connector = await service.lock_connector(conn, "st-1", 1)
            assert connector is not None
            return connector.startable and await service.hold_connector(conn, "st-1", 1, session)

    assert sorted(await asyncio.gather(*(start(f"session-{n}") for n in range(6)))) == [False] * 5 + [True]


async def test_a_connector_that_a_charger_uses_and_nobody_configured(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_station(conn, connectors=1)
        made = await service.ensure_connector(conn, "st-1", 3)
        assert made is not None
        assert (made.connector_number, made.startable) == (3, True)
        assert await service.ensure_connector(conn, "st-1", 3) == made
        assert [await service.ensure_connector(conn, "st-1", number) for number in (0, 101)] == [None, None]
        assert [connector.connector_number for connector in await service.connectors(conn, "st-1")] == [1, 3]


# --- Connection -----------------------------------------------------------------------------------------------------


async def test_the_newest_socket_owns_the_station(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_station(conn, last_heartbeat_at=None)
        old = await service.claim_connection(conn, "st-1", "instance-a", NOW)
        new = await service.claim_connection(conn, "st-1", "instance-b", NOW + SECOND, protocol="ocpp1.6")
        assert new > old
        assert not await service.release_connection(conn, "st-1", old)
        assert [await service.owns_connection(conn, "st-1", epoch) for epoch in (old, new)] == [False, True]
        station = await service.resolve(conn, "st-1")
        assert station is not None
        assert (station.connection_epoch, station.connected_instance, station.is_available) == (new, "instance-b", True)
        assert station.last_heartbeat_at == NOW + SECOND
        assert await service.release_connection(conn, "st-1", new, last_seen=NOW + MINUTE)
        closed = await service.resolve(conn, "st-1")
        assert closed is not None
        assert not closed.connected
        assert closed.last_heartbeat_at == NOW + MINUTE
        assert closed.is_available, "until it has been silent for STATION_OFFLINE_AFTER_S"
        with pytest.raises(StationNotFound):
            await service.claim_connection(conn, "unknown", "instance-a", NOW)


async def test_concurrent_claims_leave_the_highest_epoch(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_station(conn)

    async def claim(number: int) -> tuple[int, str]:
        async with db.transaction() as conn:
            return await service.claim_connection(conn, "st-1", f"instance-{number}", NOW), f"instance-{number}"

    claims = await asyncio.gather(*(claim(number) for number in range(10)))
    assert len({epoch for epoch, _ in claims}) == 10
    async with db.transaction() as conn:
        station = await service.resolve(conn, "st-1")
    assert station is not None
    assert (station.connection_epoch, station.connected_instance) == max(claims)


async def test_an_unaccepted_station_is_never_available(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_station(conn, registration_status="pending")
        await service.claim_connection(conn, "st-1", "instance-a", NOW)
        assert await service.touch(conn, {"st-1": NOW}, NOW) == []
        assert not (await one(conn, "SELECT is_available FROM stations"))["is_available"]


async def test_touch_flushes_many_stations_and_tells_which_came_back(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await insert(conn, "locations", id="loc", name="Ala-Too")
        await add_station(conn, "a", is_available=True)
        await add_station(conn, "b", is_available=False, location_id="loc")
        await add_station(conn, "c", is_available=False)
        back = await service.touch(conn, {"b": NOW + SECOND, "a": NOW - MINUTE, "gone": NOW}, NOW)
        assert back == [StationRef("b", "loc")]
        cursor = await conn.execute("SELECT id, last_heartbeat_at, is_available FROM stations ORDER BY id")
        assert [tuple(row.values()) async for row in cursor] == [
            ("a", NOW, True),  # an older sign of life never takes back a newer one
            ("b", NOW + SECOND, True),
            ("c", NOW, False),
        ]
        assert await service.touch(conn, {}, NOW) == []


async def test_two_instances_flushing_the_same_stations_do_not_deadlock(db: PooledDatabase) -> None:
    names = [f"st-{number}" for number in range(40)]
    async with db.transaction() as conn:
        for name in names:
            await add_station(conn, name, connectors=0)

    async def flush(order: list[str]) -> None:
        for _ in range(10):
            async with db.transaction() as conn:
                await service.touch(conn, dict.fromkeys(order, NOW + SECOND), NOW)

    await asyncio.gather(flush(names), flush(names[::-1]), flush(names[::2] + names[1::2]))


async def test_connected_stations_are_counted_while_they_are_heard(
    db: PooledDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATION_OFFLINE_AFTER_S", "600")
    async with db.transaction() as conn:
        row = await one(conn, "SELECT now() AS now")
        await add_station(conn, "a", connected_instance="i", last_heartbeat_at=row["now"])
        await add_station(conn, "b", connected_instance="i", last_heartbeat_at=row["now"] - timedelta(hours=1))
        await add_station(conn, "c", last_heartbeat_at=row["now"])
        assert await service.count_connected(conn) == 1


# --- Boot and status ------------------------------------------------------------------------------------------------


async def test_boot_keeps_the_operators_names_and_the_chargers_own(db: PooledDatabase) -> None:
    details = {"chargePointVendor": "Maker\0", "chargePointModel": "DC-60", "iccid": "\ud800"}
    boot = BootInfo("Maker", "DC-60", "1.2.3", details, "ocpp1.6")
    async with db.transaction() as conn:
        await add_station(conn, model="Our name")
        await service.record_boot(conn, "st-1", boot, NOW)
        row = await one(conn, "SELECT model, manufacturer, firmware_version, boot_info, last_boot_at FROM stations")
        assert row == {
            "model": "Our name",
            "manufacturer": "Maker",
            "firmware_version": "1.2.3",
            "boot_info": {"chargePointVendor": "Maker", "chargePointModel": "DC-60", "iccid": "?"},
            "last_boot_at": NOW,
        }
        assert await events(conn, "st-1") == [("boot", "info", None)]


async def test_status_of_a_connector(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_station(conn)
        report = StatusReport(1, "Faulted", 5, "GroundFailure", "in\0fo", "E12", NOW - SECOND)
        change = await service.record_status(conn, "st-1", report, NOW)
        assert (change.applied, change.changed, change.unexpected_connector) == (True, True, False)
        row = await one(
            conn,
            """SELECT ocpp_status, status, error_code, error_info, vendor_error_code, status_charger_at,
                      status_received_at, status_epoch FROM connectors WHERE connector_number = 1""",
        )
        assert tuple(row.values()) == (
            "Faulted",
            "faulted",
            "GroundFailure",
            "info",
            "E12",
            NOW - SECOND,
            NOW,
            5,
        )
        again = await service.record_status(conn, "st-1", report, NOW + SECOND)
        assert (again.applied, again.changed) == (True, False)
        assert await events(conn, "st-1") == [("status", "error", 1)]


async def test_no_error_is_no_error_code(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_station(conn)
        change = await service.record_status(conn, "st-1", StatusReport(1, "Available", 1, "NoError"), NOW)
        assert not change.changed
        assert (await one(conn, "SELECT error_code FROM connectors WHERE connector_number = 1"))["error_code"] is None


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("Available", "available"),
        ("Preparing", "available"),
        ("Charging", "occupied"),
        ("SuspendedEVSE", "occupied"),
        ("SuspendedEV", "occupied"),
        ("Finishing", "occupied"),
        ("Reserved", "occupied"),
        ("Occupied", "occupied"),
        ("Unavailable", "unavailable"),
        ("Faulted", "faulted"),
        ("suspendedevse", "occupied"),
    ],
)
async def test_the_word_that_the_app_reads(db: PooledDatabase, word: str, shown: str) -> None:
    async with db.transaction() as conn:
        await add_station(conn)
        await service.record_status(conn, "st-1", StatusReport(2, word, 1), NOW)
        assert (await service.connectors(conn, "st-1"))[1].status.value == shown


async def test_connector_0_is_the_station(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_station(conn)
        change = await service.record_status(conn, "st-1", StatusReport(0, "Unavailable", 3, charger_at=NOW), NOW)
        assert (change.connector, change.changed) == (0, True)
        row = await one(conn, "SELECT ocpp_status, status_changed_at, status_epoch FROM stations")
        assert tuple(row.values()) == ("Unavailable", NOW, 3)
        await service.record_status(conn, "st-1", StatusReport(0, "Unavailable", 3, charger_at=NOW), NOW + MINUTE)
        assert (await one(conn, "SELECT status_changed_at AS at FROM stations"))["at"] == NOW
        late = StatusReport(0, "Available", 3, charger_at=NOW - MINUTE)
        assert not (await service.record_status(conn, "st-1", late, NOW + MINUTE)).applied
        assert all(c.ocpp_status == "Available" for c in await service.connectors(conn, "st-1"))


async def test_a_connector_number_above_the_configured_count(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_station(conn, connectors=1)
        change = await service.record_status(conn, "st-1", StatusReport(2, "Charging", 1), NOW)
        assert (change.applied, change.changed, change.unexpected_connector) == (True, True, True)
        assert [c.connector_number for c in await service.connectors(conn, "st-1")] == [1, 2]
        assert (await one(conn, "SELECT connectors_count FROM stations"))["connectors_count"] == 2
        assert await events(conn, "st-1") == [("unexpected_connector", "warning", 2), ("status", "info", 2)]


@pytest.mark.parametrize(("connector", "word"), [(101, "Charging"), (-1, "Charging"), (1, "Sleeping"), (1, "")])
async def test_a_report_that_makes_no_sense_is_kept_for_operators(
    db: PooledDatabase, connector: int, word: str
) -> None:
    async with db.transaction() as conn:
        await add_station(conn)
        change = await service.record_status(conn, "st-1", StatusReport(connector, word, 1), NOW)
        assert (change.applied, change.changed) == (False, False)
        assert await events(conn, "st-1") == [("status_not_understood", "warning", connector)]
        assert all(c.ocpp_status == "Available" for c in await service.connectors(conn, "st-1"))


async def test_queued_reports_of_an_outage_end_with_the_last_received(db: PooledDatabase) -> None:
    """The charger replays its queue after an hour: old timestamps do not order, the order of receipt does."""
    async with db.transaction() as conn:
        await add_station(conn)
        hour_ago = NOW - timedelta(hours=1)
        replay = [("Available", NOW), ("Charging", hour_ago), ("Finishing", hour_ago + MINUTE), ("Available", NOW)]
        for offset, (word, at) in enumerate(replay):
            report = StatusReport(1, word, 7, charger_at=at)
            assert (await service.record_status(conn, "st-1", report, NOW + offset * SECOND)).applied
        assert (await service.connectors(conn, "st-1"))[0].ocpp_status == "Available"


async def test_reports_overtaken_on_one_socket_are_ordered_by_the_chargers_clock(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await add_station(conn)
        await service.record_status(conn, "st-1", StatusReport(1, "Charging", 7, charger_at=NOW), NOW)
        late = StatusReport(1, "Preparing", 7, charger_at=NOW - SECOND)
        assert not (await service.record_status(conn, "st-1", late, NOW + SECOND)).applied
        next_socket = StatusReport(1, "Preparing", 8, charger_at=NOW - SECOND)
        assert (await service.record_status(conn, "st-1", next_socket, NOW + SECOND)).applied
        lost_socket = StatusReport(1, "Charging", 7, charger_at=NOW + MINUTE)
        assert not (await service.record_status(conn, "st-1", lost_socket, NOW + MINUTE)).applied


async def test_configuration_is_kept_as_last_read(db: PooledDatabase) -> None:
    async def stored(conn: Conn) -> list[tuple[object, ...]]:
        cursor = await conn.execute("SELECT key, value, is_readonly, is_unknown FROM ocpp_configuration ORDER BY key")
        return [tuple(row.values()) async for row in cursor]

    first = [
        {"key": "HeartbeatInterval", "value": "300", "readonly": False},
        {"key": "Vendor", "value": "a\0b", "readonly": True},
        {"key": "Vendor", "value": None, "readonly": True},
    ]
    async with db.transaction() as conn:
        await add_station(conn)
        await service.store_configuration(conn, "st-1", first, ["WebSocketPingInterval", "Vendor"], NOW)
        assert await stored(conn) == [
            ("HeartbeatInterval", "300", False, False),
            ("Vendor", None, True, False),
            ("WebSocketPingInterval", None, False, True),
        ]
        second = [{"key": "HeartbeatInterval", "value": "60", "readonly": False}]
        await service.store_configuration(conn, "st-1", second, [], NOW)
        assert await stored(conn) == [("HeartbeatInterval", "60", False, False)]
        await service.store_configuration(conn, "st-1", [], [], NOW)
        assert await stored(conn) == []


# --- Offline --------------------------------------------------------------------------------------------------------


async def test_silent_stations_become_unavailable_in_bounded_batches(db: PooledDatabase) -> None:
    await heard(db, NOW)
    async with db.transaction() as conn:
        await insert(conn, "locations", id="loc", name="Ala-Too")
        edge = NOW - timedelta(seconds=600)
        await add_station(conn, "a", is_available=True, last_heartbeat_at=edge, connected_instance="died")
        await add_station(conn, "b", is_available=True, last_heartbeat_at=edge + SECOND)
        await add_station(conn, "c", is_available=True, last_heartbeat_at=None, location_id="loc")
        await add_station(conn, "d", is_available=False, last_heartbeat_at=None)
        assert await service.mark_offline(conn, NOW, 1) == [StationRef("c", "loc")]
        assert await service.mark_offline(conn, NOW, 10) == [StationRef("a", None)]
        assert await service.mark_offline(conn, NOW, 10) == []
        assert await events(conn, "a") == [("offline", "warning", None)]
        gone = await service.resolve(conn, "a")
        assert gone is not None
        assert not gone.connected


async def test_two_sweeps_at_once_never_take_the_same_station(db: PooledDatabase) -> None:
    await heard(db, NOW)
    async with db.transaction() as conn:
        for number in range(30):
            await add_station(conn, f"st-{number}", connectors=0, is_available=True, last_heartbeat_at=None)

    async def sweep() -> list[str]:
        found: list[str] = []
        while True:
            async with db.transaction() as conn:
                batch = await service.mark_offline(conn, NOW, 4)
            if not batch:
                return found
            found += [ref.station_id for ref in batch]

    taken = [name for names in await asyncio.gather(sweep(), sweep(), sweep()) for name in names]
    assert sorted(taken) == sorted({*taken})
    async with db.transaction() as conn:
        assert (await one(conn, "SELECT count(*) AS n FROM stations WHERE is_available"))["n"] == 0
