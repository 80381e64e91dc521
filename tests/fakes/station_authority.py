"""An authority for chargers' certificates, signing requests good and bad, and settings that use it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def name(common: str, organisation: str | None = None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if organisation is not None:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(parts)


@dataclass(frozen=True)
class TestAuthority:
    """A root, or an authority below one."""

    __test__ = False

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    above: tuple[x509.Certificate, ...] = ()

    @staticmethod
    def make(common: str = "Test Root", *, days: float = 3650, below: "TestAuthority | None" = None,
             ca: bool = True, begins: datetime | None = None) -> "TestAuthority":  # fmt: skip
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = below.certificate.subject if below else name(common)
        begin = begins or datetime.now(UTC) - timedelta(hours=1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(common))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        certificate = builder.sign(below.key if below else key, hashes.SHA256())
        above = (below.certificate, *below.above) if below else ()
        return TestAuthority(certificate, key, above)

    @property
    def pem(self) -> str:
        return pem(self.certificate)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "certificate_authority": "local",
            "ca_certificate": "".join(pem(item) for item in (self.certificate, *self.above)),
            "ca_key": self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        }


def pem(item: x509.Certificate | x509.CertificateSigningRequest) -> str:
    return item.public_bytes(Encoding.PEM).decode()


def csr(common: str | None = "SN-station-1", *, key: Key | None = None, organisation: str | None = None,
        algorithm: Any = hashes.SHA256) -> str:  # fmt: skip
    """A signing request (PEM)."""
    subject = x509.Name([]) if common is None else name(common, organisation)
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    signer = key or ec.generate_private_key(ec.SECP256R1())
    return pem(builder.sign(signer, algorithm() if algorithm else None))
