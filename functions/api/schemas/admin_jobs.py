"""Firmware files and jobs of chargers: bodies and answers. Sizes in bytes."""

import base64
import binascii
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from functions.api.schemas.admin import Line
from functions.api.schemas.base import Answer, IdIn, Moment, Omit, ResponseModel, StaffRequest
from functions.api.schemas.ocpp_types import Location, Pem, Retries, RetryInterval, When
from functions.api.schemas.patterns import asks_for

JobKindWord = Literal["firmware", "signed_firmware", "diagnostics", "log"]


def _base64(value: str) -> str:
    try:
        base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise PydanticCustomError("base64", "is not base64") from None
    return value


Signature = Annotated[
    str, Field(min_length=1, max_length=800, description="base64 over the file's SHA-256"), AfterValidator(_base64)
]
_Lifetime = Annotated[int, Field(strict=True, ge=60, le=7 * 86400, description="seconds until the job is given up")]


class FirmwareJobBody(StaffRequest):
    """An update: of a file in the store (``firmware_id``) or from a link of the operator's own (``location``).

    ``signed``: SignedUpdateFirmware of the security extension. Certificate (PEM) and signature are the file's own, or
    come with the ``location``. Times default to now.
    """

    firmware_id: IdIn | None = None
    location: Location | None = None
    signed: Annotated[bool, Field(strict=True)] = False
    signing_certificate: Pem | None = None
    signature: Signature | None = None
    retrieve_at: When | None = None
    install_at: When | None = None
    retries: Retries | None = None
    retry_interval_s: RetryInterval | None = None
    expires_in_s: _Lifetime = 24 * 3600

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.firmware_id is None) == (self.location is None):
            raise PydanticCustomError("one_of", "needs firmware_id or location, and not both")
        if self.location is not None and self.signed and not (self.signing_certificate and self.signature):
            raise PydanticCustomError("one_of", "a signed location needs signing_certificate and signature")
        if self.install_at is not None and not self.signed:
            # UpdateFirmware (OCPP 1.6 section 6.19) has no such member: the charger would install at once.
            raise PydanticCustomError("one_of", "install_at needs signed: a plain update is installed at once")
        return self


class LogJobBody(StaffRequest):
    """An upload: ``diagnostics`` (core) or a log of the security extension, to our store or to a ``location``."""

    type: Literal["diagnostics", "DiagnosticsLog", "SecurityLog"]
    location: Location | None = None
    oldest: When | None = None
    latest: When | None = None
    retries: Retries | None = None
    retry_interval_s: RetryInterval | None = None
    expires_in_s: _Lifetime = 3600

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.oldest is not None and self.latest is not None and self.oldest > self.latest:
            raise PydanticCustomError("period_order", "oldest must not be after latest")
        return self


class JobStep(ResponseModel):
    """A word of the charger and when it came."""

    at: Moment
    status: str


class JobView(ResponseModel):
    """A job. ``state``: requested, accepted, running; succeeded, failed, rejected, cancelled or expired.

    ``file_ready``: the charger has reported the upload to our store; ``/file`` gives the link.
    """

    id: str
    station_id: str
    kind: JobKindWord
    state: str
    request_id: int | None
    command_id: str | None
    command_status: str | None
    firmware_id: str | None
    location: str
    file_name: str | None
    file_ready: bool
    log_type: str | None
    charger_status: str | None
    steps: list[JobStep]
    error: str | None
    requested_by: str
    created_at: Moment
    updated_at: Moment
    expires_at: Moment
    finished_at: Moment | None


class JobAnswer(Answer):
    """One job."""

    data: JobView


class JobsData(ResponseModel):
    """``next_cursor``: where the next page begins; null on the last one."""

    jobs: list[JobView]
    next_cursor: str | None


class JobsAnswer(Answer):
    """A page of jobs, newest first."""

    data: JobsData


class Link(ResponseModel):
    """A signed link: whoever has it may use it until it expires. ``headers`` must be sent as they are."""

    url: str
    method: str
    headers: dict[str, str]
    expires_at: Moment


class JobFile(ResponseModel):
    """The file that a job brought."""

    file_name: str
    size_bytes: int
    stored_at: Moment
    link: Link


class JobFileAnswer(Answer):
    """The file that a job brought."""

    data: JobFile


class FirmwareBody(StaffRequest):
    """A file that will be uploaded. ``sha256``: hex; signature and certificate are for SignedUpdateFirmware."""

    name: Annotated[Line, Field(min_length=1, max_length=200)]
    version: Annotated[Line, Field(min_length=1, max_length=50)]
    vendor: Annotated[Line, Field(max_length=100)] | None = None
    model: Annotated[Line, Field(max_length=100)] | None = None
    size_bytes: Annotated[int, Field(strict=True, ge=1, le=5_000_000_000)]
    sha256: Annotated[str, Field(pattern=asks_for(r"^[0-9a-fA-F]{64}$", "64 hexadecimal digits"), examples=["0" * 64])]
    signature: Signature | None = None
    signing_certificate: Pem | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.signature is None) != (self.signing_certificate is None):
            raise PydanticCustomError("one_of", "signature and signing_certificate belong together")
        return self


class FirmwareView(ResponseModel):
    """A file. ``state``: announced (to be uploaded with ``upload``), stored, retired."""

    id: str
    name: str
    version: str
    vendor: str | None
    model: str | None
    size_bytes: int
    sha256: str
    is_signed: bool
    state: str
    created_by: str
    created_at: Moment
    stored_at: Moment | None
    upload: Omit[Link] = None


class FirmwareAnswer(Answer):
    """One file."""

    data: FirmwareView


class FirmwareFilesData(ResponseModel):
    """``next_cursor``: where the next page begins; null on the last one."""

    files: list[FirmwareView]
    next_cursor: str | None


class FirmwareFilesAnswer(Answer):
    """A page of files, newest first."""

    data: FirmwareFilesData


def link_view(link: Any) -> Link:
    """A `SignedLink` on the wire."""
    return Link(url=link.url, method=link.method, headers=link.headers, expires_at=link.expires_at)
