"""Rules of stations: addressing, holding a connector, the connection, what chargers report, what the app is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from evpower.config import get_settings
from evpower.db import Conn
from evpower.errors import StationNotFound
from evpower.stations import credentials, sampling, status
from evpower.stations.hearing import CLOCK_AHEAD
from evpower.stations.listening import hearing_at
from evpower.stations.models import (
    Admission,
    BootInfo,
    Connector,
    Station,
    StationRef,
    StatusChange,
    StatusReport,
)
from evpower.stations.repository import connectors as ports
from evpower.stations.repository import stations as rows
from evpower.stations.text import addressable, clean
from evpower.stations.views import (
    get_location,
    list_locations,
    list_stations,
    location_views,
    shown_state,
    station_status,
)

__all__ = [
    "add_event",
    "add_event_once",
    "claim_connection",
    "configuration",
    "connectors",
    "count_connected",
    "count_owned",
    "ensure_connector",
    "expected_sample_interval_s",
    "get_location",
    "hold_connector",
    "is_online",
    "list_locations",
    "list_stations",
    "load_for_admission",
    "location_views",
    "lock_connector",
    "mark_offline",
    "owns_connection",
    "record_boot",
    "record_status",
    "release_connection",
    "release_connector",
    "resolve",
    "resume_connections",
    "set_authorization_key",
    "shown_state",
    "station_status",
    "store_configuration",
    "store_value",
    "touch",
]

_MAX_CONNECTOR = 100
_NO_ERROR = "NoError"


# --- One station --------------------------------------------------------------------------------------------------


async def resolve(conn: Conn, ref: str) -> Station | None:
    """The station addressed by ``stations.id`` or ``serial_number`` (mobile-api.md §0.10); the id goes first."""
    return await rows.find(conn, ref) if addressable(ref) else None


def is_online(station: Station, now: datetime) -> bool:
    """Seen within ``STATION_OFFLINE_AFTER_S``; whether it is connected right now is ``station.connected``."""
    return status.is_online(station.last_heartbeat_at, now, get_settings().station_offline_after_s)


def expected_sample_interval_s(station: Station) -> int:
    """Seconds between two readings of a transaction to count with: :mod:`evpower.stations.sampling`."""
    wanted = station.meter_interval_s or get_settings().meter_sample_interval_s
    return sampling.expected_interval_s(station.sample_interval_s, station.observed_interval_s, wanted)


async def connectors(conn: Conn, station_id: str) -> list[Connector]:
    """The station's connectors by number."""
    return await ports.connectors_of(conn, station_id)


async def count_connected(conn: Conn) -> int:
    """Stations with an open socket on any instance, for the health route."""
    return await rows.count_connected(conn, _silent_since(datetime.now(UTC)))


async def count_owned(conn: Conn, owner_id: str | None) -> tuple[int, int]:
    """Stations and locations of an owner (None: all of the network)."""
    return await rows.count_owned(conn, owner_id)


def _silent_since(now: datetime) -> datetime:
    return now - timedelta(seconds=get_settings().station_offline_after_s)


# --- Connectors and sessions --------------------------------------------------------------------------------------


async def lock_connector(conn: Conn, station_id: str, number: int) -> Connector | None:
    """The connector, locked to the end of the transaction. Last in the lock order, after the session."""
    return await ports.lock_connector(conn, station_id, number) if 0 < number <= _MAX_CONNECTOR else None


async def ensure_connector(conn: Conn, station_id: str, number: int) -> Connector | None:
    """The connector, locked; made when the charger uses a number that nobody configured. None: no possible number."""
    if not 0 < number <= _MAX_CONNECTOR:
        return None
    await ports.add_connector(conn, station_id, number)
    return await ports.lock_connector(conn, station_id, number)


async def hold_connector(conn: Conn, station_id: str, number: int, session_id: str) -> bool:
    """Mark the connector as taken by a live session; false when another session holds it or there is none."""
    return await ports.hold_connector(conn, station_id, number, session_id)


async def release_connector(conn: Conn, session_id: str) -> StationRef | None:
    """Let go of the connector that a session holds; its status is then what the charger says.

    Returns:
        The station, to be published after the commit; ``None`` when the session held nothing.
    """
    return await ports.release_connector(conn, session_id)


