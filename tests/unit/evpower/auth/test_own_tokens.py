"""Our own access tokens: what is in them, rotation of secrets, and every way in which one is not good."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from pydantic import ValidationError

from evpower.auth.models import AuthMethod, AuthRequest
from evpower.auth.own_tokens import AUDIENCE, ISSUER, Grant, OwnTokens, key_id
from evpower.auth.service import Authenticator, from_settings
from evpower.clock import SystemClock
from evpower.config import Settings
from evpower.errors import Unauthorized

OLD, NEW, FOREIGN = (f"{name}-secret-of-at-least-thirty-two-bytes" for name in ("old", "new", "foreign"))
GRANT = Grant("client-1", "client", "login-1", "client", "+996700000001")


class NoReplay:
    async def first_use(self, nonce: str, ttl_s: int) -> bool:
        return True


def authenticator(secret: str = NEW, previous: str = "") -> Authenticator:
    settings = Settings.model_validate(
        {"environment": "test", "auth_token_secret": secret, "auth_token_secrets_previous": previous}
    )
    return from_settings(settings, clock=SystemClock(), replay_guard=NoReplay())


async def accepts(token: str, verifier: Authenticator) -> bool:
    request = AuthRequest("GET", "/", "", {"authorization": f"Bearer {token}"})
    try:
        principal = await verifier.authenticate(request)
    except Unauthorized:
        return False
    assert principal is not None
    assert (principal.subject, principal.method, principal.login_id) == ("client-1", AuthMethod.OWN, "login-1")
    return True


def issued(secret: str = NEW, *, now: datetime | None = None) -> str:
    return OwnTokens(secret).issue(GRANT, now or datetime.now(UTC))


async def test_the_claims_that_the_app_reads() -> None:
    header, payload, _ = (part + "=" * (-len(part) % 4) for part in issued().split("."))
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload))
    assert {name: claims[name] for name in ("sub", "type", "role", "phone")} == {
        "sub": "client-1",
        "type": "client",
        "role": "client",
        "phone": "+996700000001",
    }
    assert claims["exp"] - claims["iat"] == 1800
    assert json.loads(base64.urlsafe_b64decode(header))["kid"] == key_id(NEW)
    assert await accepts(issued(), authenticator())


async def test_rotation_keeps_what_the_previous_secret_signed() -> None:
    assert await accepts(issued(OLD), authenticator(NEW, previous=f" {OLD} ,"))
    assert await accepts(issued(NEW), authenticator(NEW, previous=OLD))
    assert not await accepts(issued(OLD), authenticator(NEW))
    assert not await accepts(issued(FOREIGN), authenticator(NEW, previous=OLD))


def forged(secret: str = NEW, *, header: dict[str, Any] | None = None, algorithm: str = "HS256", **changes: Any) -> str:
    now = int(datetime.now(UTC).timestamp())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "client-1", "type": "client", "sid": "login-1", "exp": now + 60}
    claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return jwt.encode(claims, secret, algorithm=algorithm, headers=header or {"kid": key_id(NEW)})


async def test_every_way_of_not_being_good() -> None:
    verifier = authenticator()
    assert await accepts(forged(), verifier)
    now = datetime.now(UTC)
    for bad in (
        issued(now=now - timedelta(minutes=31)),
        forged(FOREIGN),
        forged(header={"kid": key_id(FOREIGN)}),
        forged(header={"x": "no kid"}),
        forged(FOREIGN * 2, algorithm="HS512"),
        forged(aud="authenticated"),
        forged(sub=None),
        forged(sub=""),
        forged(exp=None),
        forged(type="refresh"),
        forged(type=None),
        forged(sid=None),
        jwt.encode({"iss": ISSUER, "sub": "client-1"}, None, algorithm="none"),
        "evr_" + "a" * 43,  # a refresh token is no access token
    ):
        assert not await accepts(bad, verifier), bad


@pytest.mark.parametrize("environment", ["dev", "stage", "production"])
@pytest.mark.parametrize(
    "secrets",
    [{}, {"auth_token_secret": "short"},
     {"auth_token_secret": NEW, "auth_token_secrets_previous": "local-development-secret-do-not-deploy"}],
)  # fmt: skip
def test_no_deployment_starts_with_a_known_or_weak_secret(environment: str, secrets: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="AUTH_TOKEN_SECRET"):
        Settings.model_validate({"environment": environment, **secrets})
    Settings.model_validate({"environment": environment, "auth_token_secret": NEW})
