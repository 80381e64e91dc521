"""Authorize: may this id tag charge here (OCPP 1.6 section 4.1)."""

from evpower.charging import service as charging
from evpower.charging.service import TagVerdict
from evpower.db import Conn
from socket_tier.charger import Charger
from socket_tier.dialect import Payload
from socket_tier.ocpp16 import values
from socket_tier.timestamps import iso_z


async def handle(charger: Charger, payload: Payload) -> Payload:
    tag = values.tag(payload["idTag"]) or ""
    now = charger.services.clock.now()

    async def work(conn: Conn) -> TagVerdict:
        return await charging.authorize(conn, charger.station_id, tag, now)

    return {"idTagInfo": tag_info(await charger.services.database.run(work))}


def tag_info(verdict: TagVerdict) -> Payload:
    """``idTagInfo`` of a verdict, without empty members."""
    info: Payload = {"status": verdict.status}
    if verdict.expires_at is not None:
        info["expiryDate"] = iso_z(verdict.expires_at)
    if verdict.parent_id_tag:
        info["parentIdTag"] = verdict.parent_id_tag[:20]
    return info
