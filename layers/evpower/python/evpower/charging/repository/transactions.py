"""SQL of OCPP transactions."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from evpower.charging.belonging import Begin
from evpower.charging.models import StartTransaction, StopTransaction
from evpower.db import Conn

_COLUMNS = (
    "id, station_id, connector_id, id_tag, meter_start, coalesce(said_at, started_at) AS started_at, received_at, "
    "session_id, id_tag_status, status, meter_stop, stopped_at, stop_received_at, repetition, start_message_id, "
    "stop_named_id, start_as_sent, stop_as_sent, ended_by, stop_plausible, guess_state, guessed_message_id, "
    "guessed_meter_stop, guessed_stopped_at, guessed_received_at, guessed_reason"
)
_CONTENT = """station_id = %(station)s AND connector_id = %(connector)s AND id_tag_folded = upper(%(tag)s)
    AND meter_start = %(start)s
    AND (repetition = 0 AND started_at = %(said)s OR repetition > 0 AND said_at = %(said)s)"""
_AS_SENT = "station_id = %(station)s AND start_as_sent = %(as_sent)s"


@dataclass(frozen=True, slots=True)
class Transaction:
    """A row of ``ocpp_transactions``; ``id`` is the OCPP transactionId, registers in Wh, ``started_at`` the charger's.

    ``repetition``: how many charges with the same content came before it (:mod:`evpower.charging.repeats`).
    ``status``: active; stopped, by its StopTransaction; ended_without_stop, when its session was settled without one.
    ``stop_named_id``: its StopTransaction named this id; None: not known, or not stopped. ``meter_stop`` and
    ``stopped_at`` are None also where its StopTransaction could not be read so far. ``start_as_sent`` and
    ``stop_as_sent``: fingerprints of messages with members that could not be read.
    ``stop_plausible``: its meterStop can be its end; None: not judged.
    ``guess_state`` and what follows: a StopTransaction that may be its end by its card alone
    (:mod:`evpower.charging.service.stops_by_card`).
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
    start_as_sent: str | None = None
    stop_as_sent: str | None = None
    ended_by: str | None = None
    stop_plausible: bool | None = None
    guess_state: str | None = None
    guessed_message_id: int | None = None
    guessed_meter_stop: Decimal | None = None
    guessed_stopped_at: datetime | None = None
    guessed_received_at: datetime | None = None
    guessed_reason: str | None = None

    @property
    def begin(self) -> Begin:
        return Begin(self.started_at, self.received_at, self.meter_start)


async def insert(conn: Conn, message: StartTransaction) -> tuple[Transaction, bool]:
    """The newest transaction of this content, and whether this call made it.

    Use case: the station sends the same StartTransaction again, with a new message id, after a reboot or to another
    instance. The unique index lets one insert win; the others wait for it and find its row.
    """
    if message.as_sent is not None and (known := await _newest_as_sent(conn, message)) is not None:
        return known, False
    return await _insert(conn, message, {"started": message.started_at, "said": None, "repetition": 0})


async def insert_again(conn: Conn, message: StartTransaction, repetition: int) -> tuple[Transaction, bool]:
    """:func:`insert` for another charge with the content of an earlier one."""
    said = None if message.as_sent is not None and "timestamp" in message.unreadable else message.started_at
    return await _insert(conn, message, {"started": message.received_at, "said": said, "repetition": repetition})


async def _insert(conn: Conn, message: StartTransaction, times: dict[str, object]) -> tuple[Transaction, bool]:
    cursor = await conn.execute(
        f"""INSERT INTO ocpp_transactions (station_id, connector_id, id_tag, meter_start, started_at, received_at,
                   start_message_id, said_at, repetition, start_as_sent)
            VALUES (%(station)s, %(connector)s, %(tag)s, %(start)s, %(started)s, %(received)s, %(message)s, %(said)s,
                   %(repetition)s, %(as_sent)s)
            ON CONFLICT DO NOTHING
            RETURNING {_COLUMNS}""",  # noqa: S608 - constant column list
        {**_content(message), **times},
    )
    row = await cursor.fetchone()
    if row:
        return Transaction(**row), True
    known = await _newest_as_sent(conn, message) if message.as_sent is not None else None
    return known or await _newest_of_content(conn, message), False


async def _newest_as_sent(conn: Conn, message: StartTransaction) -> Transaction | None:
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM ocpp_transactions WHERE {_AS_SENT} ORDER BY repetition DESC LIMIT 1",  # noqa: S608 - constant parts
        _content(message),
    )
    row = await cursor.fetchone()
    return Transaction(**row) if row else None


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
        "as_sent": message.as_sent,
    }


