"""OCPP 1.6: which file handles which message. Adding an action is one file and one row."""

from socket_tier.dialect import Dialect, Durability, Route
from socket_tier.ocpp16 import (
    authorize,
    boot_notification,
    data_transfer,
    diagnostics_status_notification,
    firmware_status_notification,
    heartbeat,
    log_status_notification,
    meter_values,
    security_event_notification,
    signed_firmware_status_notification,
    start_transaction,
    status_notification,
    stop_transaction,
)
from socket_tier.ocpp16.commands import COMMANDS
from socket_tier.schemas import SchemaSet

ROUTES = {
    "Authorize": Route(authorize.handle, Durability.RETRY),
    "BootNotification": Route(boot_notification.handle, before_accepted=True),
    "DataTransfer": Route(data_transfer.handle),
    "DiagnosticsStatusNotification": Route(diagnostics_status_notification.handle, Durability.RETRY),
    "FirmwareStatusNotification": Route(firmware_status_notification.handle, Durability.RETRY),
    "Heartbeat": Route(heartbeat.handle),
    "LogStatusNotification": Route(log_status_notification.handle, Durability.RETRY),
    "MeterValues": Route(meter_values.handle, Durability.COMMIT, quick=meter_values.quick),
    "SecurityEventNotification": Route(security_event_notification.handle, Durability.RETRY),
    "SignedFirmwareStatusNotification": Route(signed_firmware_status_notification.handle, Durability.RETRY),
    "StartTransaction": Route(start_transaction.handle, Durability.COMMIT),
    "StatusNotification": Route(status_notification.handle, Durability.RETRY),
    "StopTransaction": Route(stop_transaction.handle, Durability.COMMIT, on_fault=stop_transaction.keep),
}
DIALECT = Dialect("ocpp1.6", SchemaSet("v16"), ROUTES, COMMANDS)
