"""The charger's certificate store (OCPP 1.6 security whitepaper, certificate management). Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


@dataclass(slots=True)
class Certificates:
    """Root certificates by use, and the charger's own chain."""

    roots: dict[str, list[x509.Certificate]] = field(default_factory=dict)
    own: list[x509.Certificate] = field(default_factory=list)

    def install(self, use: str, pem: str) -> str:
        """InstallCertificate status: Accepted, or Rejected for what is no certificate."""
        found = read(pem)
        if len(found) != 1:
            return "Rejected"
        kept = self.roots.setdefault(use, [])
        if found[0] not in kept:
            kept.append(found[0])
        return "Accepted"

    def sign(self, chain: str) -> str:
        """CertificateSigned status."""
        found = read(chain)
        if not found:
            return "Rejected"
        self.own = found
        return "Accepted"

    def ids(self, use: str) -> dict[str, Any]:
        """GetInstalledCertificateIds answer."""
        found = [hash_data(certificate, "SHA256") for certificate in self.roots.get(use, [])]
        return {"status": "Accepted", "certificateHashData": found} if found else {"status": "NotFound"}

    def delete(self, wanted: dict[str, Any]) -> str:
        """DeleteCertificate status: Accepted or NotFound."""
        for kept in self.roots.values():
            for certificate in kept:
                if hash_data(certificate, str(wanted["hashAlgorithm"])) == wanted:
                    kept.remove(certificate)
                    return "Accepted"
        return "NotFound"


def read(pem: str) -> list[x509.Certificate]:
    """The certificates of a PEM text; none when it is not one."""
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        return []


def hash_data(root: x509.Certificate, algorithm: str) -> dict[str, str]:
    """CertificateHashDataType of a self-signed root: its issuer's name and key are its own."""
    key = root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def digest(data: bytes) -> str:
        return hashlib.new(algorithm.lower(), data).hexdigest()

    return {
        "hashAlgorithm": algorithm,
        "issuerNameHash": digest(root.issuer.public_bytes()),
        "issuerKeyHash": digest(key),
        "serialNumber": f"{root.serial_number:x}",
    }
