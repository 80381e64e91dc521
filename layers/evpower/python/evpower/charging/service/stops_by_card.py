"""A StopTransaction that names no transaction of ours, but a card: whose end it may be (docs/decisions/0014).

It is a guess. The charge goes on, its limit is watched, and the message waits among those put aside until no reading
has come for three sample intervals (:mod:`evpower.charging.service.waiting_stops`). The charger's own stop, by the
right id, always counts more.
"""

from dataclasses import replace
from datetime import datetime

from evpower.charging import belonging
from evpower.charging.models import StopTransaction
from evpower.charging.repository import meter_values, transactions
from evpower.charging.repository.sessions import session_of
from evpower.charging.repository.transactions import Transaction
from evpower.charging.service.common import max_power_w
from evpower.db import Conn

_LOOKED_AT = 20  # transactions of a card whose stop has not come
_DECIDED = ("used", "superseded")


async def find(conn: Conn, message: StopTransaction) -> Transaction | None:
    """The one transaction whose end the message can be: one that runs, else one that was settled without its stop.

    Use case: the charger stops before it saw the answer to its StartTransaction, so it has no id to name.
    """
    if not message.id_tag or message.meter_stop_wh is None or message.stopped_at is None:
        return None
    found = await transactions.without_stop(conn, message.station_id, message.id_tag, _LOOKED_AT)
    for status in ("active", "ended_without_stop"):
        possible = [
            transaction
            for transaction in found
            if transaction.status == status and await _may_end(conn, transaction, message)
        ]
        if possible:
            return possible[0] if len(possible) == 1 else None
    return None


async def stands(conn: Conn, transaction: Transaction, now: datetime) -> bool:
    """Whether a stop waits for this transaction that no later reading refutes."""
    if transaction.guess_state != "waiting" or transaction.session_id is None:
        return False
    assert transaction.guessed_received_at is not None
    return not await meter_values.read_since(
        conn,
        transaction.session_id,
        transaction.guessed_received_at,
        now,
        dated_after=transaction.guessed_stopped_at,
    )


async def _may_end(conn: Conn, transaction: Transaction, message: StopTransaction) -> bool:
    if transaction.guess_state in _DECIDED or await stands(conn, transaction, message.received_at):
        return False  # another stop is taken for its end
    row = await meter_values.context_row(conn, transaction.station_id, transaction.id)
    session = session_of(row) if row is not None else None
    began_at = session.charging_started_at if session is not None else None
    factor = session.register_factor if session is not None else 1
    assert message.meter_stop_wh is not None
    possible = belonging.stop_by_card_is_possible(
        replace(transaction.begin, register_wh=transaction.begin.register_wh * factor),
        began_at or transaction.received_at,
        session.meter() if session is not None else None,
        replace(message, meter_stop_wh=message.meter_stop_wh * factor),
        max_power_w(row["connector_power_kw"] if row is not None else None),
    )
    if not possible or transaction.status == "active":
        return possible
    return belonging.own_stop_is_possible(message, await transactions.next_begin(conn, transaction))
