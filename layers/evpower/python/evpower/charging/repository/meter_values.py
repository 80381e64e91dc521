"""SQL of meter readings: the batch flush of the socket tier, and the context of running transactions."""

from collections.abc import Sequence
from typing import Any

from evpower.charging.models import MeterUpdate
from evpower.db import Conn

# Statements take one array per column: their text and the number of parameters do not depend on the batch, so that
# PostgreSQL plans them once and psycopg adapts a handful of arrays instead of thousands of scalars.
_INSERT = """
INSERT INTO ocpp_meter_values (station_id, connector_id, transaction_id, session_id, received_at, sampled_at, context,
    energy_wh, power_w, current_a, voltage_v, soc_percent, temperature_c, flags, raw)
SELECT station, connector, transaction, session, received, sampled, context, energy, power, current, voltage, soc,
       temperature, string_to_array(flags, ','), raw
  FROM unnest(%s::text[], %s::int[], %s::int[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::text[],
       %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::text[],
       %s::jsonb[])
    AS u (station, connector, transaction, session, received, sampled, context, energy, power, current, voltage, soc,
          temperature, flags, raw)"""

# The epoch keeps a process that lost the station from overwriting the meter that its successor maintains.
_UPDATE = """
UPDATE charging_sessions s
   SET meter_current = u.register, meter_candidate = u.candidate, energy_wh = u.energy, last_meter_at = u.since,
       last_meter_charger_at = u.charger, power_w = u.power, current_a = u.current, voltage_v = u.voltage,
       soc_percent = u.soc, temperature_c = u.temperature,
       amount = CASE WHEN s.settlement_revision = 0 OR s.state IN ('pending', 'charging', 'stopping')
                     THEN coalesce(u.cost, s.amount) ELSE s.amount END,
       auto_stop_at = CASE WHEN s.state = 'charging' THEN u.auto_stop ELSE s.auto_stop_at END,
       needs_review = s.needs_review OR u.review <> '',
       review_reasons = CASE WHEN u.review = '' THEN s.review_reasons ELSE
           ARRAY(SELECT DISTINCT unnest(s.review_reasons || string_to_array(u.review, ',')) ORDER BY 1) END,
       updated_at = u.received
  FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[], %s::timestamptz[],
       %s::timestamptz[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[],
       %s::timestamptz[], %s::text[], %s::timestamptz[])
    AS u (session, station, epoch, register, candidate, energy, since, charger, power, current, voltage, soc,
          temperature, cost, auto_stop, review, received)
  JOIN stations st ON st.id = u.station
 WHERE s.id = u.session AND st.connection_epoch = u.epoch
RETURNING s.id, s.state"""


async def insert_readings(conn: Conn, updates: Sequence[MeterUpdate]) -> None:
    """Store every reading of the batch."""
    rows = [
        (
            update.station_id,
            update.connector_id,
            update.transaction_id,
            update.session_id,
            update.received_at,
            reading.sampled_at,
            reading.context,
            reading.energy_wh,
            reading.power_w,
            reading.current_a,
            reading.voltage_v,
            reading.soc_percent,
            reading.temperature_c,
            ",".join(reading.flags) if reading.flags else None,
            reading.raw,
        )
        for update in updates
        for reading in update.readings
    ]
    if rows:
        await conn.execute(_INSERT, [list(column) for column in zip(*rows, strict=True)])


async def update_sessions(conn: Conn, updates: Sequence[MeterUpdate]) -> dict[str, str]:
    """Bring the sessions' meters up to date, the newest update of each; session id -> state of those written."""
    newest = {update.session_id: update for update in updates if update.session_id and update.meter}
    if not newest:
        return {}
    rows = []
    for session_id in sorted(newest):
        update = newest[session_id]
        meter = update.meter
        assert meter is not None
        rows.append(
            (
                session_id,
                update.station_id,
                update.epoch,
                meter.register_wh,
                meter.candidate_wh,
                meter.energy_wh,
                meter.since,
                meter.since_charger,
                meter.power_w,
                meter.current_a,
                meter.voltage_v,
                meter.soc_percent,
                meter.temperature_c,
                update.cost,
                update.auto_stop_at,
                ",".join(update.review),
                update.received_at,
            )
        )
    cursor = await conn.execute(_UPDATE, [list(column) for column in zip(*rows, strict=True)])
    return {row["id"]: row["state"] for row in await cursor.fetchall()}


async def context_row(conn: Conn, station_id: str, transaction_id: int) -> dict[str, Any] | None:
    """The session of a transaction with its connector's power (kW)."""
    cursor = await conn.execute(
        """SELECT s.*, c.power_kw AS connector_power_kw, t.id AS transaction_row, t.status AS transaction_status
             FROM ocpp_transactions t
             JOIN charging_sessions s ON s.id = t.session_id AND s.ocpp_transaction_id = t.id
             LEFT JOIN connectors c ON c.station_id = s.station_id AND c.connector_number = s.connector_id
            WHERE t.id = %s AND t.station_id = %s""",
        (transaction_id, station_id),
    )
    return await cursor.fetchone()
