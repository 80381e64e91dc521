"""The issuer's keys over real HTTP: fetched, bounded, and a token of a rotated key accepted without a restart."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from evpower.auth.jwks import http_fetch
from evpower.auth.models import AuthRequest
from evpower.auth.service import from_settings
from evpower.clock import SystemClock
from evpower.config import Settings


class NoReplay:
    async def first_use(self, nonce: str, ttl_s: int) -> bool:
        return True


class Issuer:
    """A Supabase project's auth server, as far as keys go."""

    def __init__(self) -> None:
        self.url = ""
        self.body: bytes = b'{"keys": []}'
        self.status = 200
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return web.Response(body=self.body, status=self.status, content_type="application/json")

    def publish(self, **keys: ec.EllipticCurvePrivateKey) -> None:
        members = [
            {**json.loads(ECAlgorithm.to_jwk(key.public_key())), "kid": kid, "alg": "ES256", "use": "sig"}
            for kid, key in keys.items()
        ]
        self.body = json.dumps({"keys": members}).encode()


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    served = Issuer()
    app = web.Application()
    app.router.add_get("/{path:.*}", served.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield served
    await runner.cleanup()


async def test_a_token_of_a_published_key_is_accepted(issuer: Issuer) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer.publish(k1=key)
    settings = Settings.model_validate({"supabase_url": issuer.url})
    guarded = from_settings(settings, clock=SystemClock(), replay_guard=NoReplay())
    claims: dict[str, Any] = {
        "iss": f"{issuer.url}/auth/v1",
        "aud": "authenticated",
        "sub": "client-1",
        "exp": int(time.time()) + 60,
    }
    token = jwt.encode(claims, key, "ES256", headers={"kid": "k1"})
    for _ in range(3):
        principal = await guarded.authenticate(AuthRequest("GET", "/", "", {"authorization": f"Bearer {token}"}))
        assert principal is not None
        assert principal.subject == "client-1"
    assert issuer.asked == ["/auth/v1/.well-known/jwks.json"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"{}"),
        (302, b"{}"),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b'{"keys": 1}'),
        (200, b'{"keys": [' + b" " * 70_000 + b"]}"),
    ],
)
async def test_anything_but_a_key_set_is_refused(issuer: Issuer, status: int, body: bytes) -> None:
    issuer.status, issuer.body = status, body
    with pytest.raises((httpx.HTTPStatusError, ValueError)):
        await http_fetch(f"{issuer.url}/keys")()