# --- Admission and connection -------------------------------------------------------------------------------------


async def load_for_admission(conn: Conn, ref: str) -> Admission | None:
    """Everything that the WebSocket upgrade needs of a station, by id or serial number, in one query."""
    return await rows.admission(conn, ref) if addressable(ref) else None


async def claim_connection(
    conn: Conn,
    station_id: str,
    instance_id: str,
    now: datetime,
    *,
    protocol: str | None = None,
    security: int | None = None,
    credentials_version: int | None = None,
) -> int:
    """Take the station for a new socket: the newest wins. The epoch fences out all earlier ones.

    ``security``: the security profile that the socket has proven; ``credentials_version`` as it was when its
    credentials were checked.

    Raises:
        StationNotFound: the station was removed, or its credentials were revoked, in the meantime.
    """
    epoch = await rows.claim_connection(
        conn, station_id, instance_id, protocol, now, security=security, credentials_version=credentials_version
    )
    if epoch is None:
        raise StationNotFound
    return epoch


async def owns_connection(conn: Conn, station_id: str, epoch: int) -> bool:
    """Whether the socket of ``epoch`` is still the station's newest; checked before writes that move money."""
    return await rows.owns_connection(conn, station_id, epoch)


async def release_connection(conn: Conn, station_id: str, epoch: int, *, last_seen: datetime | None = None) -> bool:
    """Note that the socket of ``epoch`` is closed; false when a newer one holds the station.

    The station stays available until it has been silent for ``STATION_OFFLINE_AFTER_S``: chargers reconnect.
    """
    return await rows.release_connection(conn, station_id, epoch, last_seen)


async def resume_connections(conn: Conn, epochs: Mapping[str, int], instance_id: str, now: datetime) -> None:
    """Note again which instance holds these sockets (station -> epoch); called while they live.

    Use case: the database was away for long, the sweep found everybody silent and took their sockets for dead. Without
    this, commands would be sent to none of them again until they reconnect.
    """
    if epochs:
        await rows.resume_connections(conn, epochs, instance_id, now)


async def touch(conn: Conn, seen: Mapping[str, datetime], now: datetime) -> list[StationRef]:
    """Flush the last sign of life of many stations in one statement.

    Returns:
        Stations that were unavailable until now, to be published after the commit.
    """
    return await rows.touch(conn, seen, now + CLOCK_AHEAD) if seen else []


async def mark_offline(conn: Conn, now: datetime, limit: int) -> list[StationRef]:
    """Make up to ``limit`` silent stations unavailable; safe to run at the same time elsewhere.

    Silence counts only within time in which stations could be heard (docs/decisions/0018).
    """
    silent = (await hearing_at(conn, now)).silence(get_settings().station_offline_after_s)
    return [] if silent.since is None else await rows.mark_silent(conn, silent, limit)


async def set_authorization_key(conn: Conn, station_id: str, key: str | None) -> None:
    """Store the hash of the station's AuthorizationKey; ``None`` takes the key away.

    Raises:
        ValueError: not 16 to 40 characters.
        StationNotFound: no such station.
    """
    key_hash = credentials.hash_authorization_key(key) if key is not None else None
    if not await rows.set_auth_key_hash(conn, station_id, key_hash):
        raise StationNotFound


# --- What chargers report -----------------------------------------------------------------------------------------


async def record_boot(conn: Conn, station_id: str, boot: BootInfo, now: datetime) -> None:
    """Mark the boot and keep what the charger says of itself (ocpp.md §3 BootNotification)."""
    details = clean(dict(boot.details))
    cleaned = replace(
        boot,
        details=details,
        vendor=clean(boot.vendor),
        model=clean(boot.model),
        firmware_version=clean(boot.firmware_version),
    )
    await rows.record_boot(conn, station_id, cleaned, now)
    await add_event(conn, station_id, "boot", now, payload=details)


