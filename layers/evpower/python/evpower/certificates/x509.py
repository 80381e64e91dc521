"""Reading of requests and certificates (RFC 2986, RFC 5280; security whitepaper section 2.6). Pure.

``cryptography`` is imported where it is used: processes that meet no certificate do not pay for it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from evpower.certificates.models import CertificateFacts, CsrFacts, HashData

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509

MAX_CSR_CHARS = 5500
MAX_CERTIFICATE_CHARS = 5500
MAX_CHAIN_CHARS = 10_000
_MIN_RSA_BITS, _MAX_RSA_BITS = 2048, 8192
_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_HASHES = frozenset({"sha256", "sha384", "sha512"})


class NotUsable(ValueError):
    """A request or certificate that must not be used; the text is a sentence for operators."""


def read_csr(text: str, names: frozenset[str], organisation: str = "") -> CsrFacts:
    """Check a charger's signing request.

    Args:
        text: PEM.
        names: what its common name may be: the station's serial number or id.
        organisation: what it must name (configuration key CpoName); empty: anything.

    Raises:
        NotUsable: unreadable, weak, not signed by its own key, or for somebody else.
    """
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import NameOID

    if len(text) > MAX_CSR_CHARS:
        raise NotUsable(f"the request is longer than {MAX_CSR_CHARS} characters")
    try:
        csr = x509.load_pem_x509_csr(text.encode())
        _check_key(csr.public_key())
        _check_hash(csr.signature_hash_algorithm)
        if not csr.is_signature_valid:
            raise NotUsable("the request is not signed by its own key")
        common = [str(item.value) for item in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        named = [str(item.value) for item in csr.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
        data = csr.public_bytes(Encoding.DER)
    except NotUsable:
        raise
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise NotUsable(f"the request cannot be read: {error}"[:200]) from error
    if len(common) != 1 or common[0] not in names:
        raise NotUsable(f"the request is for {', '.join(common)[:60] or 'nobody'}, not for this station")
    if organisation and organisation not in named:
        raise NotUsable(f"the request does not name the organisation {organisation} (CpoName)")
    return CsrFacts(common[0], named[0] if named else "", hashlib.sha256(data).hexdigest())


def _check_key(key: object) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(key, rsa.RSAPublicKey):
        if not _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
            raise NotUsable(f"an RSA key has {_MIN_RSA_BITS} to {_MAX_RSA_BITS} bits, not {key.key_size}")
    elif isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            raise NotUsable(f"the curve {key.curve.name} is not one of {', '.join(sorted(_CURVES))}")
    else:
        raise NotUsable("the key is neither RSA nor on an elliptic curve")


def _check_hash(algorithm: object) -> None:
    name = getattr(algorithm, "name", None)
    if name not in _HASHES:
        raise NotUsable(f"it is signed with {name or 'an unknown hash'}: SHA-256 or better is needed")


def read_root(text: str, now: datetime) -> CertificateFacts:
    """Check a root certificate before it is installed in a charger.

    Raises:
        NotUsable: not exactly one certificate, not an authority's, weak, or not valid now.
    """
    from cryptography import x509

    if len(text) > MAX_CERTIFICATE_CHARS:
        raise NotUsable(f"the certificate is longer than {MAX_CERTIFICATE_CHARS} characters")
    found = certificates(text)
    if len(found) != 1:
        raise NotUsable("exactly one certificate in PEM is needed")
    certificate = found[0]
    try:
        _check_key(certificate.public_key())
        _check_hash(certificate.signature_hash_algorithm)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        read = facts(certificate)
    except x509.ExtensionNotFound:
        constraints = None
    except NotUsable:
        raise
    except Exception as error:  # a hostile certificate fails in many ways
        raise NotUsable(f"the certificate cannot be read: {error}"[:200]) from error
    if constraints is None or not constraints.ca:
        raise NotUsable("the certificate is not an authority's (basicConstraints)")
    if not read.not_before <= now < read.not_after:
        raise NotUsable("the certificate is not valid now")
    return read


def certificates(text: str) -> list[x509.Certificate]:
    """The certificates of a PEM text in their order; none when it holds no readable one."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        return []


def facts(certificate: x509.Certificate) -> CertificateFacts:
    """What the certificate says of itself. Raises ValueError for a broken one."""
    return CertificateFacts(
        subject=certificate.subject.rfc4514_string()[:500],
        issuer=certificate.issuer.rfc4514_string()[:500],
        serial_number=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def serial_text(text: str) -> str:
    """A serial number as load balancers and chargers write it, in our form: ``00:AB`` becomes ``ab``."""
    return text.strip().lower().replace(":", "").removeprefix("0x").lstrip("0") or "0"


def hash_data(root: x509.Certificate, algorithm: str = "SHA256") -> HashData:
    """How OCPP names a self-signed root: its issuer's name and key are its own (RFC 6960 CertID)."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = root.public_key()
    info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return HashData(
        algorithm,
        hashlib.new(algorithm.lower(), root.issuer.public_bytes()).hexdigest(),
        hashlib.new(algorithm.lower(), info).hexdigest(),
        f"{root.serial_number:x}",
    )
