"""Supabase tokens: which are accepted, and every way in which one is not."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from evpower.auth.models import AuthMethod, AuthRequest
from evpower.auth.service import Authenticator, from_settings
from evpower.clock import SystemClock
from evpower.config import Settings
from evpower.errors import ServiceUnavailable, Unauthorized

ISSUER = "https://project.supabase.example/auth/v1"
SECRET = "test-secret-of-at-least-thirty-two-bytes"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
JWKS = {
    "keys": [
        {**json.loads(RSAAlgorithm.to_jwk(RSA_KEY.public_key())), "kid": "rsa-1", "alg": "RS256", "use": "sig"},
        {**json.loads(ECAlgorithm.to_jwk(EC_KEY.public_key())), "kid": "ec-1", "alg": "ES256", "use": "sig"},
    ]
}


class NoReplay:
    async def first_use(self, nonce: str, ttl_s: int) -> bool:
        return True


def authenticator(*, secret: str = SECRET, fetch: Callable[[], Any] | None = None, **settings: Any) -> Authenticator:
    async def published() -> dict[str, Any]:
        return JWKS

    configured = Settings.model_validate(
        {"supabase_url": "https://project.supabase.example", "supabase_jwt_secret": secret, **settings}
    )
    return from_settings(configured, clock=SystemClock(), replay_guard=NoReplay(), jwks_fetch=fetch or published)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    base = {"iss": ISSUER, "aud": "authenticated", "sub": "client-1", "iat": now, "exp": now + 600}
    return {name: value for name, value in {**base, **changes}.items() if value is not None}


def request(token: str) -> AuthRequest:
    return AuthRequest("GET", "/api/v1/profile", "", {"authorization": f"Bearer {token}"})


GOOD = {
    "hs256": lambda: jwt.encode(claims(role="authenticated"), SECRET, "HS256"),
    "rs256": lambda: jwt.encode(claims(), RSA_KEY, "RS256", headers={"kid": "rsa-1"}),
    "es256": lambda: jwt.encode(claims(), EC_KEY, "ES256", headers={"kid": "ec-1"}),
    "audience list": lambda: jwt.encode(claims(aud=["other", "authenticated"]), SECRET, "HS256"),
    "text id": lambda: jwt.encode(claims(sub="demo-user-apple-review"), SECRET, "HS256"),
    "clock a little behind": lambda: jwt.encode(claims(nbf=int(time.time()) + 5), SECRET, "HS256"),
}


@pytest.mark.parametrize("name", GOOD)
async def test_a_good_token_names_its_client(name: str) -> None:
    token = GOOD[name]()
    principal = await authenticator().authenticate(request(token))
    assert principal is not None
    assert principal.method is AuthMethod.SUPABASE
    expected = jwt.decode(token, options={"verify_signature": False})["sub"]
    assert principal.claims() == {"sub": expected, "role": "authenticated"}


def _public_pem() -> bytes:
    return RSA_KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _raw(payload: dict[str, Any]) -> str:
    """A well-signed token with claims that the library would not write."""
    return jwt.api_jws.encode(json.dumps(payload).encode(), SECRET, "HS256")


def _hs256_with_public_key() -> str:
    """The classic confusion: the public key as an HMAC secret (signed by hand, libraries refuse to)."""
    import hashlib
    import hmac

    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    signed = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': 'rsa-1'})}.{part(claims())}"
    mac = hmac.new(_public_pem(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


BAD = {
    "expired": lambda: jwt.encode(claims(exp=int(time.time()) - 60), SECRET, "HS256"),
    "not yet valid": lambda: jwt.encode(claims(nbf=int(time.time()) + 600), SECRET, "HS256"),
    "no expiry": lambda: jwt.encode(claims(exp=None), SECRET, "HS256"),
    "no subject": lambda: jwt.encode(claims(sub=None), SECRET, "HS256"),
    "empty subject": lambda: jwt.encode(claims(sub=" "), SECRET, "HS256"),
    "subject with NUL": lambda: jwt.encode(claims(sub="a\x00b"), SECRET, "HS256"),
    "subject with half a surrogate pair": lambda: jwt.encode(claims(sub="a\ud800b"), SECRET, "HS256"),
    "subject that is a number": lambda: _raw({**claims(), "sub": 7}),
    "other audience": lambda: jwt.encode(claims(aud="anon"), SECRET, "HS256"),
    "no audience": lambda: jwt.encode(claims(aud=None), SECRET, "HS256"),
    "other issuer": lambda: jwt.encode(claims(iss="https://elsewhere.example/auth/v1"), SECRET, "HS256"),
    "no issuer": lambda: jwt.encode(claims(iss=None), SECRET, "HS256"),
    "other secret": lambda: jwt.encode(claims(), "another-secret-of-at-least-32-bytes!", "HS256"),
    "service role": lambda: jwt.encode(claims(role="service_role"), SECRET, "HS256"),
    "anon key": lambda: jwt.encode(claims(role="anon"), SECRET, "HS256"),
    "unsigned": lambda: jwt.encode(claims(), None, "none"),
    "algorithm not accepted": lambda: jwt.encode(claims(), SECRET + SECRET, "HS384"),
    "no kid": lambda: jwt.encode(claims(), RSA_KEY, "RS256"),
    "unknown kid": lambda: jwt.encode(claims(), RSA_KEY, "RS256", headers={"kid": "rsa-2"}),
    "kid of another key": lambda: jwt.encode(claims(), OTHER_RSA_KEY, "RS256", headers={"kid": "rsa-1"}),
    "kid of another kind": lambda: jwt.encode(claims(), RSA_KEY, "RS256", headers={"kid": "ec-1"}),
    "public key as secret": _hs256_with_public_key,
    "malformed": lambda: "aaa.bbb.ccc",
    "not three parts": lambda: "opaque-token",
    "empty": lambda: "",
    "too long": lambda: jwt.encode(claims(padding="x" * 9000), SECRET, "HS256"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_token_is_refused(name: str) -> None:
    with pytest.raises(Unauthorized):
        await authenticator().authenticate(request(BAD[name]()))


async def test_hs256_is_off_without_a_secret() -> None:
    with pytest.raises(Unauthorized):
        await authenticator(secret="").authenticate(request(GOOD["hs256"]()))


async def test_no_supabase_token_is_accepted_without_a_project() -> None:
    with pytest.raises(Unauthorized):
        await authenticator(supabase_url="").authenticate(request(GOOD["hs256"]()))


async def test_unreachable_keys_are_our_failure_not_the_callers() -> None:
    async def down() -> dict[str, Any]:
        raise OSError("no route")

    with pytest.raises(ServiceUnavailable):
        await authenticator(fetch=down).authenticate(request(GOOD["rs256"]()))


async def test_another_scheme_is_refused_and_no_credential_is_nobody() -> None:
    with pytest.raises(Unauthorized):
        await authenticator().authenticate(AuthRequest("GET", "/", "", {"authorization": "Basic dTpw"}))
    assert await authenticator().authenticate(AuthRequest("GET", "/", "", {})) is None


async def test_the_master_key() -> None:
    guarded = authenticator(master_api_key="a-long-master-key")
    principal = await guarded.authenticate(AuthRequest("GET", "/", "", {"x-api-key": "a-long-master-key"}))
    assert principal is not None
    assert principal.is_master
    for guess in ("a-long-master-kez", "a-long-master-key ", "x"):
        with pytest.raises(Unauthorized):
            await guarded.authenticate(AuthRequest("GET", "/", "", {"x-api-key": guess}))


async def test_an_unset_master_key_matches_nothing() -> None:
    with pytest.raises(Unauthorized):
        await authenticator().authenticate(AuthRequest("GET", "/", "", {"x-api-key": "anything"}))
