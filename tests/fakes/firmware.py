"""A maker of chargers who signs its firmware (security whitepaper edition 3, section 4.9)."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Maker:
    """The maker's key."""

    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    @staticmethod
    def create(kind: str = "ec") -> "Maker":
        """With an elliptic curve's key (``ec``) or an ``rsa`` one."""
        return Maker(ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048))

    def sign(self, image: bytes) -> str:
        """The signature in base64."""
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            signature = self.key.sign(image, ec.ECDSA(SHA256()))
        else:
            pss = padding.PSS(padding.MGF1(SHA256()), padding.PSS.DIGEST_LENGTH)
            signature = self.key.sign(image, pss, SHA256())
        return base64.b64encode(signature).decode()

    @property
    def certificate(self) -> str:
        """The signing certificate (PEM)."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Maker of chargers")])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.key.public_key())
        builder = builder.serial_number(1).not_valid_before(now - timedelta(days=1))
        made = builder.not_valid_after(now + timedelta(days=365)).sign(self.key, SHA256())
        return made.public_bytes(Encoding.PEM).decode()
