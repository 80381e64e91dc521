"""Who signs the chargers' certificates: the port, and an authority of our own whose key is a setting."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from evpower.certificates import x509 as reading
from evpower.certificates.models import Issued
from evpower.config import Settings

if TYPE_CHECKING:
    from cryptography import x509

_BACKDATED = timedelta(minutes=5)  # chargers' clocks are behind


class AuthorityAway(Exception):
    """No answer for now. ``reference``: the authority's name of the order, if it has taken one."""

    def __init__(self, reason: str, reference: str | None = None) -> None:
        super().__init__(reason)
        self.reference = reference


class AuthorityRefused(Exception):
    """The authority will not sign this request, now or later."""


@dataclass(frozen=True, slots=True)
class SigningOrder:
    """What is to be signed. ``id`` makes a repeated order the same order; ``csr`` has been checked."""

    id: str
    csr: str
    common_name: str
    organisation: str
    reference: str | None = None


class Authority(Protocol):
    """Port: signs client certificates of chargers."""

    async def sign(self, order: SigningOrder, now: datetime) -> Issued:
        """The signed certificate.

        Raises:
            AuthorityAway: ask again later, with the reference that it carries.
            AuthorityRefused: never.
        """
        ...

    async def revoke(self, serial_number: str) -> None:
        """Tell the authority, for its revocation list. Raises AuthorityAway, AuthorityRefused."""
        ...


def authority_from(settings: Settings) -> Authority | None:
    """The configured authority; None: requests are refused."""
    if settings.certificate_authority == "local":
        return LocalAuthority(
            settings.ca_certificate, settings.ca_key.get_secret_value(), days=settings.certificate_days
        )
    if settings.certificate_authority == "aws":
        from evpower.certificates.aws_authority import AwsPrivateAuthority

        return AwsPrivateAuthority(settings)
    return None


class LocalAuthority:
    """Signs with a key of our own. Revocation is ours alone: the gate knows every certificate."""

    def __init__(self, certificate: str, key: str, *, days: int) -> None:
        """``certificate``: PEM of the authority, then of those above it."""
        self._certificate = certificate
        self._key = key
        self._days = days

    async def sign(self, order: SigningOrder, now: datetime) -> Issued:
        """As the port says; AuthorityRefused also when the authority itself is no longer valid."""
        return await asyncio.to_thread(self._sign, order, now)

    async def revoke(self, serial_number: str) -> None:
        """Nothing to tell."""

    def _sign(self, order: SigningOrder, now: datetime) -> Issued:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, rsa
        from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

        above = reading.certificates(self._certificate)
        key = load_pem_private_key(self._key.encode(), None)
        if not above or not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise AuthorityRefused("CA_CERTIFICATE or CA_KEY cannot be used")
        authority = above[0]
        if key.public_key() != authority.public_key():
            raise AuthorityRefused("CA_KEY is not the key of CA_CERTIFICATE")
        until = min(now + timedelta(days=self._days), authority.not_valid_after_utc)
        if not authority.not_valid_before_utc <= now < until:
            raise AuthorityRefused("the certificate of our authority is not valid now")
        csr = x509.load_pem_x509_csr(order.csr.encode())
        public = csr.public_key()
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, order.common_name)]
        if order.organisation:
            subject.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, order.organisation))
        # Only the names and the key are taken from the request: what a certificate may be used for is ours to say.
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(subject))
            .issuer_name(authority.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(now - _BACKDATED, authority.not_valid_before_utc))
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(encipher=isinstance(public, rsa.RSAPublicKey)), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()),  # type: ignore[arg-type]
                critical=False,
            )
        )
        leaf = builder.sign(key, hashes.SHA256())
        between = [item for item in above if item.subject != item.issuer]
        chain = b"".join(item.public_bytes(Encoding.PEM) for item in (leaf, *between)).decode()
        return issued(chain)


def _usage(*, encipher: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=encipher,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def issued(chain: str) -> Issued:
    """A chain as it goes to the charger, with the facts of its leaf. Raises AuthorityRefused: too long, unreadable."""
    found = reading.certificates(chain)
    if not found:
        raise AuthorityRefused("the authority's answer is no certificate")
    if len(chain) > reading.MAX_CHAIN_CHARS:
        raise AuthorityRefused(f"the chain is longer than CertificateSigned carries ({reading.MAX_CHAIN_CHARS})")
    return Issued(chain, reading.facts(found[0]))
