"""StartTransaction: recorded exactly once by its content (OCPP 1.6 section 4.8, ocpp.md §3).

Use case: the charger sends it again with a new message id, after a reboot or to another instance; the repeat gets the
same transactionId. A transaction that may not go on is recorded too and gets a RemoteStop. Members that cannot be read
are replaced by what is known (:func:`evpower.charging.service.complete_start`).
"""

from evpower.charging import members
from evpower.charging import service as charging
from evpower.charging.models import ReceivedStart, StartTransaction, TransactionStarted
from evpower.charging.service import TagVerdict
from evpower.db import Conn
from evpower.reservations import service as reservations
from evpower.reservations.models import Begun
from socket_tier import rpc
from socket_tier.charger import Charger
from socket_tier.dialect import CallFault, Payload
from socket_tier.ocpp16 import values
from socket_tier.ocpp16.authorize import tag_info

_CONTENT = ("connectorId", "idTag", "meterStart", "timestamp")


async def handle(charger: Charger, payload: Payload) -> Payload:
    sent = charger.inbound.payload
    received = ReceivedStart(
        station_id=charger.station_id,
        connector_id=values.connector_or_none(payload.get("connectorId"), lowest=1),
        id_tag=members.words(payload.get("idTag")),
        meter_start_wh=members.register(payload.get("meterStart")),
        started_at=members.moment(payload.get("timestamp")),
        received_at=charger.services.clock.now(),
        epoch=charger.epoch,
        message_id=charger.inbound.message_id,
        as_sent=members.fingerprint(sent if isinstance(sent, dict) else payload, _CONTENT),
    )

    async def prepare(conn: Conn) -> StartTransaction | None:
        completed = await charging.complete_start(conn, received)
        if completed is not None:
            await charging.settle_before_start(conn, completed)
        return completed

    message = await charger.services.database.run(prepare)
    if message is None:
        raise CallFault(rpc.PROPERTY_VIOLATION, f"connectorId must be 1 to {values.MAX_CONNECTOR}")

    async def work(conn: Conn) -> TransactionStarted:
        started = await charging.start_transaction(conn, message)
        if not started.repeated:
            begun = Begun(
                station_id=message.station_id,
                connector_id=message.connector_id,
                id_tag=message.id_tag,
                transaction_id=started.transaction_id,
                session_id=started.session_id,
                reservation_id=members.identifier(payload.get("reservationId")),
            )
            await reservations.transaction_began(conn, begun, message.received_at)
        return started

    started = await charger.services.database.run(work)
    charger.transactions.pop(started.transaction_id, None)
    charger.another_begins(message.connector_id)
    charger.tell_changed()
    charger.dispatch_later(started.command_id)
    verdict = TagVerdict(started.id_tag_status, started.expires_at, started.parent_id_tag)
    return {"transactionId": started.transaction_id, "idTagInfo": tag_info(verdict)}