async def same_stop_before(
    conn: Conn, transaction: Transaction, *, meter_stop: Decimal, stopped_at: datetime | None
) -> bool:
    """Whether an earlier charge with the content of ``transaction`` was stopped with this very register and time."""
    cursor = await conn.execute(
        f"""SELECT FROM ocpp_transactions
             WHERE ({_CONTENT} OR {_AS_SENT})
               AND repetition < %(repetition)s AND meter_stop = %(stop)s
               AND stopped_at IS NOT DISTINCT FROM %(stopped)s LIMIT 1""",  # noqa: S608 - constant parts
        {
            "station": transaction.station_id,
            "connector": transaction.connector_id,
            "tag": transaction.id_tag,
            "start": transaction.meter_start,
            "said": transaction.started_at,
            "as_sent": transaction.start_as_sent,
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


async def without_stop(conn: Conn, station_id: str, id_tag: str, limit: int) -> list[Transaction]:
    """The newest transactions with this tag whose StopTransaction has not come."""
    cursor = await conn.execute(
        f"""SELECT {_COLUMNS} FROM ocpp_transactions
             WHERE station_id = %s AND status <> 'stopped' AND id_tag_folded = upper(%s)
             ORDER BY id DESC LIMIT %s""",  # noqa: S608 - constant column list
        (station_id, id_tag, limit),
    )
    return [Transaction(**row) for row in await cursor.fetchall()]


async def last_register(conn: Conn, station_id: str, connector_id: int) -> Decimal | None:
    """The last register (Wh) known of a connector's meter, from its newest transaction."""
    cursor = await conn.execute(
        """SELECT coalesce(t.meter_stop, s.meter_current, t.meter_start) AS register
             FROM ocpp_transactions t
             LEFT JOIN charging_sessions s ON s.id = t.session_id AND s.ocpp_transaction_id = t.id
            WHERE t.station_id = %s AND t.connector_id = %s
            ORDER BY t.received_at DESC, t.id DESC LIMIT 1""",
        (station_id, connector_id),
    )
    row = await cursor.fetchone()
    return row["register"] if row else None


async def had_active(conn: Conn, station_id: str, moment: datetime, limit: int) -> list[Transaction]:
    """Transactions of the station that ran at ``moment`` (our clock), as far as is known."""
    cursor = await conn.execute(
        f"""SELECT {_COLUMNS} FROM ocpp_transactions
             WHERE station_id = %s AND received_at <= %s
               AND (status = 'active' OR stop_received_at > %s OR (stop_received_at IS NULL AND ended_at >= %s))
             ORDER BY id DESC LIMIT %s""",  # noqa: S608 - constant column list
        (station_id, moment, moment, moment, limit),
    )
    return [Transaction(**row) for row in await cursor.fetchall()]


async def next_begin(conn: Conn, transaction: Transaction) -> Begin | None:
    """The begin of the charge that came next on the connector. One that was refused may have left this one running."""
    cursor = await conn.execute(
        """SELECT coalesce(said_at, started_at) AS at, received_at, meter_start AS register_wh FROM ocpp_transactions
            WHERE station_id = %s AND connector_id = %s AND id > %s AND id_tag_status = 'Accepted'
              AND coalesce(said_at, started_at) >= %s
            ORDER BY id LIMIT 1""",
        (transaction.station_id, transaction.connector_id, transaction.id, transaction.started_at),
    )
    row = await cursor.fetchone()
    return Begin(**row) if row else None


async def stop(
    conn: Conn,
    transaction_id: int,
    message: StopTransaction,
    *,
    named_id: bool,
    as_sent: str | None = None,
    is_plausible: bool | None = None,
) -> None:
    """Close it; ``named_id``: the message named our id, so the charger knows it; ``is_plausible``: its meterStop."""
    await conn.execute(
        """UPDATE ocpp_transactions
              SET status = 'stopped', meter_stop = %s, stopped_at = %s, stop_received_at = %s, stop_reason = %s,
                  stop_id_tag = %s, stop_named_id = %s, stop_as_sent = %s, stop_plausible = %s
            WHERE id = %s""",
        (
            message.meter_stop_wh,
            message.stopped_at,
            message.received_at,
            message.reason,
            message.id_tag,
            named_id,
            as_sent,
            is_plausible,
            transaction_id,
        ),
    )


async def end_without_stop(conn: Conn, transaction_id: int, ended_by: str, now: datetime) -> None:
    """Its session is settled, and its StopTransaction has not come. Changes nothing where it has."""
    await conn.execute(
        """UPDATE ocpp_transactions SET status = 'ended_without_stop', ended_by = %s, ended_at = %s
            WHERE id = %s AND status = 'active'""",
        (ended_by, now, transaction_id),
    )


async def guess(conn: Conn, transaction_id: int, message: StopTransaction, message_id: int) -> None:
    """Let a stop that names only the card wait for what follows; ``message_id`` in quarantined_messages."""
    await conn.execute(
        """UPDATE ocpp_transactions
              SET guess_state = 'waiting', guessed_message_id = %s, guessed_meter_stop = %s, guessed_stopped_at = %s,
                  guessed_received_at = %s, guessed_reason = %s
            WHERE id = %s""",
        (
            message_id,
            message.meter_stop_wh,
            message.stopped_at,
            message.received_at,
            message.reason,
            transaction_id,
        ),
    )


async def decide_guess(conn: Conn, transaction_id: int, state: str) -> None:
    """``state``: used, refuted, superseded or withdrawn."""
    await conn.execute("UPDATE ocpp_transactions SET guess_state = %s WHERE id = %s", (state, transaction_id))


async def flag_for_review(conn: Conn, transaction_id: int, reason: str) -> None:
    await conn.execute(
        "UPDATE ocpp_transactions SET needs_review = true, review_reason = %s WHERE id = %s", (reason, transaction_id)
    )
