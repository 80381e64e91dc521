"""Certificates that end: operators are told at each threshold, chargers of profile 3 are asked for a new request."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from evpower.certificates import repository, service
from evpower.commands.models import Command
from evpower.db import Conn
from evpower.stations import service as stations

_BATCH = 100
_ASK_EVERY = timedelta(days=1)
_ASKED_BY = "certificate renewal"


async def warn(conn: Conn, thresholds: Sequence[int], now: datetime) -> int:
    """Events for certificates that have crossed a threshold (days before the end; 0: the end) since the last look."""
    told = 0
    for days in sorted(thresholds):  # the nearest first: one event is enough
        for item in await repository.expiring(conn, now + timedelta(days=days), days, _BATCH):
            await stations.add_event(
                conn,
                item.station_id,
                "certificate_expired" if item.not_after <= now else "certificate_expiring",
                now,
                payload={
                    "certificate_id": item.id,
                    "kind": item.kind,
                    "subject": item.subject,
                    "not_after": item.not_after.isoformat(),
                },
                severity="error" if days <= 7 else "warning",
            )
            await repository.warned(conn, item, days)
            told += 1
    return told


async def count(conn: Conn, thresholds: Sequence[int], now: datetime) -> dict[int, int]:
    """Certificates in use that end within each threshold; those that have ended are among them."""
    return {days: await repository.count_expiring(conn, now + timedelta(days=days)) for days in thresholds}


async def renew(conn: Conn, days: int, now: datetime) -> list[Command]:
    """Ask stations of profile 3 whose certificate ends within ``days`` for a new request, once a day."""
    found = await repository.to_renew(conn, now + timedelta(days=days), now - _ASK_EVERY, _BATCH)
    return [await service.renew(conn, station_id, _ASKED_BY, now) for station_id in found]
