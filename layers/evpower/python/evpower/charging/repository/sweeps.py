"""Queries that find sessions which need somebody to act. They only read; each session is checked again under lock.

``ahead``: a stored time beyond it was written before the clock stepped back, and counts as long ago.
"""

from dataclasses import asdict
from datetime import datetime

from evpower.charging.autostop import OVERDUE_INTERVALS
from evpower.db import Conn
from evpower.stations.hearing import Silence


async def _ids(conn: Conn, query: str, parameters: tuple[object, ...]) -> list[str]:
    return [row["id"] for row in await (await conn.execute(query, parameters)).fetchall()]


async def never_started(conn: Conn, created_before: datetime, ahead: datetime, limit: int) -> list[str]:
    return await _ids(
        conn,
        """SELECT id FROM charging_sessions
            WHERE state = 'pending' AND (created_at < %s OR created_at > %s) ORDER BY created_at LIMIT %s""",
        (created_before, ahead, limit),
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


async def on_silent_stations(conn: Conn, silent: Silence, limit: int, *, session_id: str | None = None) -> list[str]:
    """Sessions (``session_id``: that one, if it is such a session) of stations that were not heard although they could
    have been: neither they nor the process that holds their socket were away shortly before."""
    cursor = await conn.execute(
        """SELECT c.id FROM charging_sessions c JOIN stations s ON s.id = c.station_id
            WHERE c.state IN ('charging', 'stopping') AND c.id = coalesce(%(session)s, c.id)
              AND (s.last_heartbeat_at IS NULL OR s.last_heartbeat_at < %(since)s OR s.last_heartbeat_at > %(ahead)s)
              AND coalesce(evpower_holder_since(s.connected_instance, %(hears_at)s, %(ahead)s) < %(since)s, true)
            ORDER BY c.created_at LIMIT %(limit)s""",
        {**asdict(silent), "session": session_id, "limit": limit},
    )
    return [row["id"] for row in await cursor.fetchall()]


async def readings_overdue(
    conn: Conn, now: datetime, silent: Silence, limit: int, *, session_id: str | None = None
) -> list[str]:
    """Sessions (``session_id``: that one, if it is such a session) whose next reading is overdue.

    It is when the station is connected and was so for three intervals, and the process that holds its socket heard all
    the while. A station that is not connected can neither tell its readings nor be stopped: its session comes up when
    it has been overdue as long as silence takes to count.

    Use case: our database or an instance was away. The charger waits some time before it dials again, and then sends
    the readings that it has kept.
    """
    cursor = await conn.execute(
        """SELECT c.id
             FROM charging_sessions c
             JOIN stations s ON s.id = c.station_id
             CROSS JOIN LATERAL (
                  SELECT make_interval(secs => %(intervals)s * c.sample_interval_s) AS wait,
                         (SELECT r.since FROM hearing_runs r
                           WHERE r.instance_id = s.connected_instance AND r.until BETWEEN %(hears_at)s AND %(ahead)s
                             AND s.last_heartbeat_at BETWEEN r.since AND %(ahead)s
                           ORDER BY r.until DESC LIMIT 1) AS heard_since) h
            WHERE c.state = 'charging' AND c.id = coalesce(%(session)s, c.id)
              AND c.auto_stop_at < %(now)s
              AND ((c.auto_stop_at < %(since)s AND coalesce(
                        evpower_holder_since(s.connected_instance, %(hears_at)s, %(ahead)s) < %(since)s, true))
                   OR (h.heard_since < %(now)s - h.wait
                       AND NOT coalesce(s.connected_at BETWEEN %(now)s - h.wait AND %(ahead)s, false)))
            ORDER BY c.auto_stop_at LIMIT %(limit)s""",
        {**asdict(silent), "now": now, "intervals": OVERDUE_INTERVALS, "session": session_id, "limit": limit},
    )
    return [row["id"] for row in await cursor.fetchall()]


async def stop_unanswered(
    conn: Conn, requested_before: datetime, given_up_before: datetime | None, ahead: datetime, limit: int
) -> list[str]:
    """Stopping sessions without an open RemoteStop (the command ended, the transaction did not), and all old ones.

    Use case: a charger is heard but answers no call. Its RemoteStop is queued again until it expires, hours later.
    ``given_up_before`` None: no stop is old, because its charger could not be heard all the while.
    """
    cursor = await conn.execute(
        """SELECT c.id FROM charging_sessions c
            WHERE c.state = 'stopping' AND (c.stop_requested_at < %(asked)s OR c.stop_requested_at > %(ahead)s)
              AND (c.stop_requested_at < %(given_up)s
                   OR (c.stop_requested_at > %(ahead)s AND %(given_up)s::timestamptz IS NOT NULL)
                   OR NOT EXISTS (
                    SELECT FROM station_commands k
                     WHERE k.session_id = c.id AND k.action = 'RemoteStopTransaction'
                       AND (k.status IN ('queued', 'sent') OR k.created_at >= %(asked)s)))
            ORDER BY c.stop_requested_at LIMIT %(limit)s""",
        {"asked": requested_before, "given_up": given_up_before, "ahead": ahead, "limit": limit},
    )
    return [row["id"] for row in await cursor.fetchall()]


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
