"""All SQL of jobs and firmware files. A job's row is locked before its command's."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from evpower.db import Conn
from evpower.jobs.models import OPEN_STATES, FirmwareFile, Job, JobFilter, JobKind, JobState

_OPEN = list(OPEN_STATES)
_JOB = ", ".join(f"j.{name}" for name in Job.__slots__ if not name.startswith("command_") or name == "command_id")
_SEEN = f"{_JOB}, c.status AS command_status, c.error AS command_error"
_FROM = "station_jobs j LEFT JOIN station_commands c ON c.id = j.command_id"
_FILE = ", ".join(f"f.{name}" for name in FirmwareFile.__slots__)
_MAX_STEPS = 50


async def next_request_id(conn: Conn) -> int:
    row = await (await conn.execute("SELECT nextval('station_job_request_id_seq') AS number")).fetchone()
    assert row is not None
    return int(row["number"])


async def insert_job(conn: Conn, values: Mapping[str, Any]) -> None:
    """``values``: column -> value; names are our own."""
    names = ", ".join(values)
    marks = ", ".join(f"%({name})s" for name in values)
    await conn.execute(f"INSERT INTO station_jobs ({names}) VALUES ({marks})", dict(values))  # noqa: S608 - own names


async def job(conn: Conn, station_id: str, job_id: str) -> Job | None:
    cursor = await conn.execute(
        f"SELECT {_SEEN} FROM {_FROM} WHERE j.id = %s AND j.station_id = %s",  # noqa: S608 - our own names
        (job_id, station_id),
    )
    row = await cursor.fetchone()
    return None if row is None else Job.from_row(row)


async def jobs(conn: Conn, station_id: str, wanted: JobFilter, now: datetime, limit: int) -> list[Job]:
    cursor = await conn.execute(
        f"""SELECT {_SEEN} FROM {_FROM}
             WHERE j.station_id = %(station)s AND j.kind = ANY (%(kinds)s)
               AND (%(open)s::boolean IS NULL
                    OR (j.state = ANY (%(states)s) AND j.expires_at > %(now)s
                        AND NOT (j.state = 'requested' AND coalesce(c.status, '') IN ('failed', 'expired', 'cancelled'))
                       ) = %(open)s)
               AND (%(at)s::timestamptz IS NULL OR (j.created_at, j.id) < (%(at)s, %(id)s))
             ORDER BY j.created_at DESC, j.id DESC LIMIT %(limit)s""",  # noqa: S608 - our own names
        {
            "station": station_id,
            "kinds": list(wanted.kinds),
            "open": wanted.is_open,
            "states": _OPEN,
            "now": now,
            "at": wanted.before[0] if wanted.before else None,
            "id": wanted.before[1] if wanted.before else None,
            "limit": limit,
        },
    )
    return [Job.from_row(row) for row in await cursor.fetchall()]


async def count_open(conn: Conn, station_id: str, kinds: Sequence[JobKind], now: datetime) -> int:
    """Jobs whose end is waited for. The station's row is locked, so that two requests count one after the other."""
    await conn.execute("SELECT 1 FROM stations WHERE id = %s FOR NO KEY UPDATE", (station_id,))
    cursor = await conn.execute(
        f"""SELECT count(*) AS n FROM {_FROM}
             WHERE j.station_id = %s AND j.kind = ANY (%s) AND j.state = ANY (%s) AND j.expires_at > %s
               AND coalesce(c.status, '') NOT IN ('failed', 'expired', 'cancelled')""",  # noqa: S608 - our own names
        (station_id, list(kinds), _OPEN, now),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["n"])


async def lock_by_command(conn: Conn, command_id: str) -> Job | None:
    cursor = await conn.execute(
        f"""SELECT {_JOB}, NULL AS command_status, NULL AS command_error FROM station_jobs j
             WHERE j.command_id = %s FOR UPDATE""",  # noqa: S608 - our own names
        (command_id,),
    )
    row = await cursor.fetchone()
    return None if row is None else Job.from_row(row)


