"""Who is staff, and what the dashboard, stations and sessions screens show and change."""

from datetime import datetime, timedelta

from evpower.admin.models import (
    Page,
    Role,
    Scope,
    SessionFilter,
    SessionRecord,
    Slice,
    StaffMember,
    StationChange,
    StationFilter,
    StationRecord,
    Stats,
)
from evpower.admin.repository import sessions, stations, users
from evpower.clock import BISHKEK
from evpower.config import get_settings
from evpower.db import Conn
from evpower.errors import Forbidden, NotFound, SessionNotFound, StationNotFound

MASTER = StaffMember("master", Role.SUPERADMIN, Scope(everything=True))
"""The holder of the master key."""


async def member(conn: Conn, user_id: str) -> StaffMember:
    """The member of staff with this id, with what it may see (mobile-api.md §7.1).

    Superadmins see everything, admins what is theirs, operators what their admin sees; nothing while that admin is
    deactivated, or there is none.

    Raises:
        Forbidden: no staff, or deactivated.
    """
    row = await users.access(conn, user_id)
    if row is None or not row["is_active"]:
        raise Forbidden
    role = Role(row["role"])
    if role is not Role.OPERATOR:
        return StaffMember(user_id, role, Scope(role is Role.SUPERADMIN, user_id))
    if not row["admin_is_active"] or row["admin_role"] == Role.OPERATOR:
        return StaffMember(user_id, role, Scope(everything=False))
    return StaffMember(user_id, role, Scope(row["admin_role"] == Role.SUPERADMIN, row["admin_id"]))


def _seen_after(now: datetime) -> datetime:
    return now - timedelta(seconds=get_settings().station_offline_after_s)


async def stats(conn: Conn, scope: Scope, period_days: int, now: datetime) -> Stats:
    """D1: stations now, and the sessions of the last ``period_days`` days, today included (days of Bishkek)."""
    today = now.astimezone(BISHKEK).replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - timedelta(days=period_days - 1)
    total, online, faulted = await stations.station_counts(conn, scope, _seen_after(now))
    active, begun, energy, revenue = await stations.session_sums(conn, scope, since)
    return Stats(
        stations=total,
        online=online,
        faulted=faulted,
        active_sessions=active,
        sessions=begun,
        energy_kwh=energy,
        revenue=revenue,
        since=since,
        until=now,
    )


# --- Stations -----------------------------------------------------------------------------------------------------


async def station_page(
    conn: Conn, scope: Scope, wanted: StationFilter, part: Slice, now: datetime
) -> Page[StationRecord]:
    """D2: stations of the scope by serial number, hidden ones too."""
    return await stations.page(conn, scope, wanted, _seen_after(now), part)


async def station(conn: Conn, scope: Scope, ref: str) -> StationRecord:
    """D3: a station by id or serial number.

    Raises:
        StationNotFound: unknown, or not in the scope.
    """
    found = await stations.find(conn, scope, ref)
    if found is None:
        raise StationNotFound
    return found


async def change_station(
    conn: Conn, scope: Scope, ref: str, change: StationChange
) -> tuple[StationRecord, StationRecord]:
    """D4: the station before and after. Prices of running sessions are frozen and do not change; nor does what their
    registers count.

    Raises:
        StationNotFound: unknown, or not in the scope.
    """
    before = await stations.find(conn, scope, ref, lock=True)
    if before is None:
        raise StationNotFound
    await stations.change(
        conn,
        before.id,
        status=change.status_after(before),
        price_per_kwh=before.price_per_kwh if change.price_per_kwh is None else change.price_per_kwh,
        session_fee=before.session_fee if change.session_fee is None else change.session_fee,
        register_factor=before.register_factor if change.register_factor is None else change.register_factor,
    )
    return before, await station(conn, scope, before.id)


async def stations_at(conn: Conn, scope: Scope, location_id: str) -> list[str]:
    """L6: ids of the stations of a location.

    Raises:
        NotFound: unknown, or not in the scope.
    """
    found = await stations.at_location(conn, scope, location_id)
    if found is None:
        raise NotFound("no such location")
    return found


# --- Sessions -----------------------------------------------------------------------------------------------------


async def session_page(conn: Conn, scope: Scope, wanted: SessionFilter, part: Slice) -> Page[SessionRecord]:
    """D5, D6: sessions at the stations of the scope, newest first."""
    return await sessions.page(conn, scope, wanted, part)


async def session(conn: Conn, scope: Scope, session_id: str) -> SessionRecord:
    """D7.

    Raises:
        SessionNotFound: unknown, or at a station that is not in the scope.
    """
    found = await sessions.find(conn, scope, session_id)
    if found is None:
        raise SessionNotFound
    return found
