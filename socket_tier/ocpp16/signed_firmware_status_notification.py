"""SignedFirmwareStatusNotification: how the update asked for by SignedUpdateFirmware goes (security whitepaper)."""

from evpower.jobs.models import JobKind
from socket_tier.charger import Charger
from socket_tier.dialect import Payload
from socket_tier.ocpp16 import events

# A firmware whose signature or content does not verify is a mistake of ours or an attack: both are for an operator.
_SEVERITY = {
    "DownloadFailed": "warning",
    "InstallationFailed": "error",
    "InstallVerificationFailed": "error",
    "InvalidSignature": "error",
}


async def handle(charger: Charger, payload: Payload) -> Payload:
    severity = _SEVERITY.get(payload["status"], "info")
    return await events.job_step(charger, "signed_firmware_status", JobKind.SIGNED_FIRMWARE, payload, severity=severity)