async def record_status(conn: Conn, station_id: str, report: StatusReport, now: datetime) -> StatusChange:
    """Store a StatusNotification if it is newer than what is known (``status.supersedes``).

    Connector 0 is the station. A connector number that nobody configured gets a row and a warning event, so that
    operators see it and drivers can use it. Changes are kept as events, repetitions are not.
    """
    report = _clean_report(report)
    word = status.known_status(report.status)
    if word is None or not 0 <= report.connector <= _MAX_CONNECTOR:
        await _status_event(conn, station_id, "status_not_understood", report, now, severity="warning")
        return StatusChange(station_id, report.connector, applied=False, changed=False)
    report = replace(report, status=word)
    added = False
    stored = await ports.lock_status(conn, station_id, report.connector)
    if stored is None and report.connector:
        added = await ports.add_connector(conn, station_id, report.connector)
        stored = await ports.lock_status(conn, station_id, report.connector)
        if added:
            await _status_event(conn, station_id, "unexpected_connector", report, now, severity="warning")
    if stored is None or not status.supersedes(report, stored, now):
        return StatusChange(station_id, report.connector, applied=False, changed=False)
    await ports.set_status(conn, station_id, report, now)
    changed = added or (stored.ocpp_status, stored.error_code) != (report.status, report.error_code)
    if changed:
        await _status_event(conn, station_id, "status", report, now, severity=_severity(report))
    return StatusChange(
        station_id,
        report.connector,
        applied=True,
        changed=changed,
        unexpected_connector=added,
        previous=stored.ocpp_status,
    )


def _clean_report(report: StatusReport) -> StatusReport:
    error = clean(report.error_code)
    return replace(
        report,
        status=clean(report.status) or "",
        error_code=None if error in (None, "", _NO_ERROR) else error,
        info=clean(report.info) or None,
        vendor_error_code=clean(report.vendor_error_code) or None,
    )


def _severity(report: StatusReport) -> str:
    if report.status == "Faulted":
        return "error"
    return "warning" if report.error_code else "info"


async def _status_event(
    conn: Conn, station_id: str, event: str, report: StatusReport, now: datetime, *, severity: str
) -> None:
    payload = {
        "status": report.status,
        "error_code": report.error_code,
        "info": report.info,
        "vendor_error_code": report.vendor_error_code,
    }
    await add_event(
        conn,
        station_id,
        event,
        now,
        payload={name: value for name, value in payload.items() if value is not None},
        severity=severity,
        connector=report.connector,
        charger_at=report.charger_at,
    )


async def store_configuration(
    conn: Conn,
    station_id: str,
    keys: Sequence[Mapping[str, Any]],
    unknown: Sequence[str],
    now: datetime,
    *,
    whole: bool = True,
) -> None:
    """Keep what GetConfiguration told: items of ``key``, ``value``, ``readonly``, and the names it does not know.

    ``whole``: all keys were asked for, so what is not told is there no more.
    """
    await ports.store_configuration(conn, station_id, clean(list(keys)), clean(list(unknown)), now, whole=whole)


async def store_value(conn: Conn, station_id: str, key: str, value: str, now: datetime) -> None:
    """Keep the value that ChangeConfiguration has set; nothing for a key that was never read."""
    await ports.store_value(conn, station_id, key, value, now)


async def configuration(conn: Conn, station_id: str) -> dict[str, str]:
    """Values of the configuration keys as last read, by the key in lower case; keys without a value are left out."""
    return await ports.configuration(conn, station_id)


async def add_event(
    conn: Conn,
    station_id: str,
    event: str,
    now: datetime,
    *,
    payload: Mapping[str, Any] | None = None,
    severity: str = "info",
    connector: int | None = None,
    charger_at: datetime | None = None,
    once_in: timedelta | None = None,
) -> None:
    """Keep something that a station reported, for operators. ``severity``: info, warning, error.

    ``once_in``: an event that repeats the last one of its type, not older than that, is not kept again.
    """
    await ports.add_event(
        conn,
        station_id,
        event,
        severity=severity,
        payload=clean(dict(payload or {})),
        connector=connector,
        charger_at=charger_at,
        received_at=now,
        same_since=None if once_in is None else now - once_in,
    )


async def add_event_once(
    conn: Conn, station_id: str, event: str, now: datetime, *, every: timedelta, payload: Mapping[str, Any]
) -> None:
    """:func:`add_event` as a warning, unless there is one of the last ``every``. Two at once may both be kept."""
    if not await ports.had_event(conn, station_id, event, now - every):
        await add_event(conn, station_id, event, now, payload=payload, severity="warning")
