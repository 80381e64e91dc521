"""LogStatusNotification: how the upload asked for by GetLog goes (security whitepaper)."""

from evpower.jobs.models import JobKind
from socket_tier.charger import Charger
from socket_tier.dialect import Payload
from socket_tier.ocpp16 import events

_FAILED = frozenset({"BadMessage", "NotSupportedOperation", "PermissionDenied", "UploadFailure"})


async def handle(charger: Charger, payload: Payload) -> Payload:
    severity = "warning" if payload["status"] in _FAILED else "info"
    return await events.job_step(charger, "log_status", JobKind.LOG, payload, severity=severity)
