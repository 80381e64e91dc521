"""StopTransaction: never refused (OCPP 1.6 section 4.10, ocpp.md §3).

The charger forgets a transaction once this is answered, so whatever arrives is stored: as the end of its transaction
where that can be told, else in quarantine for the operator. Repeats settle nothing twice.
"""

import time
from decimal import Decimal
from typing import Any

from evpower.charging import service as charging
from evpower.charging.models import UNUSABLE, Reading, StopTransaction, TransactionStopped
from evpower.charging.service import TagVerdict
from evpower.db import Conn
from evpower.logging import get_logger
from socket_tier import normalise, rpc
from socket_tier.charger import Charger
from socket_tier.dialect import CallFault, Payload
from socket_tier.ocpp16 import values
from socket_tier.ocpp16.authorize import tag_info
from socket_tier.ocpp16.schema import SCHEMAS
from socket_tier.timestamps import parse_time

log = get_logger(__name__)

_ACTION = "StopTransaction"


async def handle(charger: Charger, payload: Payload) -> Payload:
    if abs(payload["meterStop"]) > values.MAX_REGISTER_WH:
        raise CallFault(rpc.PROPERTY_VIOLATION, "meterStop is no register of a meter")
    return await _stop(charger, payload, ())


async def keep(charger: Charger, raw: Any, reason: str) -> Payload:
    """Take a StopTransaction that its schema refuses, or that comes from a station that is not accepted yet.

    Use case: one entry of transactionData is broken. The register and the time of the end are good, so the session is
    billed by them; the broken entries are kept beside the good ones, and the session is flagged.
    """
    usable, broken = _without_broken_data(raw) if charger.accepted else (None, ())
    if usable is not None:
        log.warning("StopTransaction without its broken data", extra={"station_id": charger.station_id, "why": reason})
        return await _stop(charger, usable, broken)
    now = charger.services.clock.now()
    payload = normalise.clean(raw)

    async def work(conn: Conn) -> None:
        await charging.quarantine_stop(conn, charger.station_id, payload, reason[:500], now)

    await charger.services.database.run(work)
    log.warning("StopTransaction put aside", extra={"station_id": charger.station_id, "why": reason[:200]})
    return {}


async def _stop(charger: Charger, payload: Payload, broken: tuple[Reading, ...]) -> Payload:
    now = charger.services.clock.now()
    data = payload.get("transactionData")
    context = charger.transactions.get(payload["transactionId"])
    message = StopTransaction(
        station_id=charger.station_id,
        transaction_id=payload["transactionId"],
        meter_stop_wh=Decimal(payload["meterStop"]),
        # Use case: a lying clock gives a moment that does not exist. The time of receipt bounds the bill.
        stopped_at=parse_time(payload["timestamp"]) or now,
        received_at=now,
        epoch=charger.epoch,
        reason=normalise.clean(payload.get("reason")),
        id_tag=values.tag(payload.get("idTag")),
        readings=(*(normalise.readings(data) if data else ()), *broken),
        raw=normalise.clean(payload),
        measured_at=context.measured(now, time.monotonic()) if context is not None else None,
    )

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


def _without_broken_data(raw: Any) -> tuple[Payload | None, tuple[Reading, ...]]:
    """The message without the entries of transactionData that its schema refuses, and these as readings.

    None when the rest cannot be used either.
    """
    if not isinstance(raw, dict) or "transactionData" not in raw:
        return None, ()
    rest = {name: value for name, value in raw.items() if name != "transactionData"}
    checked = SCHEMAS.check_request(_ACTION, rest)
    if checked.fault is not None or abs(checked.payload["meterStop"]) > values.MAX_REGISTER_WH:
        return None, ()
    good: list[Any] = []
    broken: list[Reading] = []
    data = raw["transactionData"]
    for entry in data if isinstance(data, list) else [data]:
        alone = SCHEMAS.check_request(_ACTION, {**rest, "transactionData": [entry]})
        kept = alone.payload.get("transactionData") if alone.fault is None else None
        if kept:
            good += kept
        else:
            broken.append(Reading(None, flags=(UNUSABLE,), raw=normalise.raw_text({"unusable": entry})))
    return {**checked.payload, "transactionData": good}, tuple(broken)
