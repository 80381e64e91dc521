"""One-time codes: policy, making, hashing, comparing. Pure but for the random source."""

import hashlib
import hmac
import secrets

from evpower.config import Settings

CODE_DIGITS = 6
LIFETIME_S = 300
RESEND_AFTER_S = 60
MAX_ATTEMPTS = 3
MAX_CODES_PER_HOUR = 6
"""Codes for one phone: with 3 attempts each, guessing a phone's code needs about 6 years on average."""


def new_code() -> str:
    """6 random digits."""
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}d}"


def pepper_of(settings: Settings) -> bytes:
    """Key of the hashes: OTP_PEPPER, else derived from the token secret."""
    own = settings.otp_pepper.get_secret_value()
    return hmac.digest((own or settings.auth_token_secret.get_secret_value()).encode(), b"otp-pepper", "sha256")


def hash_code(pepper: bytes, phone: str, code: str) -> bytes:
    """What is kept of a code. Keyed, because a million plain hashes are computed in a second."""
    return hmac.digest(pepper, f"{phone}:{code}".encode(), hashlib.sha256)


def same(expected: bytes, given: bytes) -> bool:
    """Comparison whose time tells nothing."""
    return hmac.compare_digest(expected, given)