async def lock_reported(
    conn: Conn, station_id: str, kind: JobKind, request_id: int | None, now: datetime
) -> Job | None:
    """The job that a status notification is about.

    By its request id; without one (OCPP 1.6 core) the newest one that was written to the charger and is open, else one
    that failed and may be tried again by the charger.
    """
    cursor = await conn.execute(
        f"""SELECT {_JOB}, NULL AS command_status, NULL AS command_error
              FROM station_jobs j LEFT JOIN station_commands c ON c.id = j.command_id
             WHERE j.station_id = %(station)s AND j.kind = %(kind)s
               AND j.state = ANY (%(reported)s) AND j.expires_at > %(now)s
               AND (j.request_id = %(request)s
                    OR (%(request)s::numeric IS NULL AND (c.id IS NULL OR c.sent_at IS NOT NULL)))
             ORDER BY (j.state = ANY (%(open)s)) DESC, j.created_at DESC, j.id DESC
             LIMIT 1 FOR UPDATE OF j""",  # noqa: S608 - our own names
        {
            "station": station_id,
            "kind": kind,
            "request": request_id,
            "reported": [*_OPEN, JobState.FAILED],
            "open": _OPEN,
            "now": now,
        },
    )
    row = await cursor.fetchone()
    return None if row is None else Job.from_row(row)


async def step(
    conn: Conn,
    job_id: str,
    state: JobState,
    now: datetime,
    *,
    word: str | None = None,
    error: str | None = None,
    file_name: str | None = None,
) -> None:
    """Move the job on. The first and the newest of the charger's words are kept, and a repeated one adds nothing."""
    await conn.execute(
        """UPDATE station_jobs
              SET state = %(state)s, charger_status = coalesce(%(word)s, charger_status), error = %(error)s,
                  file_name = coalesce(%(file)s, file_name), updated_at = %(now)s,
                  finished_at = CASE WHEN %(state)s = ANY (%(open)s) THEN NULL ELSE %(now)s END,
                  steps = CASE
                      WHEN %(word)s::text IS NULL OR steps -> -1 ->> 'status' = %(word)s THEN steps
                      WHEN jsonb_array_length(steps) >= %(most)s THEN (steps - 1) || %(step)s
                      ELSE steps || %(step)s END
            WHERE id = %(id)s""",
        {
            "id": job_id,
            "state": state,
            "open": _OPEN,
            "word": word,
            "error": error,
            "file": file_name,
            "now": now,
            "most": _MAX_STEPS,
            "step": Jsonb([{"at": now.isoformat(), "status": word}]),
        },
    )


async def supersede(
    conn: Conn, station_id: str, kinds: Sequence[JobKind], newer: Job, error: str, now: datetime
) -> None:
    """Cancel the open jobs of these kinds that are older than ``newer``: the charger has stopped them."""
    await conn.execute(
        """UPDATE station_jobs SET state = 'cancelled', error = %s, finished_at = %s, updated_at = %s
            WHERE station_id = %s AND kind = ANY (%s) AND id <> %s AND created_at <= %s
              AND state IN ('accepted', 'running')""",
        (error, now, now, station_id, list(kinds), newer.id, newer.created_at),
    )


async def expire(conn: Conn, now: datetime, error: str, limit: int) -> int:
    """Close up to ``limit`` jobs whose time is over; how many of them had no end at all."""
    cursor = await conn.execute(
        """WITH due AS (
               SELECT id FROM station_jobs
                WHERE state IN ('requested', 'accepted', 'running') AND expires_at <= %(now)s
                ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
           ended AS (
               UPDATE station_jobs j
                  SET state = CASE WHEN j.state = 'requested' AND c.status IN ('failed', 'cancelled') THEN c.status
                                   ELSE 'expired' END,
                      error = coalesce(CASE WHEN j.state = 'requested' THEN c.error END, %(error)s),
                      finished_at = %(now)s, updated_at = %(now)s
                 FROM due LEFT JOIN station_jobs d ON d.id = due.id LEFT JOIN station_commands c ON c.id = d.command_id
                WHERE j.id = due.id
               RETURNING j.id, j.station_id, j.kind, j.state)
           INSERT INTO station_events (station_id, type, severity, payload, received_at)
           SELECT station_id, 'job_expired', 'warning', jsonb_build_object('job_id', id, 'kind', kind), %(now)s
             FROM ended WHERE state = 'expired'
        RETURNING 1""",
        {"now": now, "error": error, "limit": limit},
    )
    return cursor.rowcount


