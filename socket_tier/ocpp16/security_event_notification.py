"""SecurityEventNotification: something of the charger's security log (security whitepaper, list of security events)."""

from evpower.charging import members
from socket_tier.charger import Charger
from socket_tier.dialect import Payload
from socket_tier.ocpp16 import events

# What happens in a healthy network. Everything else, words of vendors included, asks for an operator's look.
_ORDINARY = frozenset(
    {
        "FirmwareUpdated", "ReconfigurationOfSecurityParameters", "ResetOrReboot", "SettingSystemTime",
        "StartupOfTheDevice",
    }
)  # fmt: skip
# Somebody has opened the charger, wiped its traces, offered it a foreign firmware or played the central system.
_ALARMING = frozenset(
    {
        "AttemptedReplayAttacks", "CentralSystemFailedToAuthenticate", "InvalidCentralSystemCertificate",
        "InvalidFirmwareSignature", "InvalidFirmwareSigningCertificate", "SecurityLogWasCleared",
        "TamperDetectionActivated",
    }
)  # fmt: skip
# The whitepaper's own column "critical": chargers must send these.
_CRITICAL = frozenset(
    {
        "FirmwareUpdated", "MemoryExhaustion", "ResetOrReboot", "SecurityLogWasCleared", "SettingSystemTime",
        "StartupOfTheDevice", "TamperDetectionActivated",
    }
)  # fmt: skip


async def handle(charger: Charger, payload: Payload) -> Payload:
    word = payload["type"]
    return await events.store(
        charger,
        "security",
        {**payload, "critical": word in _CRITICAL},
        severity=severity(word),
        # Use case: a charger whose clock names no moment that exists. The event is kept with the time of receipt.
        charger_at=members.moment(payload.get("timestamp")),
    )


def severity(word: str) -> str:
    """``error``: an operator must look now; ``warning``: soon; ``info``: daily life."""
    if word in _ALARMING:
        return "error"
    return "info" if word in _ORDINARY else "warning"
