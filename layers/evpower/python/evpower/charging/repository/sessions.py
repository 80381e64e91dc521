"""SQL of ``charging_sessions`` and ``settlements``."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from evpower.charging.models import LimitType, MeterMemory, MeterState, Session, SessionState
from evpower.charging.settlement import Settlement
from evpower.db import Conn
from evpower.pricing.models import Price

_FIELDS = tuple(Session.__dataclass_fields__)
_COLUMNS = ", ".join(_FIELDS)
_LIVE = "state IN ('pending', 'charging', 'stopping')"


def session_of(row: Mapping[str, Any]) -> Session:
    values = {name: row[name] for name in _FIELDS}
    values["state"] = SessionState(values["state"])
    values["limit_type"] = LimitType(values["limit_type"])
    values["price"] = Price.from_json(values["price"])
    memory = values["meter_memory"]
    values["meter_memory"] = None if memory is None else msgspec.convert(memory, MeterMemory)
    return Session(**values)


async def _one(conn: Conn, condition: str, parameters: tuple[Any, ...], *, lock: bool = False) -> Session | None:
    query = f"SELECT {_COLUMNS} FROM charging_sessions WHERE {condition}{' FOR UPDATE' if lock else ''}"  # noqa: S608 - constant parts
    row = await (await conn.execute(query, parameters)).fetchone()
    return session_of(row) if row else None


async def get(conn: Conn, session_id: str) -> Session | None:
    return await _one(conn, "id = %s", (session_id,))


async def lock(conn: Conn, session_id: str) -> Session | None:
    return await _one(conn, "id = %s", (session_id,), lock=True)


async def live_of_client(conn: Conn, client_id: str) -> Session | None:
    return await _one(conn, f"user_id = %s AND {_LIVE}", (client_id,))


async def live_on_connector(conn: Conn, station_id: str, connector_id: int) -> Session | None:
    return await _one(conn, f"station_id = %s AND connector_id = %s AND {_LIVE}", (station_id, connector_id))


async def latest_by_tag(conn: Conn, station_id: str, id_tag: str) -> Session | None:
    """The newest app session that was given this tag; tags are case-insensitive (OCPP 1.6 §7.15)."""
    return await _one(
        conn,
        "station_id = %s AND id_tag_folded = upper(%s) AND start_source = 'app' ORDER BY created_at DESC LIMIT 1",
        (station_id, id_tag),
    )


async def live_of_cards(conn: Conn, station_id: str, id_tag: str, parent_id_tag: str | None) -> list[Session]:
    """What runs at the station by this RFID card or by one with the same parent (OCPP 1.6 parentIdTag)."""
    cursor = await conn.execute(
        f"""SELECT {_COLUMNS} FROM charging_sessions s
             WHERE station_id = %(station)s AND {_LIVE} AND start_source = 'rfid'
               AND (id_tag_folded = upper(%(tag)s)
                    OR EXISTS (SELECT FROM id_tags t WHERE t.id_tag_folded = s.id_tag_folded
                                AND t.parent_id_tag_folded = upper(%(parent)s)))""",  # noqa: S608 - constant parts
        {"station": station_id, "tag": id_tag, "parent": parent_id_tag},
    )
    return [session_of(row) for row in await cursor.fetchall()]


async def insert(
    conn: Conn,
    *,
    session_id: str,
    client_id: str,
    station_id: str,
    connector_id: int,
    id_tag: str,
    start_source: str,
    limit_type: LimitType,
    limit_value: Decimal,
    price: Price,
    pricing_history_id: int,
    sample_interval_s: int,
    correlation_id: str | None,
    now: datetime,
    state: SessionState = SessionState.PENDING,
) -> None:
    await conn.execute(
        """
        INSERT INTO charging_sessions (id, user_id, station_id, connector_id, id_tag, start_source, state, limit_type,
            limit_value, price, pricing_history_id, promo_code, sample_interval_s, correlation_id, created_at,
            start_time, updated_at)
        VALUES (%(id)s, %(client_id)s, %(station_id)s, %(connector_id)s, %(id_tag)s, %(start_source)s, %(state)s,
            %(limit_type)s, %(limit_value)s, %(price)s, %(history)s, %(promo)s, %(interval)s, %(correlation)s,
            %(now)s, %(now)s, %(now)s)""",
        {
            "id": session_id,
            "client_id": client_id,
            "station_id": station_id,
            "connector_id": connector_id,
            "id_tag": id_tag,
            "start_source": start_source,
            "state": state.value,
            "limit_type": limit_type.value,
            "limit_value": limit_value,
            "price": Jsonb(price.to_json()),
            "history": pricing_history_id,
            "promo": price.promo.code if price.promo else None,
            "interval": sample_interval_s,
            "correlation": correlation_id,
            "now": now,
        },
    )


async def set_sample_interval(conn: Conn, station_id: str, interval_s: int, overdue_after: int) -> None:
    """Count with another interval in the running charges of a station; their overdue moments move with it."""
    await conn.execute(
        """UPDATE charging_sessions
              SET auto_stop_at = auto_stop_at
                               + make_interval(secs => %(after)s * (%(interval)s - sample_interval_s)),
                  sample_interval_s = %(interval)s
            WHERE id IN (SELECT id FROM charging_sessions
                          WHERE station_id = %(station)s AND state IN ('charging', 'stopping')
                            AND sample_interval_s <> %(interval)s
                          ORDER BY id FOR UPDATE)""",
        {"station": station_id, "interval": interval_s, "after": overdue_after},
    )


async def set_overdue_at(conn: Conn, session_id: str, at: datetime) -> None:
    """The moment from which a reading is overdue."""
    await conn.execute("UPDATE charging_sessions SET auto_stop_at = %s WHERE id = %s", (at, session_id))


async def add_reserve(conn: Conn, session_id: str, amount: Decimal, now: datetime) -> None:
    """Count one more reserve that was booked for the session."""
    await conn.execute(
        """UPDATE charging_sessions
              SET reserved_amount = taken_amount + %(amount)s, taken_amount = taken_amount + %(amount)s,
                  reserve_count = reserve_count + 1, updated_at = %(now)s
            WHERE id = %(id)s""",
        {"id": session_id, "amount": amount, "now": now},
    )


async def begin_transaction(
    conn: Conn,
    session_id: str,
    *,
    transaction_id: int,
    connector_id: int,
    meter: MeterState,
    register_factor: int,
    began_at: datetime,
    auto_stop_at: datetime | None,
    state: SessionState | None,
    now: datetime,
) -> None:
    """Bind the OCPP transaction; ``state`` None leaves a closed session closed (its energy is reconciled later)."""
    await conn.execute(
        """UPDATE charging_sessions
              SET ocpp_transaction_id = %(transaction)s, connector_id = %(connector)s, meter_start = %(start)s,
                  meter_current = %(register)s, meter_candidate = NULL, energy_wh = 0, charging_started_at = %(began)s,
                  start_time = %(began)s, last_meter_at = %(since)s, last_meter_charger_at = %(charger)s,
                  energy_source = NULL, meter_memory = NULL, register_factor = %(factor)s,
                  auto_stop_at = %(auto_stop)s, state = coalesce(%(state)s, state),
                  stop_time = CASE WHEN %(state)s::text IS NULL THEN stop_time END,
                  stop_reason = CASE WHEN %(state)s::text IS NULL THEN stop_reason END,
                  stop_initiator = CASE WHEN %(state)s::text IS NULL THEN stop_initiator END,
                  error_code = CASE WHEN %(state)s::text IS NULL THEN error_code END,
                  -- a refunded session that goes on after all has no final figures any more
                  final_amount = CASE WHEN %(state)s::text IS NULL THEN final_amount END,
                  refund_amount = CASE WHEN %(state)s::text IS NULL THEN refund_amount ELSE 0 END,
                  updated_at = %(now)s
            WHERE id = %(id)s""",
        {
            "id": session_id,
            "transaction": transaction_id,
            "connector": connector_id,
            "start": meter.meter_start_wh,
            "register": meter.register_wh,
            "factor": register_factor,
            "began": began_at,
            "since": meter.since,
            "charger": meter.since_charger,
            "auto_stop": auto_stop_at,
            "state": state.value if state else None,
            "now": now,
        },
    )


async def request_stop(
    conn: Conn, session_id: str, *, reason: str, initiator: str, limit_reached: bool, now: datetime
) -> None:
    await conn.execute(
        """UPDATE charging_sessions
              SET state = 'stopping', stop_requested_at = coalesce(stop_requested_at, %(now)s),
                  stop_reason = coalesce(stop_reason, %(reason)s),
                  stop_initiator = coalesce(stop_initiator, %(initiator)s),
                  limit_reached = limit_reached OR %(limit)s, auto_stop_at = NULL, updated_at = %(now)s
            WHERE id = %(id)s""",
        {"id": session_id, "reason": reason, "initiator": initiator, "limit": limit_reached, "now": now},
    )


async def set_meter(conn: Conn, session_id: str, meter: MeterState, now: datetime) -> None:
    await conn.execute(
        """UPDATE charging_sessions
              SET meter_current = %s, meter_candidate = %s, energy_wh = %s, last_meter_at = %s,
                  last_meter_charger_at = %s, power_w = %s, current_a = %s, voltage_v = %s, soc_percent = %s,
                  temperature_c = %s, energy_source = %s, meter_memory = %s, updated_at = %s
            WHERE id = %s""",
        (
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
            meter.source,
            None if meter.memory is None else Jsonb(msgspec.to_builtins(meter.memory)),
            now,
            session_id,
        ),
    )


async def flag_for_review(conn: Conn, session_id: str, reasons: list[str], now: datetime) -> None:
    await conn.execute(
        """UPDATE charging_sessions
              SET needs_review = true, updated_at = %(now)s,
                  review_reasons = ARRAY(SELECT DISTINCT unnest(review_reasons || %(reasons)s::text[]) ORDER BY 1)
            WHERE id = %(id)s""",
        {"id": session_id, "reasons": reasons, "now": now},
    )


async def flag_once(conn: Conn, session_id: str, reasons: list[str], now: datetime) -> None:
    """:func:`flag_for_review`, unless the session has been flagged for these reasons before.

    Use case: a charger names an ended charge for hours. Staff who have closed its review are not asked again.
    """
    await conn.execute(
        """UPDATE charging_sessions
              SET needs_review = true, updated_at = %(now)s,
                  review_reasons = ARRAY(SELECT DISTINCT unnest(review_reasons || %(reasons)s::text[]) ORDER BY 1)
            WHERE id = %(id)s AND NOT review_reasons @> %(reasons)s::text[]""",
        {"id": session_id, "reasons": reasons, "now": now},
    )


async def close(
    conn: Conn,
    session: Session,
    outcome: Settlement,
    *,
    state: SessionState,
    revision: int,
    base: Decimal,
    reason: str,
    initiator: str,
    stopped_at: datetime,
    by_transaction: bool,
    now: datetime,
) -> None:
    """Write the bill of one settlement. The first reason of the end stays; figures follow the newest revision.

    The first time of the end stays as well, until the StopTransaction itself (``by_transaction``) tells it.
    """
    await conn.execute(
        """UPDATE charging_sessions
              SET state = %(state)s, taken_amount = %(taken)s, final_amount = %(taken)s, amount = %(taken)s,
                  base_amount = %(base)s, discount_amount = %(base)s - %(due)s,
                  refund_amount = greatest(reserved_amount - %(taken)s, 0), written_off_amount = %(written_off)s,
                  settlement_revision = %(revision)s, settled_energy_wh = energy_wh,
                  stop_time = CASE WHEN settlement_revision = 0 OR stop_time IS NULL OR %(by_transaction)s
                                   THEN %(stopped)s ELSE stop_time END,
                  stop_reason = coalesce(stop_reason, %(reason)s),
                  stop_initiator = coalesce(stop_initiator, %(initiator)s),
                  error_code = CASE WHEN %(state)s = 'error' THEN coalesce(stop_reason, %(reason)s) END,
                  auto_stop_at = NULL, power_w = 0, current_a = 0, updated_at = %(now)s
            WHERE id = %(id)s""",
        {
            "id": session.id,
            "state": state.value,
            "taken": outcome.taken,
            "due": outcome.due,
            "base": base,
            "written_off": outcome.written_off,
            "revision": revision,
            "stopped": stopped_at,
            "by_transaction": by_transaction,
            "reason": reason,
            "initiator": initiator,
            "now": now,
        },
    )


async def mark_energy_settled(conn: Conn, session_id: str) -> None:
    """The bill of a settled session already covers its present energy."""
    await conn.execute("UPDATE charging_sessions SET settled_energy_wh = energy_wh WHERE id = %s", (session_id,))


async def forget_unsettled_energy(conn: Conn, session_id: str) -> None:
    """Energy that was counted since the last settlement is not the session's."""
    await conn.execute("UPDATE charging_sessions SET energy_wh = settled_energy_wh WHERE id = %s", (session_id,))


