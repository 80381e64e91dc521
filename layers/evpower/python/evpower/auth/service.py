"""Authentication of HTTP requests: bearer tokens, the master key, HMAC signatures. Logins are in login.py."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from evpower.auth import hmac_signature, own_tokens, tokens
from evpower.auth.jwks import Fetch, JwksCache, http_fetch
from evpower.auth.models import AuthMethod, AuthRequest, Principal, TokenRefused
from evpower.auth.refresh_tokens import revoke_all
from evpower.clock import Clock
from evpower.config import Settings
from evpower.errors import CredentialRefused
from evpower.logging import get_logger

__all__ = ["Authenticator", "HmacSettings", "ReplayGuard", "from_settings", "revoke_all"]

_log = get_logger(__name__)


class ReplayGuard(Protocol):
    """Memory of signatures that were used."""

    async def first_use(self, nonce: str, ttl_s: int) -> bool:
        """True exactly once per nonce within ``ttl_s`` seconds.

        Raises:
            ServiceUnavailable: no memory is reachable, so a replay could not be told from a first use.
        """
        ...


@dataclass(frozen=True, slots=True)
class HmacSettings:
    """Shared secret (empty: HMAC is off) and whether the seed's unbound form is accepted."""

    secret: str
    legacy_enabled: bool


class Authenticator:
    """Finds out who sent a request. The first mechanism that is present decides: token, master key, HMAC."""

    def __init__(
        self,
        *,
        verifiers: Mapping[str, tokens.TokenVerifier],
        master_key: str,
        hmac_settings: HmacSettings,
        replay_guard: ReplayGuard,
        clock: Clock,
    ) -> None:
        self._verifiers = dict(verifiers)
        self._master_digest = hashlib.sha256(master_key.encode()).digest() if master_key else None
        self._hmac = hmac_settings
        self._replay_guard = replay_guard
        self._clock = clock

    async def authenticate(self, request: AuthRequest) -> Principal | None:
        """The caller, or None when the request carries no credential at all.

        Raises:
            CredentialRefused: there is a credential and it does not verify.
            ServiceUnavailable: it cannot be judged now (issuer's keys or replay memory unreachable).
        """
        credential = "Authorization"
        try:
            if authorization := request.headers.get("authorization", "").strip():
                return await self._bearer(authorization)
            credential = "X-API-Key"
            if key := request.headers.get("x-api-key", ""):
                return self._master(key)
            credential = "X-Client-Signature"
            if "x-client-signature" in request.headers:
                return await self._signed(request)
        except TokenRefused as refusal:
            _log.info("credential refused: %s", refusal)
            raise CredentialRefused(credential=credential) from refusal
        return None

    async def _bearer(self, authorization: str) -> Principal:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise TokenRefused("not a bearer token")
        header, claims = tokens.unverified(token.strip())
        verifier = self._verifiers.get(str(claims.get("iss")))
        if verifier is None:
            raise TokenRefused("unknown issuer")
        return await verifier.verify(token.strip(), header)

    def _master(self, key: str) -> Principal:
        # Digests have one length, so the comparison takes the same time for every guess.
        if self._master_digest is None or not hmac.compare_digest(
            self._master_digest, hashlib.sha256(key.encode()).digest()
        ):
            raise TokenRefused("wrong master key")
        return Principal(subject="master", method=AuthMethod.MASTER_KEY)

    async def _signed(self, request: AuthRequest) -> Principal:
        signed = hmac_signature.verify(
            self._hmac.secret, request, now=self._clock.now(), legacy_enabled=self._hmac.legacy_enabled
        )
        # Twice the drift: a timestamp 5 minutes ahead stays valid for 10.
        if not await self._replay_guard.first_use(signed.nonce, 2 * hmac_signature.MAX_DRIFT_S):
            raise TokenRefused("HMAC signature was used before")
        return Principal(subject=signed.client_id, method=AuthMethod.HMAC)


def from_settings(
    settings: Settings, *, clock: Clock, replay_guard: ReplayGuard, jwks_fetch: Fetch | None = None
) -> Authenticator:
    """The product's authenticator. Without ``SUPABASE_URL`` no Supabase token can be judged, so none is accepted."""
    verifiers: dict[str, tokens.TokenVerifier] = {own_tokens.ISSUER: own_tokens.from_settings(settings)}
    if settings.supabase_url:
        issuer = f"{settings.supabase_url.rstrip('/')}/auth/v1"
        verifiers[issuer] = tokens.SupabaseVerifier(
            issuer=issuer,
            audience=settings.supabase_jwt_audience,
            secret=settings.supabase_jwt_secret.get_secret_value(),
            jwks=JwksCache(jwks_fetch or http_fetch(f"{issuer}/.well-known/jwks.json")),
        )
    return Authenticator(
        verifiers=verifiers,
        master_key=settings.master_api_key.get_secret_value(),
        hmac_settings=HmacSettings(settings.hmac_secret.get_secret_value(), settings.hmac_legacy_enabled),
        replay_guard=replay_guard,
        clock=clock,
    )
