"""Heartbeat: the server's time (OCPP 1.6 section 4.6).

Nothing is written here: every frame counts as a sign of life and is flushed for all stations together
(:mod:`socket_tier.liveness`).
"""

from socket_tier.charger import Charger
from socket_tier.dialect import Payload
from socket_tier.timestamps import iso_z


async def handle(charger: Charger, _payload: Payload) -> Payload:
    return {"currentTime": iso_z(charger.services.clock.now())}
