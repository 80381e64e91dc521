"""The charger's certificate store (OCPP 1.6 security whitepaper, certificate management). Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID


@dataclass(slots=True)
class Certificates:
    """Root certificates by use, and the charger's own chain."""

    roots: dict[str, list[x509.Certificate]] = field(default_factory=dict)
    own: list[x509.Certificate] = field(default_factory=list)
    wanted_key: ec.EllipticCurvePrivateKey | None = None
    """Key of the signing request that is under way; it never leaves the charger."""

    def request(self, name: str, organisation: str = "") -> str:
        """Make a new key and its signing request (PEM)."""
        self.wanted_key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        if organisation:
            subject.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
        return builder.sign(self.wanted_key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()

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
        if self.wanted_key is not None and found[0].public_key() != self.wanted_key.public_key():
            return "Rejected"  # it certifies another key than the one that was asked for
        self.own, self.wanted_key = found, None
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
