"""BootNotification: answered from memory; everything else happens afterwards (OCPP 1.6 section 4.2, ocpp.md §3)."""

from datetime import timedelta
from typing import Any

from evpower.charging import service as charging
from evpower.commands import service as commands
from evpower.commands.models import QueuedRef
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
    charger.boot_drains = charger.accepted
    charger.defer(lambda: _afterwards(charger, payload))
    settings = charger.services.settings
    interval = charger.admission.heartbeat_interval_s or settings.heartbeat_interval_s
    return {
        "status": _ANSWER[charger.admission.registration_status],
        "currentTime": iso_z(charger.services.clock.now()),
        "interval": max(interval, 1),
    }


async def _afterwards(charger: Charger, payload: dict[str, Any]) -> None:
    """Mark the boot, queue the question for the configuration, and run what waits for this station; one transaction."""
    boot = BootInfo(
        vendor=payload.get("chargePointVendor"),
        model=payload.get("chargePointModel"),
        firmware_version=payload.get("firmwareVersion"),
        details=payload,
        ocpp_protocol="ocpp1.6",
    )
    services = charger.services
    now = services.clock.now()

    async def work(conn: Conn) -> list[QueuedRef]:
        await stations.record_boot(conn, charger.station_id, boot, now)
        if not charger.accepted:
            return []
        await charging.start_again(conn, charger.station_id, now)
        # A moment later, because commands are written in the order of their times: a driver waits for the start.
        await configuration.request(conn, charger.station_id, now + timedelta(microseconds=1))
        return await commands.queued_for(conn, {charger.station_id: charger.epoch}, now)

    for ref in await services.database.run(work):
        services.dispatch(ref.station_id, ref.command_id)
