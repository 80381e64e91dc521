"""Message encryption for web push: RFC 8291 on top of aes128gcm (RFC 8188), and base64url. Pure but for randomness."""

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

RECORD_SIZE = 4096
MAX_PLAIN_BYTES = 3993
"""What fits into one record that every push service takes (RFC 8291 §4)."""
_LAST_RECORD = b"\x02"  # RFC 8188 §2: delimiter of the last record
_POINT_BYTES = 65
_AUTH_BYTES = 16


def encode(value: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes of base64url text, padded or not.

    Raises:
        ValueError: it is something else.
    """
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("not base64url") from error


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    """Uncompressed form of a public key."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def read_keys(p256dh: str, auth: str) -> tuple[ec.EllipticCurvePublicKey, bytes]:
    """A subscription's public key and secret.

    Raises:
        ValueError: not a point of P-256, or not 16 bytes.
    """
    public, secret = decode(p256dh), decode(auth)
    if len(public) != _POINT_BYTES or len(secret) != _AUTH_BYTES:
        raise ValueError("wrong length")
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public), secret


def _hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt, info=info).derive(secret)


def _content_key(shared: bytes, auth: bytes, receiver: bytes, sender: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """Key and nonce of the only record (RFC 8291 §3.4)."""
    secret = _hkdf(shared, auth, b"WebPush: info\x00" + receiver + sender, 32)
    return (
        _hkdf(secret, salt, b"Content-Encoding: aes128gcm\x00", 16),
        _hkdf(secret, salt, b"Content-Encoding: nonce\x00", 12),
    )


def encrypt(
    plain: bytes,
    p256dh: str,
    auth: str,
    *,
    sender: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """Body of a push message for one subscription. ``sender`` and ``salt`` are fresh unless a test fixes them.

    Raises:
        ValueError: unusable keys, or more than ``MAX_PLAIN_BYTES``.
    """
    if len(plain) > MAX_PLAIN_BYTES:
        raise ValueError(f"{len(plain)} bytes do not fit into a push message")
    receiver, secret = read_keys(p256dh, auth)
    sender = sender or ec.generate_private_key(ec.SECP256R1())
    salt = salt or os.urandom(16)
    ours = point(sender.public_key())
    key, nonce = _content_key(sender.exchange(ec.ECDH(), receiver), secret, point(receiver), ours, salt)
    header = salt + RECORD_SIZE.to_bytes(4, "big") + len(ours).to_bytes(1, "big") + ours
    return header + AESGCM(key).encrypt(nonce, plain + _LAST_RECORD, None)


def decrypt(body: bytes, receiver: ec.EllipticCurvePrivateKey, auth: bytes) -> bytes:
    """What :func:`encrypt` was given; the browser's half, for whoever stands in for one.

    Raises:
        ValueError: not a message for this subscription.
    """
    salt, length = body[:16], body[20] if len(body) > 20 else 0
    sender, sealed = body[21 : 21 + length], body[21 + length :]
    theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender)
    key, nonce = _content_key(receiver.exchange(ec.ECDH(), theirs), auth, point(receiver.public_key()), sender, salt)
    try:
        padded = AESGCM(key).decrypt(nonce, sealed, None)
    except InvalidTag as error:
        raise ValueError("not encrypted for this subscription") from error
    return padded.rstrip(b"\x00").removesuffix(_LAST_RECORD)
