"""SQL of OCPP transactions."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from evpower.charging.models import StartTransaction, StopTransaction
from evpower.db import Conn

_COLUMNS = (
    "id, station_id, connector_id, id_tag, meter_start, coalesce(said_at, started_at) AS started_at, received_at, "
    "session_id, id_tag_status, status, meter_stop, stopped_at, stop_received_at, repetition, start_message_id, "
    "stop_named_id"
)
_CONTENT = """station_id = %(station)s AND connector_id = %(connector)s AND id_tag_folded = upper(%(tag)s)
    AND meter_start = %(start)s
    AND (repetition = 0 AND started_at = %(said)s OR repetition > 0 AND said_at = %(said)s)"""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A row of ``ocpp_transactions``; ``id`` is the OCPP transactionId, registers in Wh, ``started_at`` the charger's.

    ``repetition``: how many charges with the same content came before it (:mod:`evpower.charging.repeats`).
    ``stop_named_id``: its StopTransaction named this id; None: not known, or not stopped.
    """

    id: int
    station_id: str
    connector_id: int
    id_tag: str
    meter_start: Decimal
    started_at: datetime
    received_at: datetime
    session_id: str | None
    id_tag_status: str
    status: str
    meter_stop: Decimal | None
    stopped_at: datetime | None
    stop_received_at: datetime | None
    repetition: int = 0
    start_message_id: str | None = None
    stop_named_id: bool | None = None


async def insert(conn: Conn, message: StartTransaction) -> tuple[Transaction, bool]:
    """The newest transaction of this content, and whether this call made it.

    Use case: the station sends the same StartTransaction again, with a new message id, after a reboot or to another
    instance. The unique index lets one insert win; the others wait for it and find its row.
    """
    cursor = await conn.execute(
        f"""INSERT INTO ocpp_transactions (station_id, connector_id, id_tag, meter_start, started_at, received_at,
                   start_message_id)
            VALUES (%(station)s, %(connector)s, %(tag)s, %(start)s, %(said)s, %(received)s, %(message)s)
            ON CONFLICT DO NOTHING
            RETURNING {_COLUMNS}""",  # noqa: S608 - constant column list
        _content(message),
    )
    row = await cursor.fetchone()
    return (Transaction(**row), True) if row else (await _newest_of_content(conn, message), False)


async def insert_again(conn: Conn, message: StartTransaction, repetition: int) -> tuple[Transaction, bool]:
    """:func:`insert` for another charge with the content of an earlier one."""
    cursor = await conn.execute(
        f"""INSERT INTO ocpp_transactions (station_id, connector_id, id_tag, meter_start, started_at, received_at,
                   start_message_id, said_at, repetition)
            VALUES (%(station)s, %(connector)s, %(tag)s, %(start)s, %(received)s, %(received)s, %(message)s, %(said)s,
                   %(repetition)s)
            ON CONFLICT DO NOTHING
            RETURNING {_COLUMNS}""",  # noqa: S608 - constant column list
        {**_content(message), "repetition": repetition},
    )
    row = await cursor.fetchone()
    return (Transaction(**row), True) if row else (await _newest_of_content(conn, message), False)


async def _newest_of_content(conn: Conn, message: StartTransaction) -> Transaction:
    cursor = await conn.execute(
        f"""SELECT {_COLUMNS} FROM ocpp_transactions
             WHERE {_CONTENT}
             ORDER BY repetition DESC LIMIT 1""",  # noqa: S608 - constant parts
        _content(message),
    )
    row = await cursor.fetchone()
    assert row is not None
    return Transaction(**row)


def _content(message: StartTransaction) -> dict[str, object]:
    return {
        "station": message.station_id,
        "connector": message.connector_id,
        "tag": message.id_tag,
        "start": message.meter_start_wh,
        "said": message.started_at,
        "received": message.received_at,
        "message": message.message_id,
    }


async def same_stop_before(conn: Conn, transaction: Transaction, *, meter_stop: Decimal, stopped_at: datetime) -> bool:
    """Whether an earlier charge with the content of ``transaction`` was stopped with this very register and time."""
    cursor = await conn.execute(
        f"""SELECT FROM ocpp_transactions
             WHERE {_CONTENT}
               AND repetition < %(repetition)s AND meter_stop = %(stop)s AND stopped_at = %(stopped)s LIMIT 1""",
        {
            "station": transaction.station_id,
            "connector": transaction.connector_id,
            "tag": transaction.id_tag,
            "start": transaction.meter_start,
            "said": transaction.started_at,
            "repetition": transaction.repetition,
            "stop": meter_stop,
            "stopped": stopped_at,
        },
    )
    return await cursor.fetchone() is not None


async def link(conn: Conn, transaction_id: int, *, session_id: str | None, id_tag_status: str) -> None:
    await conn.execute(
        "UPDATE ocpp_transactions SET session_id = %s, id_tag_status = %s WHERE id = %s",
        (session_id, id_tag_status, transaction_id),
    )


async def get(conn: Conn, station_id: str, transaction_id: int) -> Transaction | None:
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM ocpp_transactions WHERE id = %s AND station_id = %s",  # noqa: S608 - constant column list
        (transaction_id, station_id),
    )
    row = await cursor.fetchone()
    return Transaction(**row) if row else None


async def lock(conn: Conn, transaction_id: int) -> Transaction:
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM ocpp_transactions WHERE id = %s FOR UPDATE",  # noqa: S608 - constant column list
        (transaction_id,),
    )
    row = await cursor.fetchone()
    assert row is not None
    return Transaction(**row)


async def active_with_tag(conn: Conn, station_id: str, id_tag: str) -> list[Transaction]:
    cursor = await conn.execute(
        f"""SELECT {_COLUMNS} FROM ocpp_transactions
             WHERE station_id = %s AND status = 'active' AND id_tag_folded = upper(%s) LIMIT 2""",  # noqa: S608 - constant column list
        (station_id, id_tag),
    )
    return [Transaction(**row) for row in await cursor.fetchall()]


async def stop(conn: Conn, transaction_id: int, message: StopTransaction, *, named_id: bool) -> None:
    """Close it; ``named_id``: the message named our id, so the charger knows it."""
    await conn.execute(
        """UPDATE ocpp_transactions
              SET status = 'stopped', meter_stop = %s, stopped_at = %s, stop_received_at = %s, stop_reason = %s,
                  stop_id_tag = %s, stop_named_id = %s
            WHERE id = %s""",
        (
            message.meter_stop_wh,
            message.stopped_at,
            message.received_at,
            message.reason,
            message.id_tag,
            named_id,
            transaction_id,
        ),
    )


async def flag_for_review(conn: Conn, transaction_id: int, reason: str) -> None:
    await conn.execute(
        "UPDATE ocpp_transactions SET needs_review = true, review_reason = %s WHERE id = %s", (reason, transaction_id)
    )
