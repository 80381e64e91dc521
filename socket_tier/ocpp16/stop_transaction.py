"""StopTransaction: never refused (OCPP 1.6 section 4.10, ocpp.md §3).

The charger forgets a transaction once this is answered, so whatever arrives is stored: as the end of its transaction
where that can be told, whatever else cannot be read, else in quarantine for the operator. Repeats settle nothing twice.
"""

from collections.abc import Iterable
from typing import Any

from evpower.charging import members
from evpower.charging import service as charging
from evpower.charging.models import Reading, StopTransaction, TransactionStopped
from evpower.charging.service import ConnectionLost, TagVerdict
from evpower.db import Conn
from evpower.logging import get_logger
from socket_tier import normalise
from socket_tier.charger import Charger
from socket_tier.dialect import Payload
from socket_tier.ocpp16 import entries
from socket_tier.ocpp16.authorize import tag_info
from socket_tier.ocpp16.schema import SCHEMAS
from socket_tier.schemas import Lost
from socket_tier.unavailable import is_unavailable

log = get_logger(__name__)

_ACTION = "StopTransaction"
_TEXT = "message"
"""Stands among the unreadable members for a text of which not all could be read."""


async def handle(charger: Charger, payload: Payload) -> Payload:
    return await _stop(charger, payload, charger.inbound.lost)


async def keep(charger: Charger, raw: Any, reason: str) -> Payload:
    """Take a StopTransaction that cannot be handled, or that comes from a station that is not accepted (any more).

    Use case: an operator takes back the registration of a station while it charges. The transaction began when it was
    accepted, and ends with this.
    """
    if isinstance(raw, dict):
        try:
            answer = await _end_named(charger, raw)
        except Exception as error:
            if is_unavailable(error) or isinstance(error, ConnectionLost):
                raise
            log.exception("StopTransaction put aside", extra={"station_id": charger.station_id})
        else:
            if answer is not None:
                log.warning("StopTransaction read", extra={"station_id": charger.station_id, "why": reason[:200]})
                return answer
    now = charger.services.clock.now()
    payload = normalise.clean(raw)

    async def work(conn: Conn) -> None:
        await charging.quarantine_stop(conn, charger.station_id, payload, reason[:500], now)

    await charger.services.database.run(work)
    log.warning("StopTransaction put aside", extra={"station_id": charger.station_id, "why": reason[:200]})
    return {}


async def _end_named(charger: Charger, raw: Payload) -> Payload | None:
    """Handle what names a transaction of this station; None for all else, which is kept as it came."""
    checked = SCHEMAS.check_request(_ACTION, raw)
    payload, lost = checked.payload, checked.lost
    if checked.fault is not None:  # only lists have so many faults
        payload = {name: value for name, value in raw.items() if name != "transactionData"}
        checked = SCHEMAS.check_request(_ACTION, payload)
        payload, lost = checked.payload, (*checked.lost, Lost(("transactionData",), None))
    transaction_id = members.identifier(payload.get("transactionId"))
    if checked.fault is not None or transaction_id is None or transaction_id <= 0:
        return None

    async def work(conn: Conn) -> bool:
        return await charging.has_transaction(conn, charger.station_id, transaction_id)

    if not await charger.services.database.run(work):
        return None
    return await _stop(charger, payload, lost)


async def _stop(charger: Charger, payload: Payload, lost: Iterable[Lost]) -> Payload:
    message = _message(charger, payload, tuple(lost))

    async def work(conn: Conn) -> tuple[TransactionStopped, TagVerdict | None]:
        stopped = await charging.stop_transaction(conn, message)
        return stopped, await charging.stop_verdict(conn, message)

    stopped, verdict = await charger.services.database.run(work)
    charger.transactions.pop(message.transaction_id, None)
    charger.unnamed.clear()
    if stopped.quarantined:
        log.warning("StopTransaction put aside", extra={"station_id": charger.station_id, "content": message.raw})
    charger.tell_changed()
    return {} if verdict is None else {"idTagInfo": tag_info(verdict)}


def _message(charger: Charger, payload: Payload, lost: tuple[Lost, ...]) -> StopTransaction:
    """The message member by member; what cannot be read is None and named in ``unreadable``."""
    sent = charger.inbound.payload
    transaction_id = members.identifier(payload.get("transactionId"))
    register = members.register(payload.get("meterStop"))
    stopped_at = members.moment(payload.get("timestamp"))
    needed = {"transactionId": transaction_id, "meterStop": register, "timestamp": stopped_at}
    unreadable = [name for name, value in needed.items() if value is None]
    unreadable += [str(loss.place[0]) for loss in lost if len(loss.place) == 1 and loss.place[0] in _OPTIONAL]
    if charger.inbound.is_torn:
        unreadable.append(_TEXT)
    clock = charger.services.clock
    now = clock.now()
    context = charger.transactions.get(transaction_id or 0)
    broken: tuple[Reading, ...] = entries.unusable(lost, "transactionData")
    return StopTransaction(
        station_id=charger.station_id,
        transaction_id=transaction_id or 0,
        meter_stop_wh=register,
        stopped_at=stopped_at,
        received_at=now,
        epoch=charger.epoch,
        reason=members.words(payload.get("reason")),
        id_tag=members.words(payload.get("idTag")),
        readings=(*normalise.readings(payload.get("transactionData") or ()), *broken),
        raw=normalise.clean(sent if isinstance(sent, dict) else payload),
        unreadable=tuple(unreadable),
        measured_at=context.measured(now, clock.monotonic(), stopped_at) if context is not None else None,
    )


_OPTIONAL = ("idTag", "reason")
