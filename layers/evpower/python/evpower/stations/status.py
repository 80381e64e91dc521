"""Pure derivations: what a station and a location are called on the map, and which status report is the newer one.

The views ``station_availability`` and ``location_status_view`` say the same in SQL.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from evpower.stations.models import (
    OCPP_STATUSES,
    AdminStatus,
    ConnectorStatus,
    Counts,
    LocationStatus,
    RegistrationStatus,
    Station,
    StationCounts,
    StationStatus,
    StationView,
    StatusReport,
    StoredStatus,
)

# Charger clocks further away from ours than this order nothing (ocpp.md §3).
CLOCK_TRUST = timedelta(minutes=5)
DOWN = ("Unavailable", "Faulted")
_SPELLINGS = {status.casefold(): status for status in OCPP_STATUSES}


def is_online(last_seen: datetime | None, now: datetime, offline_after_s: float) -> bool:
    """Seen within the only offline threshold there is, ``STATION_OFFLINE_AFTER_S``."""
    return last_seen is not None and last_seen > now - timedelta(seconds=offline_after_s)


def count(words: Iterable[ConnectorStatus]) -> Counts:
    """Connectors by word; ``unavailable`` counts as faulted, for it cannot be used either."""
    total = available = occupied = faulted = 0
    for word in words:
        total += 1
        if word is ConnectorStatus.AVAILABLE:
            available += 1
        elif word is ConnectorStatus.OCCUPIED:
            occupied += 1
        else:
            faulted += 1
    return Counts(total, available, occupied, faulted)


def station_status(station: Station, counts: Counts, *, online: bool) -> StationStatus:
    """Derived status of one station (mobile-api.md §4.7). ``counts`` are the connectors' own words.

    A station whose registration is not accepted cannot charge anybody, so it is shown as offline.
    """
    if station.status is not AdminStatus.ACTIVE:
        return StationStatus.MAINTENANCE
    accepted = station.registration_status is RegistrationStatus.ACCEPTED
    if not (online and accepted) or station.ocpp_status in DOWN:
        return StationStatus.OFFLINE
    if counts.available:
        return StationStatus.AVAILABLE
    return StationStatus.OCCUPIED if counts.occupied else StationStatus.OFFLINE


def location_status(stations: Iterable[StationView]) -> LocationStatus:
    """Derived status of a location from its stations (mobile-api.md §0.2).

    No active station: maintenance. None reachable: offline. No free connector: occupied. Some down: partial.
    """
    known = list(stations)
    if not any(view.station.status is AdminStatus.ACTIVE for view in known):
        return LocationStatus.MAINTENANCE
    words = {view.status for view in known}
    if not words & {StationStatus.AVAILABLE, StationStatus.OCCUPIED}:
        return LocationStatus.OFFLINE
    if StationStatus.AVAILABLE not in words:
        return LocationStatus.OCCUPIED
    if words & {StationStatus.OFFLINE, StationStatus.MAINTENANCE}:
        return LocationStatus.PARTIAL
    return LocationStatus.AVAILABLE


def count_stations(stations: Iterable[StationView]) -> StationCounts:
    """Stations by derived status."""
    words = [view.status for view in stations]
    return StationCounts(
        total=len(words),
        available=words.count(StationStatus.AVAILABLE),
        occupied=words.count(StationStatus.OCCUPIED),
        offline=words.count(StationStatus.OFFLINE),
        maintenance=words.count(StationStatus.MAINTENANCE),
    )


def known_status(word: str) -> str | None:
    """The specification's spelling of a charger's status word, or ``None`` when it is not one."""
    return _SPELLINGS.get(word.strip().casefold())


def supersedes(report: StatusReport, stored: StoredStatus, now: datetime) -> bool:
    """Whether a report that arrives ``now`` replaces what is stored (ocpp.md §3).

    The order of receipt decides, with two exceptions: a socket that has lost the station says nothing any more, and
    within one socket the charger's own timestamps order the reports, if both are within five minutes of our clock.

    Use case: after an outage a charger sends its queued status of an hour ago, then the present one, or the other way
    round. An hour-old timestamp orders nothing; the last one received wins, and chargers end with the present one.
    """
    if stored.epoch is not None and report.epoch != stored.epoch:
        return report.epoch > stored.epoch
    if not (_trusted(report.charger_at, now) and _trusted(stored.charger_at, stored.received_at)):
        return True
    assert report.charger_at is not None
    assert stored.charger_at is not None
    return report.charger_at >= stored.charger_at


def _trusted(charger_at: datetime | None, server_at: datetime | None) -> bool:
    return charger_at is not None and server_at is not None and abs(charger_at - server_at) <= CLOCK_TRUST
