"""Certificates of chargers, their requests, and the roots inside them. Serial numbers: lower-case hexadecimal."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self


class CertificateState(StrEnum):
    """Column ``station_certificates.state``."""

    REQUESTED = "requested"
    ISSUED = "issued"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    FAILED = "failed"


class CertificateUse(StrEnum):
    """Roots inside a charger (security whitepaper, CertificateUseEnumType)."""

    CENTRAL_SYSTEM = "CentralSystemRootCertificate"
    MANUFACTURER = "ManufacturerRootCertificate"


@dataclass(frozen=True, slots=True)
class CsrFacts:
    """A request that may be signed. ``organisation``: what it names, empty when nothing."""

    common_name: str
    organisation: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a certificate says of itself."""

    subject: str
    issuer: str
    serial_number: str
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Issued:
    """A signed certificate: PEM, leaf first, without the root, and the leaf's facts."""

    chain: str
    facts: CertificateFacts


@dataclass(frozen=True, slots=True)
class StationCertificate:
    """A row of ``station_certificates`` without its long texts."""

    id: str
    station_id: str
    state: CertificateState
    subject: str | None
    issuer: str | None
    serial_number: str | None
    not_before: datetime | None
    not_after: datetime | None
    command_id: str | None
    sends: int
    attempts: int
    error: str | None
    requested_at: datetime
    issued_at: datetime | None
    answered_at: datetime | None
    used_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        return cls(**{**{name: row[name] for name in cls.__slots__}, "state": CertificateState(row["state"])})


@dataclass(frozen=True, slots=True)
class HashData:
    """CertificateHashDataType: how OCPP names a certificate."""

    hash_algorithm: str
    issuer_name_hash: str
    issuer_key_hash: str
    serial_number: str

    @classmethod
    def from_message(cls, data: Mapping[str, Any]) -> Self:
        """As the charger wrote it: it gets its own spelling back."""
        names = ("hashAlgorithm", "issuerNameHash", "issuerKeyHash", "serialNumber")
        return cls(*(str(data.get(name, "")) for name in names))

    def names_the_same(self, other: "HashData") -> bool:
        """Equal but for letter case and zeros ahead of the serial number."""
        return self.plain() == other.plain()

    def plain(self) -> tuple[str, ...]:
        """For comparing."""
        serial = self.serial_number.lower().lstrip("0")
        return self.hash_algorithm, self.issuer_name_hash.lower(), self.issuer_key_hash.lower(), serial

    def message(self) -> dict[str, str]:
        return {
            "hashAlgorithm": self.hash_algorithm,
            "issuerNameHash": self.issuer_name_hash,
            "issuerKeyHash": self.issuer_key_hash,
            "serialNumber": self.serial_number,
        }


@dataclass(frozen=True, slots=True)
class InstalledCertificate:
    """A root inside a charger. ``subject`` and ``not_after`` are known of those that were installed from here."""

    id: str
    certificate_type: str
    hash_data: HashData
    subject: str | None
    not_after: datetime | None
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Expiring:
    """A certificate that crosses a threshold; ``kind``: issued, installed."""

    kind: str
    id: str
    station_id: str
    subject: str | None
    not_after: datetime
    warned_days: int | None
