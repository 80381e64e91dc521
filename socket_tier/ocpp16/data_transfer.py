"""DataTransfer: vendor messages (OCPP 1.6 section 4.3).

``VENDORS`` maps vendor id -> message id -> handler. An empty message id is the vendor's handler for all its messages.
"""

from collections.abc import Awaitable, Callable, Mapping

from socket_tier.charger import Charger
from socket_tier.dialect import Payload

VendorHandler = Callable[[Charger, Payload], Awaitable[Payload]]
VENDORS: Mapping[str, Mapping[str, VendorHandler]] = {}


async def handle(charger: Charger, payload: Payload) -> Payload:
    return await answer(VENDORS, charger, payload)


async def answer(vendors: Mapping[str, Mapping[str, VendorHandler]], charger: Charger, payload: Payload) -> Payload:
    """Let the vendor's handler answer, or say which of the two ids is unknown here."""
    messages = vendors.get(payload["vendorId"])
    if messages is None:
        return {"status": "UnknownVendorId"}
    found = messages.get(payload.get("messageId") or "") or messages.get("")
    if found is None:
        return {"status": "UnknownMessageId"}
    return await found(charger, payload)
