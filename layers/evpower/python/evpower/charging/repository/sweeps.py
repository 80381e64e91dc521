"""Queries that find sessions which need somebody to act. They only read; each session is checked again under lock."""

from datetime import datetime

from evpower.db import Conn


async def _ids(conn: Conn, query: str, parameters: tuple[object, ...]) -> list[str]:
    return [row["id"] for row in await (await conn.execute(query, parameters)).fetchall()]


async def never_started(conn: Conn, created_before: datetime, limit: int) -> list[str]:
    return await _ids(
        conn,
        "SELECT id FROM charging_sessions WHERE state = 'pending' AND created_at < %s ORDER BY created_at LIMIT %s",
        (created_before, limit),
    )


async def waiting_unasked(conn: Conn, station_id: str, created_after: datetime) -> list[str]:
    """Sessions of a station that wait for their StartTransaction while no RemoteStart is on its way."""
    return await _ids(
        conn,
        """SELECT c.id FROM charging_sessions c
            WHERE c.station_id = %s AND c.state = 'pending' AND c.created_at > %s
              AND NOT EXISTS (SELECT FROM station_commands k
                               WHERE k.session_id = c.id AND k.action = 'RemoteStartTransaction'
                                 AND k.status IN ('queued', 'sent'))
            ORDER BY c.created_at""",
        (station_id, created_after),
    )


async def too_long(conn: Conn, created_before: datetime, limit: int) -> list[str]:
    return await _ids(
        conn,
        """SELECT id FROM charging_sessions
            WHERE state IN ('charging', 'stopping') AND coalesce(charging_started_at, created_at) < %s
            ORDER BY created_at LIMIT %s""",
        (created_before, limit),
    )


async def on_silent_stations(conn: Conn, silent_since: datetime, limit: int) -> list[str]:
    return await _ids(
        conn,
        """SELECT c.id FROM charging_sessions c JOIN stations s ON s.id = c.station_id
            WHERE c.state IN ('charging', 'stopping')
              AND (s.last_heartbeat_at IS NULL OR s.last_heartbeat_at < %s)
            ORDER BY c.created_at LIMIT %s""",
        (silent_since, limit),
    )


async def readings_overdue(conn: Conn, now: datetime, limit: int) -> list[str]:
    return await _ids(
        conn,
        """SELECT id FROM charging_sessions WHERE state = 'charging' AND auto_stop_at < %s
            ORDER BY auto_stop_at LIMIT %s""",
        (now, limit),
    )


async def is_overdue(conn: Conn, session_id: str, now: datetime) -> bool:
    """Whether the session is one of :func:`readings_overdue`."""
    cursor = await conn.execute(
        "SELECT FROM charging_sessions WHERE id = %s AND state = 'charging' AND auto_stop_at < %s", (session_id, now)
    )
    return await cursor.fetchone() is not None


async def stop_unanswered(conn: Conn, requested_before: datetime, given_up_before: datetime, limit: int) -> list[str]:
    """Stopping sessions without an open RemoteStop (the command ended, the transaction did not), and all old ones.

    Use case: a charger is heard but answers no call. Its RemoteStop is queued again until it expires, hours later.
    """
    return await _ids(
        conn,
        """SELECT c.id FROM charging_sessions c
            WHERE c.state = 'stopping' AND c.stop_requested_at < %s
              AND (c.stop_requested_at < %s OR NOT EXISTS (
                    SELECT FROM station_commands k
                     WHERE k.session_id = c.id AND k.action = 'RemoteStopTransaction'
                       AND (k.status IN ('queued', 'sent') OR k.created_at >= %s)))
            ORDER BY c.stop_requested_at LIMIT %s""",
        (requested_before, given_up_before, requested_before, limit),
    )


async def late_readings(conn: Conn, read_before: datetime, limit: int) -> list[str]:
    """Settled sessions whose meter moved afterwards and has been quiet since."""
    return await _ids(
        conn,
        """SELECT id FROM charging_sessions
            WHERE settlement_revision > 0 AND energy_wh <> settled_energy_wh AND last_meter_at < %s
              AND state IN ('stopped', 'error')
            ORDER BY last_meter_at LIMIT %s""",
        (read_before, limit),
    )


async def waiting_stops(conn: Conn, since: datetime, now: datetime, intervals: int, limit: int) -> list[str]:
    """Sessions with a stop that names only their card, without readings for so many sample intervals since it came.

    ``since`` bounds the readings that are looked through.
    """
    cursor = await conn.execute(
        """SELECT s.id FROM ocpp_transactions t JOIN charging_sessions s ON s.id = t.session_id
            WHERE t.guess_state = 'waiting'
              AND greatest(t.guessed_received_at,
                           (SELECT max(v.received_at) FROM ocpp_meter_values v
                             WHERE v.session_id = s.id AND v.received_at BETWEEN %(since)s AND %(now)s))
                  < %(now)s - %(intervals)s * s.sample_interval_s * interval '1 second'
            ORDER BY t.guessed_received_at LIMIT %(limit)s""",
        {"since": since, "now": now, "intervals": intervals, "limit": limit},
    )
    return [row["id"] for row in await cursor.fetchall()]


async def waiting_on_connector(conn: Conn, station_id: str, connector_id: int) -> list[str]:
    """Sessions on the connector with a stop that names only their card."""
    return await _ids(
        conn,
        """SELECT session_id AS id FROM ocpp_transactions
            WHERE guess_state = 'waiting' AND station_id = %s AND connector_id = %s ORDER BY id""",
        (station_id, connector_id),
    )


async def left_open(conn: Conn, begun_before: datetime, limit: int) -> list[str]:
    """Ended sessions whose transaction is open although its StopTransaction cannot be expected any more."""
    return await _ids(
        conn,
        """SELECT s.id FROM ocpp_transactions t
             JOIN charging_sessions s ON s.id = t.session_id AND s.ocpp_transaction_id = t.id
            WHERE t.status = 'active' AND t.received_at < %s AND s.state IN ('stopped', 'error')
            ORDER BY t.received_at LIMIT %s""",
        (begun_before, limit),
    )


async def open_command(conn: Conn, session_id: str, action: str) -> str | None:
    cursor = await conn.execute(
        """SELECT id FROM station_commands
            WHERE session_id = %s AND action = %s AND status IN ('queued', 'sent') LIMIT 1""",
        (session_id, action),
    )
    row = await cursor.fetchone()
    return str(row["id"]) if row else None


async def asked_since(conn: Conn, session_id: str, action: str, since: datetime) -> bool:
    """Whether a command of that kind ended after ``since``."""
    cursor = await conn.execute(
        """SELECT 1 FROM station_commands
            WHERE session_id = %s AND action = %s AND finished_at > %s LIMIT 1""",
        (session_id, action, since),
    )
    return await cursor.fetchone() is not None
