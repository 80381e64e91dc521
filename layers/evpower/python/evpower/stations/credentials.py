"""AuthorizationKey of a charger (OCPP security whitepaper, profile 1 and 2): made, hashed, checked.

Keys are 20 random bytes, so nobody can guess one from its hash: a salted fast hash is enough. A slow one (scrypt)
would only help an attacker, because every reconnect storm would cost the socket tier minutes of CPU before it may
say no. What is stored is ``blake2b$<salt>$<digest>``.
"""

import hashlib
import hmac
import secrets

_SCHEME = "blake2b"
_KEY_BYTES = 20
_MINIMUM = 16  # characters, as the whitepaper asks
_MAXIMUM = 40
_HEX = frozenset("0123456789abcdefABCDEF")


def new_authorization_key() -> str:
    """A random key as 40 hexadecimal digits, the form that ChangeConfiguration carries."""
    return secrets.token_hex(_KEY_BYTES)


def hash_authorization_key(key: str) -> str:
    """Salted hash to store.

    Raises:
        ValueError: shorter than 16 or longer than 40 characters.
    """
    if not _MINIMUM <= len(key) <= _MAXIMUM:
        raise ValueError(f"an AuthorizationKey has {_MINIMUM} to {_MAXIMUM} characters")
    salt = secrets.token_bytes(16)
    return f"{_SCHEME}${salt.hex()}${_digest(key, salt)}"


def verify_authorization_key(stored: str | None, presented: str) -> bool:
    """Whether ``presented`` is the key behind ``stored``; takes the same time for every wrong key.

    Hexadecimal keys compare in any letter case. A station without a key, or with a hash of another scheme, never
    matches.
    """
    scheme, _, rest = (stored or "").partition("$")
    salt, _, digest = rest.partition("$")
    try:
        expected = _digest(presented, bytes.fromhex(salt))
    except ValueError:
        return False
    return hmac.compare_digest(expected.encode(), digest.encode()) and scheme == _SCHEME


def _digest(key: str, salt: bytes) -> str:
    canonical = key.lower() if len(key) == 2 * _KEY_BYTES and _HEX.issuperset(key) else key
    return hashlib.blake2b(canonical.encode(errors="surrogatepass"), salt=salt, digest_size=32).hexdigest()