async def files_to_remove(conn: Conn, unwanted: datetime, old: datetime, limit: int) -> dict[str, str]:
    """Job id -> key in our store: of cancelled jobs that ended before ``unwanted``, and of all made before ``old``."""
    cursor = await conn.execute(
        """SELECT id, object_key FROM station_jobs
            WHERE object_key IS NOT NULL AND state NOT IN ('requested', 'accepted', 'running')
              AND (created_at < %(old)s OR (state = 'cancelled' AND expires_at <= %(unwanted)s))
            ORDER BY created_at, id LIMIT %(limit)s""",
        {"unwanted": unwanted, "old": old, "limit": limit},
    )
    return {row["id"]: row["object_key"] for row in await cursor.fetchall()}


async def file_removed(conn: Conn, job_ids: Sequence[str]) -> None:
    await conn.execute("UPDATE station_jobs SET object_key = NULL WHERE id = ANY (%s)", (list(job_ids),))


# --- Firmware files -----------------------------------------------------------------------------------------------

_MAY_SEE = "(%(everything)s OR f.owner_id IS NULL OR f.owner_id = %(owner)s)"


async def insert_firmware(conn: Conn, values: Mapping[str, Any]) -> bool:
    """False when the id is taken."""
    names = ", ".join(values)
    marks = ", ".join(f"%({name})s" for name in values)
    cursor = await conn.execute(
        f"INSERT INTO firmware_files ({names}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING",  # noqa: S608 - own names
        dict(values),
    )
    return cursor.rowcount == 1


async def firmware(
    conn: Conn, firmware_id: str, *, everything: bool, owner_id: str | None, lock: bool = False
) -> FirmwareFile | None:
    cursor = await conn.execute(
        f"SELECT {_FILE} FROM firmware_files f WHERE f.id = %(id)s AND {_MAY_SEE} {'FOR UPDATE' if lock else ''}",  # noqa: S608 - our own names
        {"id": firmware_id, "everything": everything, "owner": owner_id},
    )
    row = await cursor.fetchone()
    return None if row is None else FirmwareFile.from_row(row)


async def firmware_page(
    conn: Conn, *, everything: bool, owner_id: str | None, before: tuple[datetime, str] | None, limit: int
) -> list[FirmwareFile]:
    cursor = await conn.execute(
        f"""SELECT {_FILE} FROM firmware_files f
             WHERE {_MAY_SEE} AND (%(at)s::timestamptz IS NULL OR (f.created_at, f.id) < (%(at)s, %(id)s))
             ORDER BY f.created_at DESC, f.id DESC LIMIT %(limit)s""",  # noqa: S608 - our own names
        {
            "everything": everything,
            "owner": owner_id,
            "at": before[0] if before else None,
            "id": before[1] if before else None,
            "limit": limit,
        },
    )
    return [FirmwareFile.from_row(row) for row in await cursor.fetchall()]


async def count_firmware(conn: Conn) -> int:
    """Files that are in use or about to be."""
    row = await (await conn.execute("SELECT count(*) AS n FROM firmware_files WHERE state <> 'retired'")).fetchone()
    assert row is not None
    return int(row["n"])


async def set_firmware_state(conn: Conn, firmware_id: str, state: str, now: datetime) -> None:
    await conn.execute(
        """UPDATE firmware_files SET state = %(state)s, updated_at = %(now)s,
                  stored_at = CASE WHEN %(state)s = 'stored' THEN %(now)s ELSE stored_at END
            WHERE id = %(id)s""",
        {"id": firmware_id, "state": state, "now": now},
    )


async def firmware_in_use(conn: Conn, firmware_id: str, now: datetime) -> bool:
    """Whether a charger may still download it."""
    cursor = await conn.execute(
        "SELECT 1 FROM station_jobs WHERE firmware_id = %s AND state = ANY (%s) AND expires_at > %s LIMIT 1",
        (firmware_id, _OPEN, now),
    )
    return await cursor.fetchone() is not None
