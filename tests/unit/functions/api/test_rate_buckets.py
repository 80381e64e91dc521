"""Where requests count: nobody is refused for what others do."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.auth.models import AuthMethod, Principal
from evpower.auth.rate_limit import LocalCounter
from evpower.config import Settings
from evpower.errors import CodeRateLimited, CodesCapped, EvPowerError, RateLimitExceeded
from functions.api.app import create_api
from functions.api.context import RequestContext
from functions.api.deps import build_deps
from functions.api.envelope import respond
from functions.api.rate_buckets import Asked, Counting, counting_of
from infra.gateway_responses import GATEWAY_RESPONSES

SETTINGS = Settings()
NOW = datetime(2026, 3, 11, 6, 0, tzinfo=UTC)
ADDRESS = "198.51.100.1"
STOPS = ["/api/v1/charging/stop", "/api/charging/stop"]
MONEY = [
    "/api/v1/charging/start", "/api/charging/start", "/api/v1/balance/topup-qr", "/api/v1/balance/topup-card",
    "/api/balance/topup-qr", "/api/balance/h2h-payment", "/api/v1/balance/token-payment", "/api/v1/payment/h2h-create",
    "/api/payment/h2h-payment", "/api/v1/payment/token", "/api/payment/token-payment",
]  # fmt: skip
SIGN_IN = ["refresh", "logout", "send-otp", "verify-otp", "otp/send", "otp/verify"]
CLIENTS = [Principal(subject, method) for subject in ("a", "b", "master")
           for method in (AuthMethod.OWN, AuthMethod.SUPABASE, AuthMethod.HMAC)]  # fmt: skip
MASTER = Principal("master", AuthMethod.MASTER_KEY)
PATHS = [*STOPS, *MONEY, *(f"/api/v1/auth/{name}" for name in SIGN_IN), "/api/v1/auth/me", "/api/v1/locations",
         "/api/v1/payment/status/x", "/api/v1/admin/clients", "/health", "/nowhere"]  # fmt: skip

paths = st.sampled_from(PATHS)
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE"])


def of(method: str, path: str, principal: Principal | None = None, expired: str | None = None) -> Counting:
    return counting_of(Asked(method, path, ADDRESS, principal, expired), SETTINGS)


def test_every_route_that_moves_money_or_stops_is_durable() -> None:
    document = create_api(build_deps(SETTINGS)).openapi()
    posts = [path for path, methods in document["paths"].items() if "post" in methods]
    moving = [path for path in posts if any(word in path for word in ("/charging/st", "topup", "h2h", "token"))]
    assert len(moving) > 12
    for path in moving:
        if "status" in path or "create-token" in path:
            continue
        assert of("POST", path, CLIENTS[0]).durable, path
    assert {path for path in MONEY if not of("POST", path, CLIENTS[0]).durable} == set()


@given(methods, paths, methods, paths, st.sampled_from(CLIENTS), st.sampled_from(CLIENTS))
def test_two_clients_share_no_bucket(
    method: str, path: str, other_method: str, other_path: str, one: Principal, other: Principal
) -> None:
    first, second = of(method, path, one), of(other_method, other_path, other)
    if one.subject != other.subject and first.bucket and second.bucket:
        assert first.bucket.name != second.bucket.name
    if one.subject == other.subject:
        assert of(method, path, one) == of(method, path, other), "whichever token shows it"
    for counting in (first, of(method, path, MASTER)):
        assert counting.bucket is None or ADDRESS not in counting.bucket.name
    assert of(method, path, MASTER).bucket != first.bucket or first.bucket is None


@given(methods, paths, st.sampled_from(CLIENTS))
def test_a_stop_shares_its_bucket_with_nothing(method: str, path: str, client: Principal) -> None:
    stop = of("POST", STOPS[0], client)
    assert stop == of("POST", STOPS[1], client)
    if (method, path) not in {("POST", one) for one in STOPS}:
        assert of(method, path, client).bucket != stop.bucket
    assert of(method, path, None).bucket != stop.bucket


@pytest.mark.parametrize("name", SIGN_IN)
def test_signing_in_counts_by_what_it_carries(name: str) -> None:
    for principal in (None, CLIENTS[0], MASTER):
        counting = of("POST", f"/api/v1/auth/{name}", principal)
        assert counting.bucket is None
        assert counting.failures is not None
        assert counting.failures.name == f"failures:{ADDRESS}"


def test_starting_the_app_shares_its_bucket_with_nothing() -> None:
    start = of("GET", "/api/v1/auth/me", CLIENTS[0]).bucket
    others = {of(method, path, CLIENTS[0]).bucket for method in ("GET", "POST") for path in PATHS
              if (method, path) != ("GET", "/api/v1/auth/me")}  # fmt: skip
    assert start is not None
    assert start not in others


@given(
    st.lists(st.tuples(methods, paths, st.sampled_from([None, None, *CLIENTS[:6]]), st.booleans()), max_size=400),
    st.sampled_from(CLIENTS[6:7]),
)
def test_one_address_full_of_others_refuses_no_client(
    others: list[tuple[str, str, Principal | None, bool]], driver: Principal
) -> None:
    """A carrier's address: strangers, other clients and whoever guesses do what they like; then one driver comes."""
    counter = LocalCounter()
    for method, path, principal, is_refused in others:
        counting = of(method, path, principal)
        for bucket in (counting.bucket, counting.failures if is_refused else None):
            for _ in range(200 if bucket else 0):
                counter.hit_all([bucket], NOW)  # type: ignore[list-item]
    for method, path in (
        ("GET", "/api/v1/auth/me"),
        ("POST", STOPS[0]),
        ("POST", MONEY[0]),
        ("GET", "/api/v1/profile"),
    ):
        counting = of(method, path, driver)
        assert counting.bucket is not None
        assert counting.failures is None
        assert counter.hit_all([counting.bucket], NOW)[0].has_room
    assert of("POST", "/api/v1/auth/refresh").bucket is None


def test_a_carrier_s_address_may_read_a_lot() -> None:
    public = of("GET", "/api/v1/locations").bucket
    assert public is not None
    counts = Counter(LocalCounter().hit_all([public], NOW)[0].has_room for _ in range(10))
    assert counts == {True: 10}
    assert public.limit >= 1000 > SETTINGS.rate_limit_default_per_minute


def test_a_token_whose_time_is_over_counts_for_its_client() -> None:
    old, new = of("GET", "/api/v1/auth/me", expired="a"), of("GET", "/api/v1/auth/me", CLIENTS[0])
    assert old.failures is None
    assert old.bucket is not None
    assert ADDRESS not in old.bucket.name
    assert old.bucket != new.bucket, "a stolen old token must not use up what the client has"
    assert old.bucket != of("GET", "/api/v1/auth/me", expired="b").bucket
    assert of("POST", "/api/v1/auth/refresh", expired="a").bucket is None
    assert of("GET", "/health") == Counting()


def test_every_429_tells_when_to_come_back() -> None:
    def below(kind: type[EvPowerError]) -> Iterator[type[EvPowerError]]:
        for each in kind.__subclasses__():
            yield each
            yield from below(each)

    limits = [kind for kind in below(EvPowerError) if kind.http_status == 429]
    assert {RateLimitExceeded, CodeRateLimited, CodesCapped} <= set(limits)
    for kind in limits:
        answer = respond(kind(), RequestContext("id", ADDRESS, "ru"))
        assert int(answer.headers["retry-after"]) == kind().details["retry_after_seconds"] >= 1
    for response in GATEWAY_RESPONSES.values():
        assert ("Retry-After" in response.headers) == (response.status == 429)
