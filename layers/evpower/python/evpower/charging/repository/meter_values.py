"""SQL of meter readings: the batch flush of the socket tier, and the context of running transactions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from evpower.charging.models import TRANSACTION_DATA, FlushNumber, MeterUpdate, Reading
from evpower.charging.repository import meter_rows
from evpower.db import Conn

_NOBODY: frozenset[str] = frozenset()

# One statement per flush, whatever the size of the batch, with two JSON documents as its parameters: they are written
# in a small part of the time that adapting arrays of the same values takes, and the statement needs no planning anew.
# A charge whose own StopTransaction told its end does not move, whatever a process has in memory (decisions/0014); the
# subquery is only looked at for sessions that have ended.
# The epoch keeps a process that lost the station from overwriting the meter that its successor maintains.
# Sessions that somebody has locked are left out, and their readings with them: waiting for one would stop all others.
# A number is stored once. Use case: no answer comes, the batch is sent again on another connection, and the first one
# was stored, or is delivered an hour later. Numbers of a writer rise, so what comes late finds a higher one.
# What it answers is nearly always nothing: what it left out, and which sessions it did not find live under this epoch.
_STATEMENT = """
WITH updates AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s::json)
        AS u (session text, station text, epoch bigint, register numeric, candidate numeric, energy numeric,
              since timestamptz, charger timestamptz, power numeric, current numeric, voltage numeric, soc numeric,
              temperature numeric, cost numeric, auto_stop timestamptz, review text, source text, memory jsonb,
              received timestamptz)),
free AS MATERIALIZED (
    SELECT s.id FROM charging_sessions s WHERE s.id IN (SELECT session FROM updates) FOR NO KEY UPDATE {locked}),
aside AS MATERIALIZED (
    SELECT u.session FROM updates u WHERE NOT EXISTS (SELECT FROM free f WHERE f.id = u.session)),
numbered AS ({number}),
stored AS (
    INSERT INTO ocpp_meter_values (station_id, connector_id, transaction_id, session_id, received_at, sampled_at,
        context, energy_wh, power_w, current_a, voltage_v, soc_percent, temperature_c, flags, raw)
    SELECT station, connector, transaction, session, received, sampled, context, energy, power, current, voltage, soc,
           temperature, string_to_array(flags, ','), raw
      FROM json_to_recordset(%s::json)
        AS r (station text, connector int, transaction int, session text, received timestamptz, sampled timestamptz,
              context text, energy numeric, power numeric, current numeric, voltage numeric, soc numeric,
              temperature numeric, flags text, raw jsonb)
     WHERE EXISTS (SELECT FROM numbered)
       AND (session IS NULL OR NOT EXISTS (SELECT FROM aside a WHERE a.session = r.session))),
written AS (
UPDATE charging_sessions s
   SET meter_current = u.register, meter_candidate = u.candidate, energy_wh = u.energy, last_meter_at = u.since,
       last_meter_charger_at = u.charger, power_w = u.power, current_a = u.current, voltage_v = u.voltage,
       soc_percent = u.soc, temperature_c = u.temperature, energy_source = u.source, meter_memory = u.memory,
       amount = CASE WHEN s.settlement_revision = 0 OR s.state IN ('pending', 'charging', 'stopping')
                     THEN coalesce(u.cost, s.amount) ELSE s.amount END,
       auto_stop_at = CASE WHEN s.state = 'charging' THEN coalesce(u.auto_stop, s.auto_stop_at) ELSE s.auto_stop_at END,
       needs_review = s.needs_review OR u.review IS NOT NULL,
       review_reasons = CASE WHEN u.review IS NULL THEN s.review_reasons ELSE
           ARRAY(SELECT DISTINCT unnest(s.review_reasons || string_to_array(u.review, ',')) ORDER BY 1) END,
       updated_at = u.received
  FROM updates u
  JOIN free f ON f.id = u.session
  JOIN stations st ON st.id = u.station
 WHERE s.id = u.session AND st.connection_epoch = u.epoch AND EXISTS (SELECT FROM numbered)
   AND (s.state IN ('pending', 'charging', 'stopping')
        OR (SELECT t.status = 'stopped' AND t.stop_plausible IS NOT FALSE FROM ocpp_transactions t
             WHERE t.id = s.ocpp_transaction_id) IS NOT TRUE)
RETURNING s.id, s.state)
SELECT 'locked' AS what, session FROM aside
 UNION ALL
SELECT 'stale', u.session FROM updates u
 WHERE NOT EXISTS (SELECT FROM written w WHERE w.id = u.session AND w.state IN ('pending', 'charging', 'stopping'))
   AND NOT EXISTS (SELECT FROM aside a WHERE a.session = u.session)
 UNION ALL
