"""OCPP 1.6: which file handles which message. Adding an action is one file and one row."""

from socket_tier.dialect import Dialect, Durability, Route
from socket_tier.ocpp16 import (
    authorize,
    boot_notification,
    data_transfer,
    heartbeat,
    meter_values,
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
    "Heartbeat": Route(heartbeat.handle),
    "MeterValues": Route(meter_values.handle, Durability.COMMIT, quick=meter_values.quick),
    "StartTransaction": Route(start_transaction.handle, Durability.COMMIT),
    "StatusNotification": Route(status_notification.handle, Durability.RETRY),
    "StopTransaction": Route(stop_transaction.handle, Durability.COMMIT, on_fault=stop_transaction.keep),
}
DIALECT = Dialect("ocpp1.6", SchemaSet("v16"), ROUTES, COMMANDS)
