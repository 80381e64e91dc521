"""Our own access tokens (mobile-api.md §2.2): HS256, 30 minutes, made at login and refresh.

Each secret has a key id computed from it, so that a new AUTH_TOKEN_SECRET needs no name: it signs from now on, and
those in AUTH_TOKEN_SECRETS_PREVIOUS are still accepted until the tokens that they signed have expired.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from evpower.auth.models import AuthMethod, Principal, TokenRefused
from evpower.auth.tokens import decode, subject_of
from evpower.config import Settings

ISSUER = "evpower"
AUDIENCE = "evpower-app"
LIFETIME_S = 1800
_TYPES = frozenset({"client", "admin"})


@dataclass(frozen=True, slots=True)
class Grant:
    """Whom a token is for. ``user_type`` is ``client`` or ``admin``; ``login_id`` is the refresh token's row."""

    subject: str
    user_type: str
    login_id: str
    role: str
    phone: str | None


def key_id(secret: str) -> str:
    """Name of a secret that tells nothing about it."""
    return hmac.new(secret.encode(), b"evpower-key-id", "sha256").hexdigest()[:16]


class OwnTokens:
    """Issues tokens with the first secret and verifies those of any (a verifier of auth/tokens.py)."""

    def __init__(self, *secrets: str) -> None:
        self._current = secrets[0]
        self._by_id = {key_id(secret): secret for secret in secrets}

    def issue(self, grant: Grant, now: datetime) -> str:
        """A signed token that expires in 30 minutes."""
        import jwt

        issued = int(now.timestamp())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": grant.subject,
            "type": grant.user_type,
            "role": grant.role,
            "phone": grant.phone,
            "sid": grant.login_id,
            "iat": issued,
            "exp": issued + LIFETIME_S,
        }
        return jwt.encode(claims, self._current, algorithm="HS256", headers={"kid": key_id(self._current)})

    async def verify(self, token: str, header: Mapping[str, Any]) -> Principal:
        """The caller.

        Raises:
            TokenRefused: the token is not good.
        """
        secret = self._by_id.get(str(header.get("kid")))
        if header.get("alg") != "HS256" or secret is None:
            raise TokenRefused("not signed with a key of ours")
        claims = decode(token, secret, "HS256", ISSUER, AUDIENCE)
        login_id = claims.get("sid")
        if claims.get("type") not in _TYPES or not isinstance(login_id, str):
            raise TokenRefused("not an access token")
        return Principal(subject_of(claims), AuthMethod.OWN, login_id)


def from_settings(settings: Settings) -> OwnTokens:
    """The product's tokens."""
    previous = settings.auth_token_secrets_previous.get_secret_value().split(",")
    return OwnTokens(
        settings.auth_token_secret.get_secret_value(), *(secret.strip() for secret in previous if secret.strip())
    )
