"""The cache of an issuer's keys: one fetch at a time, one more for an unknown kid, no logout by an outage."""

import asyncio
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from evpower.auth.jwks import COOL_DOWN_S, FAILURE_COOL_DOWN_S, TTL_S, JwksCache
from evpower.errors import ServiceUnavailable


def public_jwk(kid: str) -> dict[str, Any]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    jwk: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
    return {**jwk, "kid": kid, "alg": "RS256", "use": "sig"}


JWK_A = public_jwk("a")
JWK_B = public_jwk("b")


class Issuer:
    """Counts fetches; ``keys`` is what it publishes now, ``down`` makes it fail."""

    def __init__(self) -> None:
        self.keys = [JWK_A]
        self.down = False
        self.fetches = 0
        self.time = 1000.0
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self) -> dict[str, Any]:
        self.fetches += 1
        await self.gate.wait()
        if self.down:
            raise OSError("no route")
        return {"keys": self.keys}

    def cache(self) -> JwksCache:
        return JwksCache(self.fetch, now=lambda: self.time)


async def test_the_keys_are_fetched_once_an_hour() -> None:
    issuer = Issuer()
    cache = issuer.cache()
    for _ in range(3):
        assert await cache.key("a") is not None
    assert issuer.fetches == 1
    issuer.time += TTL_S
    assert await cache.key("a") is not None
    assert issuer.fetches == 2


async def test_concurrent_requests_share_one_fetch() -> None:
    issuer = Issuer()
    cache = issuer.cache()
    issuer.gate.clear()
    waiting = [asyncio.create_task(cache.key("a")) for _ in range(20)]
    await asyncio.sleep(0)
    issuer.gate.set()
    assert all(await asyncio.gather(*waiting))
    assert issuer.fetches == 1


async def test_a_rotated_key_is_found_by_one_more_fetch() -> None:
    issuer = Issuer()
    cache = issuer.cache()
    await cache.key("a")
    issuer.keys = [JWK_B]
    issuer.time += COOL_DOWN_S
    assert await cache.key("b") is not None
    assert await cache.key("a") is None, "a key that the issuer withdrew is no key any more"


async def test_invented_kids_do_not_become_a_flood_of_fetches() -> None:
    issuer = Issuer()
    cache = issuer.cache()
    await cache.key("a")
    issuer.time += COOL_DOWN_S
    for number in range(50):
        assert await cache.key(f"invented-{number}") is None
    assert issuer.fetches == 2


async def test_known_keys_stay_valid_while_the_issuer_is_away() -> None:
    issuer = Issuer()
    cache = issuer.cache()
    await cache.key("a")
    issuer.down = True
    issuer.time += 3 * TTL_S
    assert await cache.key("a") is not None


async def test_an_unknown_key_cannot_be_judged_while_the_issuer_is_away() -> None:
    issuer = Issuer()
    issuer.down = True
    cache = issuer.cache()
    with pytest.raises(ServiceUnavailable):
        await cache.key("a")
    with pytest.raises(ServiceUnavailable):
        await cache.key("a")
    assert issuer.fetches == 1, "the second question came within the pause after a failure"
    issuer.down = False
    issuer.time += FAILURE_COOL_DOWN_S
    assert await cache.key("a") is not None


async def test_keys_that_are_not_for_signing_are_left_out() -> None:
    issuer = Issuer()
    issuer.keys = [{**JWK_A, "use": "enc"}, {"kid": "sym", "kty": "oct", "k": "c2VjcmV0"}, {"kty": "RSA"}, JWK_B]
    cache = issuer.cache()
    assert await cache.key("b") is not None
    assert await cache.key("a") is None
    assert await cache.key("sym") is None
