"""Bodies and answers about a charger's credentials and certificates. No answer but one shows a secret."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from functions.api.schemas.base import Answer, Moment, Omit, ResponseModel, StaffRequest, clean_text, strict_integer
from functions.api.schemas.patterns import asks_for

_PRINTABLE = asks_for(r"^[\x21-\x7e]+$", "printable ASCII without blanks")


class SentCommand(ResponseModel):
    """A command on its way; its result is at ``/admin/stations/{station_id}/commands/{id}``."""

    id: str
    action: str
    status: str
    expires_at: Moment


# --- Credentials --------------------------------------------------------------------------------------------------


class NewKey(ResponseModel):
    """A key that the charger has not used yet; the present one stays good until it has.

    ``state``: by_hand; waiting (for the charger's answer); accepted, reboot_required (it will come back with it);
    unknown (no answer, or an error: it may have it); dead (refused, or never sent).
    """

    id: str
    delivery: str
    state: str
    command_id: str | None
    created_by: str
    created_at: Moment


class CredentialsData(ResponseModel):
    """Profiles: 0 nothing, 1 password, 2 password over TLS, 3 client certificate.

    ``security_profile`` is demanded, ``connection_security`` is what the newest connection has proven.
    """

    station_id: str
    security_profile: int
    requested_security_profile: int | None
    request_command_id: str | None
    connection_security: int | None
    has_key: bool
    key_changed_at: Moment | None
    new_keys: list[NewKey]


class CredentialsAnswer(Answer):
    """What opens a station."""

    data: CredentialsData


class KeyBody(StaffRequest):
    """``send``: a random key, sent to the charger, shown to nobody. ``by_hand``: typed in at the charger.

    ``key`` is for a key that the charger has already; without it one is made, and shown once.
    """

    delivery: Literal["send", "by_hand"] = "send"
    key: Annotated[str, Field(min_length=16, max_length=40, pattern=_PRINTABLE)] | None = None


class KeyData(ResponseModel):
    """``key`` is there only if it was made to be typed in; it cannot be shown again."""

    new_key_id: str
    command: Omit[SentCommand] = None
    key: Omit[str] = None


class KeyAnswer(Answer):
    """A new key."""

    data: KeyData


class ProfileBody(StaffRequest):
    """``send``: the charger is asked to go up (1 to 3). ``record``: it was set at the charger, 0 to 3."""

    security_profile: Annotated[int, strict_integer, Field(ge=0, le=3)]
    delivery: Literal["send", "record"] = "send"


class ProfileData(ResponseModel):
    """The profile that is demanded now, and the one that the charger was asked for."""

    security_profile: int
    requested_security_profile: int | None
    command: Omit[SentCommand] = None


class ProfileAnswer(Answer):
    """A station's security profile."""

    data: ProfileData


# --- Certificates -------------------------------------------------------------------------------------------------


class IssuedCertificate(ResponseModel):
    """A certificate that the charger asked for.

    ``state``: requested (the authority is asked), issued (the charger is told), accepted, rejected (by the charger),
    failed (see ``error``).
    """

    id: str
    state: str
    subject: str | None
    issuer: str | None
    serial_number: str | None
    not_before: Moment | None
    not_after: Moment | None
    command_id: str | None
    error: str | None
    requested_at: Moment
    issued_at: Moment | None
    answered_at: Moment | None
    used_at: Moment | None
    revoked_at: Moment | None


class InstalledRoot(ResponseModel):
    """A root inside the charger. ``subject`` and ``not_after`` are known of those that were installed from here."""

    id: str
    certificate_type: str
    hash_algorithm: str
    issuer_name_hash: str
    issuer_key_hash: str
    serial_number: str
    subject: str | None
    not_after: Moment | None
    seen_at: Moment


class CertificatesData(ResponseModel):
    """``installed`` as the charger last told (``installed_read_at``), and what it accepted since."""

    station_id: str
    issued: list[IssuedCertificate]
    installed: list[InstalledRoot]
    installed_read_at: Moment | None


class CertificatesAnswer(Answer):
    """Certificates of a station."""

    data: CertificatesData


def _pem(text: str) -> str:
    if "PRIVATE KEY" in text:
        raise PydanticCustomError("no_private_key", "must not hold a private key")
    return clean_text(text)


class InstallBody(StaffRequest):
    """A root certificate in PEM, as InstallCertificate carries it."""

    certificate_type: Literal["CentralSystemRootCertificate", "ManufacturerRootCertificate"]
    certificate: Annotated[str, Field(min_length=1, max_length=5500), AfterValidator(_pem)]


class SentData(ResponseModel):
    """Not ``connected``: the commands wait for the charger, until they expire."""

    commands: list[SentCommand]
    connected: bool


class SentAnswer(Answer):
    """Commands on their way."""

    data: SentData


class RevokedAnswer(Answer):
    """A certificate that opens nothing any more."""

    data: IssuedCertificate
