"""Bearer tokens: one verifier per issuer. A new kind of token is one more verifier in the table."""

from collections.abc import Mapping
from typing import Any, Protocol

from evpower.auth.jwks import JwksCache
from evpower.auth.models import AuthMethod, Principal, TokenExpired, TokenRefused

LEEWAY_S = 10
MAX_TOKEN_CHARS = 8192
MAX_SUBJECT_CHARS = 128
_ASYMMETRIC = {"RS256": "RSA", "ES256": "EC"}


class TokenVerifier(Protocol):
    """Verifies the tokens of one issuer."""

    async def verify(self, token: str, header: Mapping[str, Any]) -> Principal:
        """The caller. ``header`` is the token's own, not yet verified.

        Raises:
            TokenRefused: the token is not good.
            ServiceUnavailable: it cannot be judged now.
        """
        ...


class SupabaseVerifier:
    """Supabase Auth tokens: RS256 and ES256 by the project's JWKS, HS256 while a shared secret is configured.

    The algorithm is pinned by the kind of key: a public key is never used as an HMAC secret, and a token without a
    ``kid`` never gets "the first key" (mobile-api.md §13, item 13).
    """

    def __init__(self, *, issuer: str, audience: str, secret: str, jwks: JwksCache | None) -> None:
        self._issuer = issuer
        self._audience = audience
        self._secret = secret
        self._jwks = jwks

    async def verify(self, token: str, header: Mapping[str, Any]) -> Principal:
        algorithm = header.get("alg")
        if algorithm == "HS256":
            if not self._secret:
                raise TokenRefused("HS256 without a configured secret")
            return self._principal(decode(token, self._secret, "HS256", self._issuer, self._audience))
        kind = _ASYMMETRIC.get(str(algorithm))
        kid = header.get("kid")
        if kind is None or self._jwks is None:
            raise TokenRefused(f"algorithm {algorithm!r} is not accepted")
        if not isinstance(kid, str) or not kid:
            raise TokenRefused("no kid")
        key = await self._jwks.key(kid)
        if key is None:
            raise TokenRefused("unknown kid")
        if key.key_type != kind or key.algorithm_name != algorithm:
            raise TokenRefused("the key is for another algorithm")
        return self._principal(decode(token, key, str(algorithm), self._issuer, self._audience))

    @staticmethod
    def _principal(claims: Mapping[str, Any]) -> Principal:
        # Use case: the project's anon and service keys are JWTs of the same issuer; they are no person.
        if claims.get("role", "authenticated") != "authenticated":
            raise TokenRefused(f"role {claims.get('role')!r} is not a signed-in user")
        return Principal(subject=subject_of(claims), method=AuthMethod.SUPABASE)


def subject_of(claims: Mapping[str, Any]) -> str:
    """The ``sub`` claim; a token without one names nobody (and must not become the text "None")."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject.strip() or len(subject) > MAX_SUBJECT_CHARS:
        raise TokenRefused("no usable sub")
    if not subject.isprintable():  # neither NUL nor half a surrogate pair can be stored
        raise TokenRefused("no usable sub")
    return subject


def unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token before anything is verified: only to choose a verifier.

    Raises:
        TokenRefused: not a JWT.
    """
    import jwt

    if len(token) > MAX_TOKEN_CHARS:
        raise TokenRefused("token too long")
    try:
        parts = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise TokenRefused(f"not a JWT: {error}") from error
    return parts["header"], parts["payload"]


def decode(token: str, key: Any, algorithm: str, issuer: str, audience: str) -> dict[str, Any]:
    """The claims of a token whose signature, issuer, audience and expiry are good.

    Raises:
        TokenExpired: all but its time is good.
        TokenRefused: they are not.
    """
    import jwt

    def claims(*, whatever_time: bool = False) -> dict[str, Any]:
        found: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            issuer=issuer,
            audience=audience,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iss", "aud", "sub"], "verify_exp": not whatever_time},
        )
        return found

    try:
        try:
            return claims()
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired(str(error), subject_of(claims(whatever_time=True))) from error
    except (jwt.PyJWTError, ValueError) as error:
        raise TokenRefused(str(error)) from error
