"""FirmwareStatusNotification: how the update asked for by UpdateFirmware goes (OCPP 1.6 section 4.5)."""

from evpower.jobs.models import JobKind
from socket_tier.charger import Charger
from socket_tier.dialect import Payload
from socket_tier.ocpp16 import events

# A download is tried again by the charger or by the operator; a failed installation may need a technician.
_SEVERITY = {"DownloadFailed": "warning", "InstallationFailed": "error"}


async def handle(charger: Charger, payload: Payload) -> Payload:
    severity = _SEVERITY.get(payload["status"], "info")
    return await events.job_step(charger, "firmware_status", JobKind.FIRMWARE, payload, severity=severity)
