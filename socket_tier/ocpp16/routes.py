"""OCPP 1.6: which file handles which message. Adding an action is one file and one row."""

from socket_tier.dialect import Dialect, Durability, QuickPath, Route
from socket_tier.ocpp16 import (
    authorize,
    boot_notification,
    data_transfer,
    diagnostics_status_notification,
    firmware_status_notification,
    heartbeat,
    log_status_notification,
    meter_frames,
    meter_values,
    security_event_notification,
    sign_certificate,
    signed_firmware_status_notification,
    start_transaction,
    status_notification,
    stop_transaction,
)
from socket_tier.ocpp16.commands import COMMANDS
from socket_tier.ocpp16.schema import SCHEMAS
from socket_tier.pacing import Pace

# No healthy charger comes near these. The bursts let through a queue that was kept while the charger was offline.
_HEARTBEATS = Pace(per_s=50, burst=1000)
_EVENTS = Pace(per_s=10, burst=200)
_BOOTS = Pace(per_s=1, burst=30)
_READINGS = Pace(per_s=50, burst=5000)
# Each leaves a row for good, and a refused start a command that waits for hours, in memory as well.
_TRANSACTIONS = Pace(per_s=2, burst=500)

ROUTES = {
    "Authorize": Route(authorize.handle, Durability.RETRY, of_the_moment=True),
    "BootNotification": Route(boot_notification.handle, before_accepted=True, pace=_BOOTS, of_the_moment=True),
    "DataTransfer": Route(data_transfer.handle),
    "DiagnosticsStatusNotification": Route(diagnostics_status_notification.handle, Durability.RETRY, pace=_EVENTS),
    "FirmwareStatusNotification": Route(firmware_status_notification.handle, Durability.RETRY, pace=_EVENTS),
    "Heartbeat": Route(heartbeat.handle, pace=_HEARTBEATS, of_the_moment=True),
    "LogStatusNotification": Route(log_status_notification.handle, Durability.RETRY, pace=_EVENTS),
    "MeterValues": Route(meter_values.handle, Durability.COMMIT, is_saved=True, pace=_READINGS),
    "SecurityEventNotification": Route(security_event_notification.handle, Durability.RETRY, pace=_EVENTS),
    "SignCertificate": Route(sign_certificate.handle, Durability.RETRY, pace=_EVENTS),
    "SignedFirmwareStatusNotification": Route(
        signed_firmware_status_notification.handle, Durability.RETRY, pace=_EVENTS
    ),
    "StartTransaction": Route(start_transaction.handle, Durability.COMMIT, pace=_TRANSACTIONS),
    "StatusNotification": Route(status_notification.handle, Durability.RETRY),
    "StopTransaction": Route(
        stop_transaction.handle,
        Durability.COMMIT,
        on_fault=stop_transaction.keep,
        is_saved=True,
        pace=_TRANSACTIONS,
    ),
}
DIALECT = Dialect("ocpp1.6", SCHEMAS, ROUTES, COMMANDS, QuickPath(meter_frames.read, meter_values.quick))
