"""Keys and certificates of the stand-in: made on this machine, trusted by nobody else."""

import ipaddress
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from evpower.notifications import web_crypto
from infra.local.processes import LOOPBACK

PROJECT = "local-project"
CLIENT_EMAIL = "push@local-project.iam.example"
APNS_KEY_ID = "LOCALKEY01"
APNS_TEAM_ID = "LOCALTEAM1"
APNS_TOPIC = "kg.example.app"
_FILE = "credentials.json"
_LIFE = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class PushCredentials:
    """PEM texts, but for the VAPID key (base64url); ``folder`` holds the certificate files."""

    folder: str
    service_account_key: str
    apns_key: str
    vapid_key: str

    @property
    def ca_file(self) -> Path:
        return Path(self.folder) / "ca.pem"

    @property
    def certificate_file(self) -> Path:
        return Path(self.folder) / "server.pem"

    @property
    def key_file(self) -> Path:
        return Path(self.folder) / "server.key"

    def environment(self, base_url: str) -> dict[str, str]:
        """The product's settings that send its pushes to the stand-in at ``base_url``."""
        account = {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": "local",
            "private_key": self.service_account_key,
            "client_email": CLIENT_EMAIL,
            "token_uri": f"{base_url}/token",
        }
        return {
            "FCM_SERVICE_ACCOUNT": json.dumps(account),
            "FCM_API_URL": base_url,
            "APNS_KEY": self.apns_key,
            "APNS_KEY_ID": APNS_KEY_ID,
            "APNS_TEAM_ID": APNS_TEAM_ID,
            "APNS_TOPIC": APNS_TOPIC,
            "APNS_API_URL": base_url,
            "VAPID_PRIVATE_KEY": self.vapid_key,
            "VAPID_SUBJECT": "mailto:push@local.example",
            "WEB_PUSH_HOSTS": base_url.removeprefix("https://"),
            "PUSH_CA_FILE": str(self.ca_file),
        }


def credentials(folder: Path) -> PushCredentials:
    """Those kept in ``folder``, or new ones."""
    stored = folder / _FILE
    if stored.exists():
        return PushCredentials(**{**json.loads(stored.read_text()), "folder": str(folder)})
    folder.mkdir(parents=True, exist_ok=True)
    vapid = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    made = PushCredentials(
        str(folder),
        _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        _pem(ec.generate_private_key(ec.SECP256R1())),
        web_crypto.encode(vapid.to_bytes(32, "big")),
    )
    _write_certificates(made)
    stored.write_text(json.dumps(asdict(made)))
    return made


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _write_certificates(made: PushCredentials) -> None:
    """An authority, and a certificate for this machine that it has signed."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "EvPower local push authority")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "push stand-in")])
    ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(ca_id, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(LOOPBACK))]
    certificate = (
        _builder(name, ca_name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    made.ca_file.write_bytes(ca.public_bytes(Encoding.PEM))
    made.certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    made.key_file.write_text(_pem(key))


def _builder(name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _LIFE)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
