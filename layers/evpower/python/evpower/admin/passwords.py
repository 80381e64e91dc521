"""Passwords of staff accounts: scrypt (RFC 7914) with a salt of their own. Nothing but the hash is kept."""

import base64
import hashlib
import secrets

_N, _R, _P = 2**15, 8, 1  # 32 MB and some 100 ms a guess
_MAX_MEMORY = 64 * 1024 * 1024


def hash_password(password: str) -> str:
    """``scrypt$n$r$p$salt$hash`` (base64). Takes about 100 ms: call it in a thread."""
    salt = secrets.token_bytes(16)
    key = hashlib.scrypt(password.encode(), salt=salt, n=_N, r=_R, p=_P, maxmem=_MAX_MEMORY)
    encoded = (base64.b64encode(part).decode() for part in (salt, key))
    return "$".join(("scrypt", str(_N), str(_R), str(_P), *encoded))
