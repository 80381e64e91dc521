"""The commands of OCPP 1.6 as bodies (sections 5 and 7; security whitepaper edition 3, section 4): one model each.

Members have the specification's names. Bounds are those of its types and schemas, and where it has none, ours: what
passes here passes the schema that the socket tier checks before it writes the frame. Unknown members are refused: a
command with a misspelt option must not go out without it.
"""

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from functions.api.schemas.ocpp_types import (
    PEM_BEGIN,
    AuthorizationData,
    CertificateHashData,
    ChargingProfile,
    Clean,
    Connector,
    ConnectorOrAll,
    Count,
    Firmware,
    IdTag,
    Int,
    Location,
    LogParameters,
    Part,
    Pem,
    Positive,
    Purpose,
    Retries,
    RetryInterval,
    Text50,
    Text255,
    When,
)


class Command(Part):
    """What all commands have: how long the command may wait for its charger."""

    expires_in_s: Annotated[
        int,
        Field(strict=True, ge=5, le=7 * 86400, description="seconds that it may wait for its charger"),
    ] = 300

    OWN: ClassVar[frozenset[str]] = frozenset({"action", "expires_in_s"})

    def payload(self) -> dict[str, Any]:
        """The message's members, as they go to the charger."""
        return self.model_dump(mode="json", exclude_none=True, exclude=set(self.OWN))


# --- Core ---------------------------------------------------------------------------------------------------------


class RemoteStartTransaction(Command):
    """Start charging on a client's card; the session is prepaid like one that the card itself starts."""

    action: Literal["RemoteStartTransaction"]
    idTag: IdTag
    connectorId: Connector | None = None
    chargingProfile: ChargingProfile | None = None


class RemoteStopTransaction(Command):
    """Stop a transaction. The session of the transaction is stopped, and its money settled as usual."""

    action: Literal["RemoteStopTransaction"]
    transactionId: Int


class Reset(Command):
    """Restart the charger."""

    action: Literal["Reset"]
    type: Literal["Hard", "Soft"]


class UnlockConnector(Command):
    """Release the cable."""

    action: Literal["UnlockConnector"]
    connectorId: Connector


class ChangeAvailability(Command):
    """Take a connector, or the charger, out of service or back into it."""

    action: Literal["ChangeAvailability"]
    connectorId: ConnectorOrAll
    type: Literal["Inoperative", "Operative"]


class ChangeConfiguration(Command):
    """Set a configuration key. Keys and security profiles have a route of their own (``credentials``)."""

    action: Literal["ChangeConfiguration"]
    key: Text50
    value: Annotated[str, Field(max_length=500), Clean]


class GetConfiguration(Command):
    """Read configuration keys, all without ``key``; the answer is kept as the station's configuration."""

    action: Literal["GetConfiguration"]
    key: Annotated[list[Text50], Field(min_length=1, max_length=100)] | None = None


class ClearCache(Command):
    """Empty the charger's authorisation cache."""

    action: Literal["ClearCache"]


class DataTransfer(Command):
    """A vendor's own message."""

    action: Literal["DataTransfer"]
    vendorId: Text255
    messageId: Text50 | None = None
    data: Annotated[str, Field(max_length=32_768), Clean] | None = None


# --- Remote trigger -----------------------------------------------------------------------------------------------


class TriggerMessage(Command):
    """Ask for a message of the charger."""

    action: Literal["TriggerMessage"]
    requestedMessage: Literal[
        "BootNotification",
        "DiagnosticsStatusNotification",
        "FirmwareStatusNotification",
        "Heartbeat",
        "MeterValues",
        "StatusNotification",
    ]
    connectorId: Connector | None = None


class ExtendedTriggerMessage(Command):
    """Ask for a message of the charger, of the security extension too."""

    action: Literal["ExtendedTriggerMessage"]
    requestedMessage: Literal[
        "BootNotification",
        "LogStatusNotification",
        "FirmwareStatusNotification",
        "Heartbeat",
        "MeterValues",
        "SignChargePointCertificate",
        "StatusNotification",
    ]
    connectorId: Connector | None = None


# --- Reservation, local list --------------------------------------------------------------------------------------


class ReserveNow(Command):
    """Reserve a connector. The managed way is the station's ``reservations``."""

    action: Literal["ReserveNow"]
    connectorId: ConnectorOrAll
    expiryDate: When
    idTag: IdTag
    parentIdTag: IdTag | None = None
    reservationId: Int


class CancelReservation(Command):
    """Give a reservation up."""

    action: Literal["CancelReservation"]
    reservationId: Int


class SendLocalList(Command):
    """Send authorisations for times without a connection. The managed way is the station's ``local-list``."""

    action: Literal["SendLocalList"]
    listVersion: Positive
    localAuthorizationList: Annotated[list[AuthorizationData], Field(max_length=500)] | None = None
    updateType: Literal["Differential", "Full"]


