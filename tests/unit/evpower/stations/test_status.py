"""Status derivation of stations and locations, and the order of status reports."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from evpower.stations import status
from evpower.stations.models import (
    AdminStatus,
    ConnectorStatus,
    Counts,
    LocationStatus,
    RegistrationStatus,
    StationCounts,
    StationStatus,
    StationView,
    StatusReport,
    StoredStatus,
)
from tests.unit.evpower.stations.builders import NOW, view

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)

FREE = view("available", "occupied")
BUSY = view("occupied", "occupied")
BROKEN = view("faulted")
OFFLINE = view("available", online=False)
REPAIR = view("available", status=AdminStatus.MAINTENANCE)


@pytest.mark.parametrize(
    ("last_seen", "online"),
    [(None, False), (NOW, True), (NOW - timedelta(seconds=599.9), True), (NOW - timedelta(seconds=600), False)],
)
def test_online(last_seen: datetime | None, online: bool) -> None:
    assert status.is_online(last_seen, NOW, 600) is online


@pytest.mark.parametrize(
    ("shown", "word"),
    [
        (FREE, StationStatus.AVAILABLE),
        (BUSY, StationStatus.OCCUPIED),
        (view("faulted", "occupied"), StationStatus.OCCUPIED),
        (BROKEN, StationStatus.OFFLINE),
        (view("unavailable"), StationStatus.OFFLINE),
        (view(), StationStatus.OFFLINE),
        (OFFLINE, StationStatus.OFFLINE),
        (REPAIR, StationStatus.MAINTENANCE),
        (view("available", online=False, status=AdminStatus.MAINTENANCE), StationStatus.MAINTENANCE),
        (view("available", ocpp_status="Unavailable"), StationStatus.OFFLINE),
        (view("available", ocpp_status="Faulted"), StationStatus.OFFLINE),
        (view("available", ocpp_status="Occupied"), StationStatus.AVAILABLE),
        (view("available", registration_status=RegistrationStatus.PENDING), StationStatus.OFFLINE),
        (view("available", registration_status=RegistrationStatus.REJECTED), StationStatus.OFFLINE),
    ],
)
def test_station_status(shown: StationView, word: StationStatus) -> None:
    assert shown.status is word


@pytest.mark.parametrize(
    ("stations", "word"),
    [
        ([], LocationStatus.MAINTENANCE),
        ([REPAIR, REPAIR], LocationStatus.MAINTENANCE),
        ([OFFLINE], LocationStatus.OFFLINE),
        ([OFFLINE, REPAIR, BROKEN], LocationStatus.OFFLINE),
        ([BUSY], LocationStatus.OCCUPIED),
        ([BUSY, OFFLINE], LocationStatus.OCCUPIED),
        ([FREE, BUSY], LocationStatus.AVAILABLE),
        ([FREE, OFFLINE], LocationStatus.PARTIAL),
        ([FREE, REPAIR], LocationStatus.PARTIAL),
        ([FREE, BROKEN, BUSY], LocationStatus.PARTIAL),
        ([FREE], LocationStatus.AVAILABLE),
    ],
)
def test_location_status(stations: list[StationView], word: LocationStatus) -> None:
    assert status.location_status(stations) is word


def test_stations_are_counted_by_status() -> None:
    assert status.count_stations([FREE, BUSY, BUSY, OFFLINE, REPAIR]) == StationCounts(5, 1, 2, 1, 1)


def test_unavailable_counts_as_faulted_and_nothing_is_lost() -> None:
    assert status.count(ConnectorStatus) == Counts(total=4, available=1, occupied=1, faulted=2)


@pytest.mark.parametrize("unusable", [OFFLINE, REPAIR, view("available", ocpp_status="Faulted")])
def test_a_free_connector_of_an_unusable_station_is_not_offered(unusable: StationView) -> None:
    (connector,) = unusable.connectors
    assert (connector.status, connector.available) == (ConnectorStatus.UNAVAILABLE, False)
    assert unusable.counts == Counts(total=1)
    assert not unusable.available_for_charging


def test_a_usable_station_offers_its_free_connectors() -> None:
    assert [(c.number, c.status.value, c.available) for c in FREE.connectors] == [
        (1, "available", True),
        (2, "occupied", False),
    ]
    assert FREE.counts == Counts(2, 1, 1, 0)
    assert FREE.available_for_charging
    assert not BUSY.available_for_charging


def test_power_is_the_stations_or_that_of_its_strongest_connector() -> None:
    assert view("available", power_capacity=Decimal(120)).power_kw == Decimal(120)
    assert view("available").power_kw == Decimal(60)
    assert view().power_kw is None


@pytest.mark.parametrize(("word", "known"), [("charging", "Charging"), (" SuspendedEV ", "SuspendedEV"), ("On", None)])
def test_status_words(word: str, known: str | None) -> None:
    assert status.known_status(word) == known


def report(epoch: int = 5, charger_at: datetime | None = None) -> StatusReport:
    return StatusReport(1, "Charging", epoch, charger_at=charger_at)


def stored(
    epoch: int | None = 5, charger_at: datetime | None = None, received_at: datetime | None = NOW
) -> StoredStatus:
    return StoredStatus("Available", None, charger_at, received_at, epoch)


@pytest.mark.parametrize(
    ("new", "old", "wins"),
    [
        (report(), stored(epoch=None, received_at=None), True),  # never heard of
        (report(), stored(), True),  # no clocks: receipt
        (report(charger_at=NOW - SECOND), stored(), True),  # one clock alone orders nothing
        (report(), stored(charger_at=NOW), True),
        (report(charger_at=NOW), stored(charger_at=NOW), True),  # same second
        (report(charger_at=NOW - SECOND), stored(charger_at=NOW), False),  # overtaken
        (report(charger_at=NOW + SECOND), stored(charger_at=NOW), True),
        (report(charger_at=NOW - 6 * MINUTE), stored(charger_at=NOW), True),  # a clock that lies, or a replay
        (report(charger_at=NOW), stored(charger_at=NOW + timedelta(hours=6)), True),  # stored one lied
        (report(charger_at=datetime.fromisoformat("1970-01-01T00:00:00+00:00")), stored(charger_at=NOW), True),
        (report(epoch=6, charger_at=NOW - SECOND), stored(charger_at=NOW), True),  # another socket: receipt
        (report(epoch=4, charger_at=NOW + SECOND), stored(charger_at=NOW), False),  # a socket that lost the station
    ],
)
def test_which_report_is_the_newer_one(new: StatusReport, old: StoredStatus, wins: bool) -> None:
    assert status.supersedes(new, old, NOW) is wins
