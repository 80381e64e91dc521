"""StopTransaction: never refused (OCPP 1.6 section 4.10, ocpp.md §3).

The charger forgets a transaction once this is answered, so whatever arrives is stored: as the end of its transaction
where that can be told, else in quarantine for the operator. Repeats settle nothing twice.
"""

from decimal import Decimal
from typing import Any

from evpower.charging import service as charging
from evpower.charging.models import Reading, StopTransaction, TransactionStopped
from evpower.db import Conn
from evpower.logging import get_logger
from socket_tier import normalise, rpc
from socket_tier.charger import Charger
from socket_tier.dialect import CallFault, Payload
from socket_tier.ocpp16 import values
from socket_tier.timestamps import parse_time

log = get_logger(__name__)


async def handle(charger: Charger, payload: Payload) -> Payload:
    if abs(payload["meterStop"]) > values.MAX_REGISTER_WH:
        raise CallFault(rpc.PROPERTY_VIOLATION, "meterStop is no register of a meter")
    now = charger.services.clock.now()
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
        readings=_readings(payload),
        raw=normalise.clean(payload),
    )

    async def work(conn: Conn) -> TransactionStopped:
        return await charging.stop_transaction(conn, message)

    stopped = await charger.services.database.run(work)
    charger.transactions.pop(message.transaction_id, None)
    if stopped.quarantined:
        log.warning("StopTransaction put aside", extra={"station_id": charger.station_id, "content": message.raw})
    charger.tell_changed()
    return {}


def _readings(payload: Payload) -> tuple[Reading, ...]:
    data = payload.get("transactionData")
    return normalise.readings(data) if data else ()


async def keep(charger: Charger, raw: Any, reason: str) -> Payload:
    """Take a StopTransaction that its schema refuses, or that comes from a station that is not accepted yet."""
    now = charger.services.clock.now()
    payload = normalise.clean(raw)

    async def work(conn: Conn) -> None:
        await charging.quarantine_stop(conn, charger.station_id, payload, reason[:500], now)

    await charger.services.database.run(work)
    log.warning("StopTransaction put aside", extra={"station_id": charger.station_id, "why": reason[:200]})
    return {}