class GetLocalListVersion(Command):
    """Read the version of the charger's list."""

    action: Literal["GetLocalListVersion"]


# --- Firmware and logs --------------------------------------------------------------------------------------------


class UpdateFirmware(Command):
    """Update the firmware from a link. The managed way is the station's ``firmware-jobs``."""

    action: Literal["UpdateFirmware"]
    location: Location
    retrieveDate: When
    retries: Retries | None = None
    retryInterval: RetryInterval | None = None


class SignedUpdateFirmware(Command):
    """Update the firmware from a link, signed. The managed way is the station's ``firmware-jobs``."""

    action: Literal["SignedUpdateFirmware"]
    requestId: Int
    firmware: Firmware
    retries: Retries | None = None
    retryInterval: RetryInterval | None = None


class GetDiagnostics(Command):
    """Upload diagnostics to a link. The managed way is the station's ``log-jobs``."""

    action: Literal["GetDiagnostics"]
    location: Location
    startTime: When | None = None
    stopTime: When | None = None
    retries: Retries | None = None
    retryInterval: RetryInterval | None = None


class GetLog(Command):
    """Upload a log to a link. The managed way is the station's ``log-jobs``."""

    action: Literal["GetLog"]
    logType: Literal["DiagnosticsLog", "SecurityLog"]
    requestId: Int
    log: LogParameters
    retries: Retries | None = None
    retryInterval: RetryInterval | None = None


# --- Smart charging -----------------------------------------------------------------------------------------------


class SetChargingProfile(Command):
    """Set a charging profile. The managed way is the station's ``charging-profiles``."""

    action: Literal["SetChargingProfile"]
    connectorId: ConnectorOrAll
    csChargingProfiles: ChargingProfile


class ClearChargingProfile(Command):
    """Clear charging profiles: by id, else all that have the other members; without any member all."""

    action: Literal["ClearChargingProfile"]
    id: Int | None = None
    connectorId: ConnectorOrAll | None = None
    chargingProfilePurpose: Purpose | None = None
    stackLevel: Count | None = None


class GetCompositeSchedule(Command):
    """What the charger makes of its profiles. ``duration``: seconds."""

    action: Literal["GetCompositeSchedule"]
    connectorId: ConnectorOrAll
    duration: Annotated[int, Field(strict=True, ge=1, le=31 * 86400)]
    chargingRateUnit: Literal["A", "W"] | None = None


# --- Certificates -------------------------------------------------------------------------------------------------


class CertificateSigned(Command):
    """Hand the charger a certificate for its own key. The managed way is the station's ``certificates``."""

    action: Literal["CertificateSigned"]
    certificateChain: Annotated[str, Field(min_length=1, max_length=10_000, pattern=PEM_BEGIN), Clean]


class InstallCertificate(Command):
    """Install a root certificate. The managed way is the station's ``certificates``."""

    action: Literal["InstallCertificate"]
    certificateType: Literal["CentralSystemRootCertificate", "ManufacturerRootCertificate"]
    certificate: Pem


class DeleteCertificate(Command):
    """Delete a root certificate. The managed way is the station's ``certificates``."""

    action: Literal["DeleteCertificate"]
    certificateHashData: CertificateHashData


class GetInstalledCertificateIds(Command):
    """List the root certificates of a use."""

    action: Literal["GetInstalledCertificateIds"]
    certificateType: Literal["CentralSystemRootCertificate", "ManufacturerRootCertificate"]


CommandBody = Annotated[
    RemoteStartTransaction
    | RemoteStopTransaction
    | Reset
    | UnlockConnector
    | ChangeAvailability
    | ChangeConfiguration
    | GetConfiguration
    | ClearCache
    | DataTransfer
    | TriggerMessage
    | ExtendedTriggerMessage
    | ReserveNow
    | CancelReservation
    | SendLocalList
    | GetLocalListVersion
    | UpdateFirmware
    | SignedUpdateFirmware
    | GetDiagnostics
    | GetLog
    | SetChargingProfile
    | ClearChargingProfile
    | GetCompositeSchedule
    | CertificateSigned
    | InstallCertificate
    | DeleteCertificate
    | GetInstalledCertificateIds,
    Field(discriminator="action"),
]
"""Any command of OCPP 1.6."""

_ACTIONS: dict[str, str] = {model.__name__.lower(): model.__name__ for model in get_args(get_args(CommandBody)[0])}


def _known_action(word: str) -> str:
    known = _ACTIONS.get(word.lower())
    if known is None:
        expected = ", ".join(f"'{action}'" for action in _ACTIONS.values())
        raise PydanticCustomError("literal_error", "must be one of {expected}", {"expected": expected})
    return known


ActionIn = Annotated[
    str,
    Field(min_length=1, max_length=40, description="in any letter case", examples=["Reset"]),
    AfterValidator(_known_action),
]
"""An action to look for, in the letters of the specification: a misspelt one must not find nothing."""
