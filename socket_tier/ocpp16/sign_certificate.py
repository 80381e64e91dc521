"""SignCertificate: the charger wants a certificate for its new key (security whitepaper A02, A03).

Answered at once: Accepted when the request is one that may be signed, and kept. The authority is asked afterwards; the
certificate comes as CertificateSigned. What is left by a crash, the sweep goes on with.
"""

from evpower.certificates import issuing
from evpower.certificates import service as certificates
from evpower.certificates.authority import authority_from
from evpower.certificates.x509 import NotUsable
from evpower.db import Conn
from evpower.stations import service as stations
from socket_tier.charger import Charger
from socket_tier.dialect import Payload


async def handle(charger: Charger, payload: Payload) -> Payload:
    services = charger.services
    now = services.clock.now()
    if services.settings.certificate_authority == "off":
        return await _reject(charger, "no certificate authority is configured")
    try:
        certificate_id = await services.database.run(
            lambda conn: certificates.request_signature(conn, charger.station_id, str(payload["csr"]), now)
        )
    except NotUsable as fault:
        return await _reject(charger, str(fault))
    if certificate_id is not None:
        charger.defer(lambda: _issue(charger, certificate_id))
    return {"status": "Accepted"}


async def _issue(charger: Charger, certificate_id: str) -> None:
    services = charger.services
    command = await issuing.advance(
        services.database,
        authority_from(services.settings),
        services.settings,
        certificate_id,
        services.clock.now(),
        early=True,
    )
    if command is not None:
        charger.dispatch(command.id)


async def _reject(charger: Charger, reason: str) -> Payload:
    now = charger.services.clock.now()

    async def work(conn: Conn) -> None:
        await stations.add_event(
            conn, charger.station_id, "certificate_refused", now, payload={"reason": reason}, severity="warning"
        )

    await charger.services.database.run(work)
    return {"status": "Rejected"}
