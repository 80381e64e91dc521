"""DiagnosticsStatusNotification: how the upload asked for by GetDiagnostics goes (OCPP 1.6 section 4.4)."""

from evpower.jobs.models import JobKind
from socket_tier.charger import Charger
from socket_tier.dialect import Payload
from socket_tier.ocpp16 import events


async def handle(charger: Charger, payload: Payload) -> Payload:
    severity = "warning" if payload["status"] == "UploadFailed" else "info"
    return await events.job_step(charger, "diagnostics_status", JobKind.DIAGNOSTICS, payload, severity=severity)
