"""Configuration keys of the simulated charger (OCPP 1.6 section 9, core profile) and what writing them does. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from infra.local.simulator.outlet import Outlet
from infra.local.simulator.profiles import MAX_PROFILES, MAX_STACK_LEVEL

MEASURANDS = (
    "Energy.Active.Import.Register",
    "Power.Active.Import",
    "Current.Import",
    "Voltage",
    "SoC",
    "Temperature",
)
GET_CONFIGURATION_MAX_KEYS = 50
FEATURE_PROFILES = (
    "Core",
    "FirmwareManagement",
    "LocalAuthListManagement",
    "Reservation",
    "SmartCharging",
    "RemoteTrigger",
)

_READ_ONLY = {
    "ChargeProfileMaxStackLevel": str(MAX_STACK_LEVEL),
    "ChargingScheduleAllowedChargingRateUnit": "Current,Power",
    "ChargingScheduleMaxPeriods": "24",
    "LocalAuthListMaxLength": "500",
    "MaxChargingProfilesInstalled": str(MAX_PROFILES),
    "ReserveConnectorZeroSupported": "false",
    "SendLocalListMaxLength": "100",
    "GetConfigurationMaxKeys": str(GET_CONFIGURATION_MAX_KEYS),
    "SupportedFeatureProfiles": ",".join(FEATURE_PROFILES),
}
_NUMBERS = {
    "ConnectionTimeOut": "120",
    "HeartbeatInterval": "300",
    "MeterValueSampleInterval": "60",
    "ClockAlignedDataInterval": "0",
    "ResetRetries": "1",
    "TransactionMessageAttempts": "3",
    "TransactionMessageRetryInterval": "10",
    "WebSocketPingInterval": "20",
}
_BOOLEANS = {
    "AuthorizeRemoteTxRequests": "false",
    "LocalAuthListEnabled": "true",
    "LocalAuthorizeOffline": "true",
    "LocalPreAuthorize": "false",
    "StopTransactionOnEVSideDisconnect": "true",
    "StopTransactionOnInvalidId": "true",
    "UnlockConnectorOnEVSideDisconnect": "true",
}
_LISTS = {
    "MeterValuesSampledData": ",".join(MEASURANDS),
    "MeterValuesAlignedData": "",
    "StopTxnSampledData": "Energy.Active.Import.Register",
    "StopTxnAlignedData": "",
    "ConnectorPhaseRotation": "NotApplicable",
}
_WRITE_ONLY = frozenset({"AuthorizationKey"})


@dataclass(slots=True)
class Configuration:
    """The key store of one charge point."""

    connectors: int
    values: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        defaults = {**_NUMBERS, **_BOOLEANS, **_LISTS, **_READ_ONLY, "NumberOfConnectors": str(self.connectors)}
        self.values = {**defaults, **self.values}

    def number(self, key: str) -> int:
        """Value of a numeric key."""
        return int(self.values[key])

    def flag(self, key: str) -> bool:
        """Value of a boolean key."""
        return self.values[key] == "true"

    def measurands(self) -> frozenset[str]:
        """What MeterValues carry; the register is always among them (a charger without it bills nothing)."""
        wanted = self.values["MeterValuesSampledData"].split(",")
        return frozenset(item for item in wanted if item in MEASURANDS) | {MEASURANDS[0]}

    def read(self, keys: list[str] | None) -> dict[str, Any]:
        """GetConfiguration.conf (section 5.8): all keys without an argument, unknown ones apart."""
        asked = keys or sorted(self.values)
        known = [key for key in asked if key in self.values and key not in _WRITE_ONLY]
        unknown = [key for key in asked if key not in known]
        answer: dict[str, Any] = {
            "configurationKey": [
                {"key": key, "readonly": self._is_read_only(key), "value": self.values[key]} for key in known
            ]
        }
        if unknown and keys:
            answer["unknownKey"] = unknown
        return answer

    def write(self, key: str, value: str) -> str:
        """ChangeConfiguration.conf status (section 5.4): Accepted, Rejected or NotSupported."""
        if key in _WRITE_ONLY:
            self.values[key] = value
            return "Accepted"
        if key not in self.values:
            return "NotSupported"
        if self._is_read_only(key) or not _is_valid(key, value):
            return "Rejected"
        self.values[key] = value.lower() if key in _BOOLEANS else value
        return "Accepted"

    def _is_read_only(self, key: str) -> bool:
        return key in _READ_ONLY or key == "NumberOfConnectors"


def _is_valid(key: str, value: str) -> bool:
    if key in _NUMBERS:
        return value.isdecimal()
    if key in _BOOLEANS:
        return value.lower() in ("true", "false")
    if key == "MeterValuesSampledData":
        return all(item in MEASURANDS for item in value.split(",") if item)
    return True


def find_outlet(outlets: dict[int, Outlet], number: int | None) -> Outlet | None:
    """The connector that a RemoteStart means: the one named, else the first that is free."""
    if number is not None:
        return outlets.get(number)
    free = [
        o
        for o in outlets.values()
        if o.operative and o.transaction is None and o.waiting_tag is None and o.reservation is None
    ]
    return next(iter(free), None)
