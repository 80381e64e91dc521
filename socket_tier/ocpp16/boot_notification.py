"""BootNotification: answered from memory; everything else happens afterwards (OCPP 1.6 section 4.2, ocpp.md §3)."""

from typing import Any

from evpower.charging import service as charging
from evpower.db import Conn
from evpower.stations import service as stations
from evpower.stations.models import BootInfo, RegistrationStatus
from socket_tier.charger import Charger
from socket_tier.dialect import Payload
from socket_tier.ocpp16 import configuration
from socket_tier.timestamps import iso_z

_ANSWER = {
    RegistrationStatus.ACCEPTED: "Accepted",
    RegistrationStatus.PENDING: "Pending",
    RegistrationStatus.REJECTED: "Rejected",
}


async def handle(charger: Charger, payload: Payload) -> Payload:
    if not charger.accepted:
        await charger.look_again()
    charger.defer(lambda: _afterwards(charger, payload))
    settings = charger.services.settings
    interval = charger.admission.heartbeat_interval_s or settings.heartbeat_interval_s
    return {
        "status": _ANSWER[charger.admission.registration_status],
        "currentTime": iso_z(charger.services.clock.now()),
        "interval": max(interval, 1),
    }


async def _afterwards(charger: Charger, payload: dict[str, Any]) -> None:
    """Mark the boot, then read the configuration and start what waited for this station."""
    boot = BootInfo(
        vendor=payload.get("chargePointVendor"),
        model=payload.get("chargePointModel"),
        firmware_version=payload.get("firmwareVersion"),
        details=payload,
        ocpp_protocol="ocpp1.6",
    )
    services = charger.services
    now = services.clock.now()

    async def work(conn: Conn) -> list[str]:
        await stations.record_boot(conn, charger.station_id, boot, now)
        return await charging.start_again(conn, charger.station_id, now) if charger.accepted else []

    repeated = await services.database.run(work)
    if charger.accepted:
        services.drain(charger.station_id)
        for command_id in repeated:
            services.dispatch(charger.station_id, command_id)
        await configuration.request(charger)
