"""All SQL of the commands outbox. The command row is the last lock of a transaction, after client and session."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from evpower.commands.models import (
    OVERTAKING_ACTIONS,
    REPEATABLE_ACTIONS,
    Command,
    CommandFilter,
    CommandStatus,
    NewCommand,
    QueuedRef,
)
from evpower.db import Conn

_COLUMNS = ", ".join(f"c.{name}" for name in Command.__slots__)


async def insert(conn: Conn, command_id: str, new: NewCommand, lease_until: datetime, now: datetime) -> Command | None:
    """The new row; None when the id is taken."""
    cursor = await conn.execute(
        f"""INSERT INTO station_commands AS c (id, station_id, action, payload, session_id, expires_at, lease_until,
                                               requested_by, correlation_id, created_at, updated_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
                ON CONFLICT (id) DO NOTHING
            RETURNING {_COLUMNS}""",  # noqa: S608 - our own column names
        (
            command_id,
            new.station_id,
            new.action,
            Jsonb(dict(new.payload)),
            new.session_id,
            new.expires_at,
            lease_until,
            new.requested_by,
            new.correlation_id,
            now,
            now,
        ),
    )
    row = await cursor.fetchone()
    return None if row is None else Command.from_row(row)


async def get(conn: Conn, command_id: str) -> Command | None:
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM station_commands c WHERE c.id = %s",  # noqa: S608 - our own column names
        (command_id,),
    )
    row = await cursor.fetchone()
    return None if row is None else Command.from_row(row)


async def page(conn: Conn, station_id: str, wanted: CommandFilter, limit: int) -> list[Command]:
    cursor = await conn.execute(
        f"""SELECT {_COLUMNS} FROM station_commands c
             WHERE c.station_id = %(station)s
               AND (%(status)s::text IS NULL OR c.status = %(status)s)
               AND (%(action)s::text IS NULL OR c.action = %(action)s)
               AND (%(open)s::boolean IS NULL OR (c.status IN ('queued', 'sent')) = %(open)s)
               AND (%(at)s::timestamptz IS NULL OR (c.created_at, c.id) < (%(at)s, %(id)s))
             ORDER BY c.created_at DESC, c.id DESC LIMIT %(limit)s""",  # noqa: S608 - our own column names
        {
            "station": station_id,
            "status": wanted.status,
            "action": wanted.action,
            "open": wanted.is_open,
            "at": wanted.before[0] if wanted.before else None,
            "id": wanted.before[1] if wanted.before else None,
            "limit": limit,
        },
    )
    return [Command.from_row(row) for row in await cursor.fetchall()]


# Earlier commands of the station that wait to be written: ``o``, before ``c``. By the time of their making alone: of
# those made in one transaction none depends on another.
_EARLIER = """o.station_id = c.station_id AND o.status = 'queued' AND o.expires_at > %(now)s
    AND o.created_at < c.created_at AND o.id <> ALL(%(passed)s) AND c.action <> ALL(%(overtaking)s)"""


async def mark_sent(
    conn: Conn,
    command_id: str,
    *,
    epoch: int,
    instance: str,
    lease_until: datetime,
    now: datetime,
    passed: Collection[str],
) -> Command | None:
    """queued -> sent, only for the holder of the station's present connection, only before expiry, only in order.

    ``passed``: earlier commands that are not waited for.
    """
    cursor = await conn.execute(
        f"""UPDATE station_commands c
               SET status = 'sent', sent_at = %(now)s, sent_epoch = %(epoch)s, sent_instance = %(instance)s,
                   lease_until = %(lease)s, updated_at = %(now)s
              FROM stations s
             WHERE c.id = %(id)s AND c.status = 'queued' AND c.expires_at > %(now)s
               AND s.id = c.station_id AND s.connection_epoch = %(epoch)s
               AND NOT EXISTS (SELECT FROM station_commands o WHERE {_EARLIER})
            RETURNING {_COLUMNS}""",  # noqa: S608 - our own column names
        {
            "id": command_id,
            "epoch": epoch,
            "instance": instance,
            "lease": lease_until,
            "now": now,
            "passed": list(passed),
            "overtaking": sorted(OVERTAKING_ACTIONS),
        },
    )
    row = await cursor.fetchone()
    return None if row is None else Command.from_row(row)


async def earlier(
    conn: Conn, command_id: str, *, epoch: int, now: datetime, passed: Collection[str], limit: int
) -> list[str]:
    """Commands that must be written before this one, oldest first; none unless this one waits and is ours to write."""
    cursor = await conn.execute(
        f"""SELECT o.id
              FROM station_commands c
              JOIN stations s ON s.id = c.station_id AND s.connection_epoch = %(epoch)s
              JOIN station_commands o ON {_EARLIER}
             WHERE c.id = %(id)s AND c.status = 'queued' AND c.expires_at > %(now)s
             ORDER BY o.created_at, o.id LIMIT %(limit)s""",  # noqa: S608 - constant parts
        {
            "id": command_id,
            "epoch": epoch,
            "now": now,
            "passed": list(passed),
            "overtaking": sorted(OVERTAKING_ACTIONS),
            "limit": limit,
        },
    )
    return [row["id"] for row in await cursor.fetchall()]


async def close(
    conn: Conn,
    command_id: str,
    status: CommandStatus,
    *,
    only_from: CommandStatus,
    attempt: int,
    response: Mapping[str, Any] | None,
    error: str | None,
    now: datetime,
) -> bool:
    """Write a terminal status; False when the row is no longer in ``only_from`` at this attempt."""
    cursor = await conn.execute(
        """UPDATE station_commands
              SET status = %s, response = %s, error = %s, finished_at = %s, lease_until = NULL, updated_at = %s
            WHERE id = %s AND status = %s AND attempt = %s""",
        (
            status,
            None if response is None else Jsonb(dict(response)),
            error,
            now,
            now,
            command_id,
            only_from,
            attempt,
        ),
    )
    return cursor.rowcount == 1


async def replace_member(conn: Conn, command_id: str, member: str, value: str) -> None:
    """Overwrite one member of the payload."""
    await conn.execute(
        "UPDATE station_commands SET payload = jsonb_set(payload, ARRAY[%s], to_jsonb(%s::text), false) WHERE id = %s",
        (member, value, command_id),
    )


async def requeue(
    conn: Conn, command_id: str, *, attempt: int, lease_until: datetime, error: str, now: datetime
) -> bool:
    """sent -> queued for a repeatable command whose connection broke."""
    cursor = await conn.execute(
        """UPDATE station_commands
              SET status = 'queued', attempt = attempt + 1, error = %s, lease_until = %s, updated_at = %s
            WHERE id = %s AND status = 'sent' AND attempt = %s""",
        (error, lease_until, now, command_id, attempt),
    )
    return cursor.rowcount == 1


async def queued_for(conn: Conn, epochs: Mapping[str, int], now: datetime, per_station: int) -> list[QueuedRef]:
    """Unexpired queued commands of the stations in ``epochs`` whose present connection is that epoch, oldest first.

    Use case: one charger answers nothing and has thousands of them. They must not hide those of the others.
    """
    cursor = await conn.execute(
        """SELECT c.id, s.id AS station_id
             FROM unnest(%s::text[], %s::bigint[]) AS held (station_id, epoch)
             JOIN stations s ON s.id = held.station_id AND s.connection_epoch = held.epoch
            CROSS JOIN LATERAL (
                  SELECT id, created_at FROM station_commands
                   WHERE station_id = s.id AND status = 'queued' AND expires_at > %s
                   ORDER BY created_at, id LIMIT %s) c
            ORDER BY c.created_at, c.id""",
        (list(epochs), list(epochs.values()), now, per_station),
    )
    return [QueuedRef(row["station_id"], row["id"]) for row in await cursor.fetchall()]


async def newer_epochs(conn: Conn, epochs: Mapping[str, int]) -> dict[str, int]:
    """Stations of ``epochs`` that have connected again elsewhere, with their present epoch."""
    cursor = await conn.execute(
        """SELECT s.id, s.connection_epoch
             FROM unnest(%s::text[], %s::bigint[]) AS held (station_id, epoch)
             JOIN stations s ON s.id = held.station_id AND s.connection_epoch > held.epoch""",
        (list(epochs), list(epochs.values())),
    )
    return {row["id"]: row["connection_epoch"] for row in await cursor.fetchall()}


async def sweep(conn: Conn, *, lease_until: datetime, now: datetime, limit: int) -> list[tuple[Command, bool]]:
    """Move open commands with a lapsed lease on; returns each with "its station is connected to some instance".

    A lapsed ``sent`` row means that the instance died between the commit and the answer: repeatable commands go back
    to the queue, others end `failed`, because the charger may have carried them out.
    """
    cursor = await conn.execute(
        f"""WITH due AS (
                SELECT id FROM station_commands
                 WHERE status IN ('queued', 'sent') AND coalesce(lease_until, created_at) <= %(now)s
                 ORDER BY coalesce(lease_until, created_at)
                 LIMIT %(limit)s
                   FOR UPDATE SKIP LOCKED),
            judged AS (
                SELECT c.id,
                       CASE WHEN c.status = 'sent' AND c.action <> ALL(%(repeatable)s) THEN 'failed'
                            WHEN c.expires_at <= %(now)s THEN 'expired'
                            ELSE 'queued' END AS verdict
                  FROM station_commands c JOIN due USING (id))
            UPDATE station_commands c
               SET status = j.verdict,
                   attempt = c.attempt + CASE j.verdict WHEN 'queued' THEN 1 ELSE 0 END,
                   lease_until = CASE j.verdict WHEN 'queued' THEN least(%(lease)s, c.expires_at) END,
                   finished_at = CASE j.verdict WHEN 'queued' THEN NULL ELSE %(now)s END,
                   error = CASE WHEN j.verdict = 'failed' THEN %(lost)s
                                WHEN j.verdict = 'expired' THEN coalesce(c.error, %(expired)s)
                                ELSE c.error END,
                   updated_at = %(now)s
              FROM judged j, stations s
             WHERE c.id = j.id AND s.id = c.station_id
            RETURNING {_COLUMNS}, s.connected_instance IS NOT NULL AS connected""",  # noqa: S608 - our own names
        {
            "now": now,
            "limit": limit,
            "lease": lease_until,
            "repeatable": sorted(REPEATABLE_ACTIONS),
            "lost": "sent, but no answer was recorded: the connection's instance stopped; not repeatable",
            "expired": "not delivered before its expiry",
        },
    )
    return [(Command.from_row(row), row["connected"]) for row in await cursor.fetchall()]
