"""HMAC signatures: what they bind, how long they live, and that they work once."""

import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.auth import hmac_signature
from evpower.auth.models import AuthMethod, AuthRequest, TokenRefused
from evpower.auth.service import Authenticator, HmacSettings
from evpower.clock import FrozenClock
from evpower.errors import Unauthorized

SECRET = "shared-secret"
CLOCK = FrozenClock()
NOW_MS = int(CLOCK.now().timestamp() * 1000)


def unsigned(**changes: Any) -> AuthRequest:
    base: dict[str, Any] = {
        "method": "POST",
        "path": "/api/v1/charging/stop",
        "query": "b=2&a=1",
        "headers": {},
        "body": b'{"session_id":"s-1"}',
    }
    return AuthRequest(**{**base, **changes})


def with_headers(request: AuthRequest, **headers: str) -> AuthRequest:
    return AuthRequest(request.method, request.path, request.query, headers, request.body)


def signed(request: AuthRequest, *, timestamp_ms: int = NOW_MS, secret: str = SECRET) -> AuthRequest:
    signature = hmac_signature.sign(secret, request, client_id="client-1", timestamp_ms=timestamp_ms)
    return with_headers(
        request,
        **{"x-client-id": "client-1", "x-client-timestamp": str(timestamp_ms), "x-client-signature": signature},
    )


def check(request: AuthRequest, *, legacy: bool = False) -> hmac_signature.SignedRequest:
    return hmac_signature.verify(SECRET, request, now=CLOCK.now(), legacy_enabled=legacy)


def test_the_signature_is_the_documented_message() -> None:
    lines = [
        "v2",
        "client-1",
        str(NOW_MS),
        "POST",
        "/api/v1/charging/stop",
        "a=1&b=2",
        hashlib.sha256(b'{"session_id":"s-1"}').hexdigest(),
    ]
    expected = hmac.new(SECRET.encode(), "\n".join(lines).encode(), hashlib.sha256).hexdigest()
    assert hmac_signature.sign(SECRET, unsigned(), client_id="client-1", timestamp_ms=NOW_MS) == f"v2={expected}"


def test_a_signed_request_names_its_client() -> None:
    assert check(signed(unsigned())).client_id == "client-1"


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "GET"},
        {"path": "/api/v1/charging/start"},
        {"query": "a=1&b=3"},
        {"query": ""},
        {"body": b'{"session_id":"s-2"}'},
        {"body": b""},
    ],
)
def test_the_signature_binds_every_part_of_the_request(changes: dict[str, Any]) -> None:
    headers = signed(unsigned()).headers
    with pytest.raises(TokenRefused):
        check(unsigned(headers=headers, **changes))


def test_a_proxy_may_reorder_the_query() -> None:
    headers = signed(unsigned()).headers
    assert check(unsigned(headers=headers, query="a=1&b=2")).client_id == "client-1"


def test_another_client_id_breaks_the_signature() -> None:
    headers = {**signed(unsigned()).headers, "x-client-id": "client-2"}
    with pytest.raises(TokenRefused):
        check(unsigned(headers=headers))


@pytest.mark.parametrize(("drift_s", "good"), [(299, True), (-299, True), (301, False), (-301, False), (86400, False)])
def test_the_timestamp_may_differ_by_five_minutes(drift_s: int, good: bool) -> None:
    request = signed(unsigned(), timestamp_ms=NOW_MS + drift_s * 1000)
    if good:
        assert check(request).client_id == "client-1"
    else:
        with pytest.raises(TokenRefused):
            check(request)


def _legacy() -> AuthRequest:
    mac = hmac.new(SECRET.encode(), f"client-1.{NOW_MS}".encode(), hashlib.sha256).hexdigest()
    return unsigned(headers={"x-client-id": "client-1", "x-client-timestamp": str(NOW_MS), "x-client-signature": mac})


def test_the_unbound_form_is_off_by_default() -> None:
    with pytest.raises(TokenRefused):
        check(_legacy())
    assert check(_legacy(), legacy=True).client_id == "client-1"


def test_one_signature_has_one_nonce_however_it_is_spelled() -> None:
    request = _legacy()
    shouted = {**request.headers, "x-client-signature": request.headers["x-client-signature"].upper()}
    assert check(request, legacy=True).nonce == check(unsigned(headers=shouted), legacy=True).nonce


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "x-client-id": st.text(max_size=40),
            "x-client-timestamp": st.text(max_size=20),
            "x-client-signature": st.text(max_size=80),
        },
    )
)
def test_arbitrary_headers_are_refused_without_a_crash(headers: dict[str, str]) -> None:
    with pytest.raises(TokenRefused):
        check(unsigned(headers=headers), legacy=True)


class Memory:
    def __init__(self) -> None:
        self.used: set[str] = set()

    async def first_use(self, nonce: str, ttl_s: int) -> bool:
        assert ttl_s >= 600, "a timestamp 5 minutes ahead stays valid for 10"
        fresh = nonce not in self.used
        self.used.add(nonce)
        return fresh


def _authenticator(secret: str) -> Authenticator:
    return Authenticator(
        verifiers={}, master_key="", hmac_settings=HmacSettings(secret, False), replay_guard=Memory(), clock=CLOCK
    )


async def test_a_signature_works_once() -> None:
    guarded = _authenticator(SECRET)
    principal = await guarded.authenticate(signed(unsigned()))
    assert principal is not None
    assert (principal.subject, principal.method) == ("client-1", AuthMethod.HMAC)
    with pytest.raises(Unauthorized):
        await guarded.authenticate(signed(unsigned()))
    later = signed(unsigned(), timestamp_ms=NOW_MS + 1)
    assert await guarded.authenticate(later) is not None


async def test_signatures_are_off_without_a_secret() -> None:
    with pytest.raises(Unauthorized):
        await _authenticator("").authenticate(signed(unsigned(), secret=""))