async def insert_settlement(
    conn: Conn,
    session: Session,
    outcome: Settlement,
    *,
    revision: int,
    source: str,
    energy_wh: Decimal,
    minutes: Decimal,
    now: datetime,
) -> None:
    await conn.execute(
        """INSERT INTO settlements (session_id, revision, source, energy_wh, minutes, due_amount, taken_before,
               taken_after, written_off, created_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            session.id,
            revision,
            source,
            energy_wh,
            minutes,
            outcome.due,
            session.taken_amount,
            outcome.taken,
            outcome.written_off,
            now,
        ),
    )


async def settled_minutes(conn: Conn, session_id: str) -> Decimal:
    """The minutes of the newest settlement."""
    cursor = await conn.execute(
        "SELECT minutes FROM settlements WHERE session_id = %s ORDER BY revision DESC LIMIT 1", (session_id,)
    )
    row = await cursor.fetchone()
    return row["minutes"] if row else Decimal(0)


async def insert_write_off(
    conn: Conn, session: Session, amount: Decimal, *, revision: int, reason: str, now: datetime
) -> None:
    await conn.execute(
        """INSERT INTO write_offs (client_id, session_id, revision, amount, reason, created_at)
           VALUES (%s, %s, %s, %s, %s, %s)""",
        (session.user_id, session.id, revision, amount, reason, now),
    )


async def history(conn: Conn, client_id: str, limit: int, offset: int) -> tuple[list[dict[str, Any]], int]:
    """Sessions of a client, newest first, with the names of station and location; and how many there are."""
    cursor = await conn.execute(
        """SELECT c.id, c.station_id, c.connector_id, c.status, c.energy, c.amount, c.start_time, c.stop_time,
                  c.limit_type, c.limit_value, c.created_at, s.model, l.name AS location_name,
                  l.address AS location_address
             FROM charging_sessions c
             JOIN stations s ON s.id = c.station_id
             LEFT JOIN locations l ON l.id = s.location_id
            WHERE c.user_id = %s ORDER BY c.created_at DESC, c.id LIMIT %s OFFSET %s""",
        (client_id, limit, offset),
    )
    rows = await cursor.fetchall()
    counted = await (
        await conn.execute("SELECT count(*) AS total FROM charging_sessions WHERE user_id = %s", (client_id,))
    ).fetchone()
    assert counted is not None
    return rows, int(counted["total"])
