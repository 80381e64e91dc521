"""Types and objects of OCPP 1.6 messages (section 7; security whitepaper edition 3, section 5) in bodies.

Bounds are those of the specification's types, and where it has none, ours.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer
from pydantic_core import PydanticCustomError

from evpower.clock import iso_z
from functions.api.schemas.base import clean_text, strict_number
from functions.api.schemas.patterns import asks_for

INT32 = 2**31 - 1

Clean = AfterValidator(clean_text)
Int = Annotated[int, Field(strict=True, ge=-INT32 - 1, le=INT32)]
Count = Annotated[int, Field(strict=True, ge=0, le=INT32)]
Positive = Annotated[int, Field(strict=True, ge=1, le=INT32)]
Connector = Annotated[int, Field(strict=True, ge=1, le=100)]
ConnectorOrAll = Annotated[int, Field(strict=True, ge=0, le=100, description="0: the whole charger")]
IdTag = Annotated[str, Field(min_length=1, max_length=20), Clean]
Text40 = Annotated[str, Field(min_length=1, max_length=40), Clean]
Text50 = Annotated[str, Field(min_length=1, max_length=50), Clean]
Text128 = Annotated[str, Field(min_length=1, max_length=128), Clean]
Text255 = Annotated[str, Field(min_length=1, max_length=255), Clean]
Text800 = Annotated[str, Field(min_length=1, max_length=800), Clean]
Retries = Annotated[int, Field(strict=True, ge=0, le=100)]
RetryInterval = Annotated[int, Field(strict=True, ge=0, le=86400, description="seconds")]
Purpose = Literal["ChargePointMaxProfile", "TxDefaultProfile", "TxProfile"]


def _this_century(value: datetime) -> datetime:
    # Use case: the year 1 in a zone east of Greenwich is no moment in UTC.
    if not 2000 <= value.year < 2100:
        raise PydanticCustomError("datetime_range", "is not between 2000 and 2100")
    return value


When = Annotated[
    AwareDatetime,
    AfterValidator(_this_century),
    PlainSerializer(iso_z, return_type=str),
    Field(description="RFC 3339 with an offset or Z", examples=["2099-12-31T00:00:00Z"]),
]


def _one_decimal(value: Decimal) -> Decimal:
    if value != round(value, 1):
        raise PydanticCustomError("decimal_max_places", "has more than one decimal")
    return value


Limit = Annotated[
    Decimal,
    BeforeValidator(strict_number.func, json_schema_input_type=Annotated[float, Field(ge=0, le=10_000_000)]),
    Field(ge=0, le=10_000_000),
    AfterValidator(_one_decimal),
    PlainSerializer(float, return_type=float),
]
_USER = r"([A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})+@"
_REST = r"([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*"
# RFC 3986 with the schemes that chargers speak, without a fragment, which no transfer has.
Location = Annotated[
    str,
    Field(
        min_length=10,
        max_length=512,
        pattern=asks_for(
            rf"^(https?|ftps?|sftp)://({_USER})?[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{{1,5}})?(/{_REST})?(\?[?]?{_REST})?$",
            "a link that begins with http://, https://, ftp://, ftps:// or sftp://, escaped, without a fragment",
        ),
        examples=["https://files.example/upload"],
    ),
]
PEM_BEGIN = r"^-----BEGIN CERTIFICATE-----\r?\n"
Pem = Annotated[
    str,
    Field(
        min_length=1,
        max_length=5500,
        pattern=asks_for(PEM_BEGIN, "a certificate in PEM, from its line BEGIN CERTIFICATE on"),
    ),
    Clean,
]


class Part(BaseModel):
    """A member that is an object."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SchedulePeriod(Part):
    """ChargingSchedulePeriod."""

    startPeriod: Count
    limit: Limit
    numberPhases: Annotated[int, Field(strict=True, ge=1, le=3)] | None = None


class Schedule(Part):
    """ChargingSchedule."""

    duration: Count | None = None
    startSchedule: When | None = None
    chargingRateUnit: Literal["A", "W"]
    chargingSchedulePeriod: Annotated[list[SchedulePeriod], Field(min_length=1, max_length=100)]
    minChargingRate: Limit | None = None


class ChargingProfile(Part):
    """ChargingProfile. The managed way is the station's ``charging-profiles``, which also checks and remembers it."""

    chargingProfileId: Int
    transactionId: Int | None = None
    stackLevel: Count
    chargingProfilePurpose: Purpose
    chargingProfileKind: Literal["Absolute", "Recurring", "Relative"]
    recurrencyKind: Literal["Daily", "Weekly"] | None = None
    validFrom: When | None = None
    validTo: When | None = None
    chargingSchedule: Schedule


class IdTagInfo(Part):
    """IdTagInfo."""

    expiryDate: When | None = None
    parentIdTag: IdTag | None = None
    status: Literal["Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx"]


class AuthorizationData(Part):
    """A tag of the list; without its info it is removed (differential)."""

    idTag: IdTag
    idTagInfo: IdTagInfo | None = None


class Firmware(Part):
    """FirmwareType."""

    location: Location
    retrieveDateTime: When
    installDateTime: When | None = None
    signingCertificate: Pem
    signature: Text800


class LogParameters(Part):
    """LogParametersType."""

    remoteLocation: Location
    oldestTimestamp: When | None = None
    latestTimestamp: When | None = None


class CertificateHashData(Part):
    """CertificateHashDataType."""

    hashAlgorithm: Literal["SHA256", "SHA384", "SHA512"]
    issuerNameHash: Text128
    issuerKeyHash: Text128
    serialNumber: Text40