SELECT 'repeated', NULL WHERE NOT EXISTS (SELECT FROM numbered)"""
_NUMBER = """
    INSERT INTO meter_flushes AS w (writer, flush, set_aside)
    VALUES (%s, %s, (SELECT array_agg(session) FROM aside))
    ON CONFLICT (writer) DO UPDATE SET flush = excluded.flush, set_aside = excluded.set_aside,
                                       flushed_at = excluded.flushed_at
     WHERE w.flush < excluded.flush
    RETURNING w.flush"""
_FLUSH = _STATEMENT.format(number=_NUMBER, locked="SKIP LOCKED").encode()
_FLUSH_IN_TRANSACTION = _STATEMENT.format(number="SELECT 1", locked="").encode()


async def flush_numbered(
    conn: Conn, number: FlushNumber, updates: Sequence[MeterUpdate]
) -> tuple[frozenset[str], frozenset[str]]:
    """Store every reading of the batch and bring the sessions' meters up to date, the newest update of each.

    Returns:
        Sessions that were left out because they are locked, and those that were not updated as live ones: ended, or
        their station has connected elsewhere.
    """
    newest = _newest(updates)
    cursor = await conn.execute(
        _FLUSH,
        (
            meter_rows.sessions(newest).decode(),
            number.writer,
            number.number,
            meter_rows.readings(updates).decode(),
        ),
    )
    rows = await cursor.fetchall()
    if not rows:
        return _NOBODY, _NOBODY
    locked = frozenset(row["session"] for row in rows if row["what"] == "locked")
    if not any(row["what"] == "repeated" for row in rows):
        return locked, frozenset(row["session"] for row in rows if row["what"] == "stale")
    # It was stored the first time. Asked anew: the statement above may not see what the first one committed meanwhile.
    cursor = await conn.execute(
        "SELECT set_aside FROM meter_flushes WHERE writer = %s AND flush = %s", (number.writer, number.number)
    )
    row = await cursor.fetchone()
    locked = frozenset(row["set_aside"] or ()) if row is not None else _NOBODY
    # Which of them had ended is not known any more; who is told so looks at his session again.
    return locked, frozenset(newest.keys() - locked)


async def flush(conn: Conn, updates: Sequence[MeterUpdate]) -> frozenset[str]:
    """:func:`flush_numbered` within a transaction, which is repeated as a whole or not at all: it waits for locks.

    Returns:
        Sessions that were not updated as live ones: ended, or their station has connected elsewhere.
    """
    parameters = (meter_rows.sessions(_newest(updates)).decode(), meter_rows.readings(updates).decode())
    cursor = await conn.execute(_FLUSH_IN_TRANSACTION, parameters)
    return frozenset([row["session"] for row in await cursor.fetchall()])


def _newest(updates: Sequence[MeterUpdate]) -> dict[str, MeterUpdate]:
    return {update.session_id: update for update in updates if update.session_id and update.meter}


async def context_row(conn: Conn, station_id: str, transaction_id: int) -> dict[str, Any] | None:
    """The session of a transaction with its connector's power (kW)."""
    cursor = await conn.execute(
        """SELECT s.*, c.power_kw AS connector_power_kw, coalesce(t.said_at, t.started_at) AS transaction_began_at,
                  p.sample_interval_s AS configured_interval_s, p.observed_interval_s,
                  p.meter_interval_s AS wanted_interval_s
             FROM ocpp_transactions t
             JOIN charging_sessions s ON s.id = t.session_id AND s.ocpp_transaction_id = t.id
             JOIN stations p ON p.id = s.station_id
             LEFT JOIN connectors c ON c.station_id = s.station_id AND c.connector_number = s.connector_id
            WHERE t.id = %s AND t.station_id = %s""",
        (transaction_id, station_id),
    )
    return await cursor.fetchone()


async def running_on(
    conn: Conn, station_id: str, connector_id: int, since: datetime, until: datetime
) -> tuple[int, bool] | None:
    """The one transaction with a live session on the connector, and whether readings of the last one and a half sample
    intervals name it.

    ``since`` bounds what is looked through; ``until`` is now.
    """
    cursor = await conn.execute(
        """SELECT t.id, EXISTS (
                      SELECT FROM ocpp_meter_values v
                       WHERE v.session_id = s.id AND v.transaction_id = t.id
                         AND v.received_at BETWEEN %(since)s AND %(until)s
                         AND v.received_at > %(until)s - 1.5 * s.sample_interval_s * interval '1 second'
                         AND NOT coalesce(v.flags @> %(own)s, false)) AS is_named
             FROM ocpp_transactions t
             JOIN charging_sessions s ON s.ocpp_transaction_id = t.id AND s.state IN ('charging', 'stopping')
            WHERE t.station_id = %(station)s AND t.connector_id = %(connector)s AND t.status = 'active'
            LIMIT 2""",
        {"station": station_id, "connector": connector_id, "since": since, "until": until, "own": [TRANSACTION_DATA]},
    )
    rows = await cursor.fetchall()
    return (int(rows[0]["id"]), bool(rows[0]["is_named"])) if len(rows) == 1 else None


async def read_since(
    conn: Conn, session_id: str, since: datetime, until: datetime, *, dated_after: datetime | None = None
) -> bool:
    """Whether readings of the session came after ``since``; ``dated_after``: only those that say they are later."""
    cursor = await conn.execute(
        """SELECT FROM ocpp_meter_values
            WHERE session_id = %(session)s AND received_at > %(since)s AND received_at <= %(until)s
              AND NOT coalesce(flags @> %(own)s, false)
              AND (%(dated)s::timestamptz IS NULL OR sampled_at IS NULL OR sampled_at > %(dated)s)
            LIMIT 1""",
        {"session": session_id, "since": since, "until": until, "dated": dated_after, "own": [TRANSACTION_DATA]},
    )
    return await cursor.fetchone() is not None


async def data_of_stop(conn: Conn, session_id: str, received_at: datetime) -> tuple[Reading, ...]:
    """The transactionData that came with the session's StopTransaction received at that moment, in the order sent."""
    cursor = await conn.execute(
        """SELECT sampled_at, energy_wh, power_w, current_a, voltage_v, soc_percent, temperature_c, context, flags
             FROM ocpp_meter_values
            WHERE session_id = %s AND received_at = %s AND flags @> %s ORDER BY id""",
        (session_id, received_at, [TRANSACTION_DATA]),
    )
    return tuple(
        [
            Reading(**{**row, "flags": tuple(flag for flag in row["flags"] if flag != TRANSACTION_DATA)})
            async for row in cursor
        ]
    )
