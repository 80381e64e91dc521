"""The authority that signs chargers' certificates in the local system: made on this machine, trusted by nobody else."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_LIFE = timedelta(days=3650)
_CERTIFICATE, _KEY = "ca.pem", "ca.key"


def environment(folder: Path) -> dict[str, str]:
    """The product's settings that sign with the authority kept in ``folder``; a new one when there is none."""
    if not (folder / _KEY).exists():
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key = _make()
        (folder / _CERTIFICATE).write_text(certificate)
        (folder / _KEY).touch(mode=0o600)
        (folder / _KEY).write_text(key)
    return {
        "CERTIFICATE_AUTHORITY": "local",
        "CA_CERTIFICATE": (folder / _CERTIFICATE).read_text(),
        "CA_KEY": (folder / _KEY).read_text(),
    }


def _make() -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "EvPower local station authority")])
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "encipher_only", "decipher_only"),
        False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return certificate.public_bytes(Encoding.PEM).decode(), text
