"""A phone that starts stays signed in, whatever others behind its address do (mobile-api.md §2.2, §12)."""

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evpower.auth import own_tokens
from functions.api.deps import Deps
from tests.integration.functions.api.conftest import CLIENT, Api, token
from tests.integration.functions.api.login_world import VERIFY, Phones

REFRESH, LOGOUT, ME = "/api/v1/auth/refresh", "/api/v1/auth/logout", "/api/v1/auth/me"
NO_REDIS_URL = "redis://127.0.0.1:1/0"
DEFAULTS = {
    "rate_limit_default_per_minute": 60,
    "rate_limit_critical_per_minute": 10,
    "rate_limit_failures_per_minute": 120,
}


def own_token(deps: Deps, client: str, *, age_s: int = 0) -> dict[str, str]:
    """The header of one of our own tokens that was made ``age_s`` ago."""
    grant = own_tokens.Grant(client, "client", "login-1", "client", None)
    made = own_tokens.from_settings(deps.settings).issue(grant, datetime.now(UTC) - timedelta(seconds=age_s))
    return {"Authorization": f"Bearer {made}"}


async def test_public_reads_do_not_sign_a_driver_out(make_api: Callable[..., Any], api: Api) -> None:
    """The field's case: 60 reads of the map from one carrier's address, then a phone behind it starts."""
    phones = Phones.of(await make_api(**DEFAULTS))
    login = await phones.login()
    for _ in range(60):
        await phones.api.ok("GET", "/api/v1/locations", client=None)
    refreshed = await phones.ok(REFRESH, {"refresh_token": login["refresh_token"]})
    status, me = await phones.as_holder(refreshed["access_token"], "GET", ME)
    assert (status, me["user"]["id"]) == (200, login["user"]["id"])
    assert (await phones.api.call("GET", "/api/v1/locations", client=None)).status_code == 200


async def test_many_phones_behind_one_address_start_at_once(make_api: Callable[..., Any], api: Api) -> None:
    settings = {
        "otp_sends_per_address_per_hour": 1000,
        "otp_sends_per_prefix_per_hour": 1000,
        "otp_sends_per_hour": 1000,
    }
    phones = Phones.of(await make_api(**DEFAULTS, **settings))
    tokens = [(await phones.login(f"+996700{number:06d}"))["refresh_token"] for number in range(70)]
    answers = [await phones.api.call("POST", REFRESH, {"refresh_token": one}, client=None) for one in tokens * 2]
    assert Counter(answer.status_code for answer in answers) == {200: 140}


async def test_one_token_counts_for_itself(make_api: Callable[..., Any], api: Api) -> None:
    phones = Phones.of(await make_api(**{**DEFAULTS, "rate_limit_default_per_minute": 3}))
    mine, other = await phones.login(), await phones.login("+996700000078")
    for _ in range(3):
        await phones.ok(REFRESH, {"refresh_token": mine["refresh_token"]})
    answer = await phones.api.call("POST", REFRESH, {"refresh_token": mine["refresh_token"]}, client=None)
    assert (answer.status_code, answer.json()["error_code"]) == (429, "rate_limit_exceeded")
    assert int(answer.headers["retry-after"]) == answer.json()["retry_after_seconds"] >= 1
    await phones.ok(REFRESH, {"refresh_token": other["refresh_token"]})
    phones.wait(seconds=120)
    await phones.ok(REFRESH, {"refresh_token": mine["refresh_token"]})


async def test_a_client_that_asked_too_much_still_starts(make_api: Callable[..., Any], api: Api) -> None:
    """A screen that failed was asked for again and again; the driver restarts the app."""
    phones = Phones.of(await make_api(**{**DEFAULTS, "rate_limit_default_per_minute": 5}))
    login = await phones.login()
    bearer = {"Authorization": f"Bearer {login['access_token']}"}
    answers = [await phones.api.call("GET", "/api/v1/profile", client=None, headers=bearer) for _ in range(6)]
    assert answers[-1].status_code == 429
    refresh = await phones.api.call(
        "POST", REFRESH, {"refresh_token": login["refresh_token"]}, client=None, headers=bearer
    )
    assert refresh.status_code == 200
    assert (await phones.as_holder(refresh.json()["access_token"], "GET", ME))[0] == 200


@pytest.mark.parametrize("redis", ["there", "away"])
async def test_bad_tokens_count_by_address_and_hurt_nobody_else(
    make_api: Callable[..., Any], api: Api, redis: str
) -> None:
    away = {"redis_url": NO_REDIS_URL} if redis == "away" else {}
    phones = Phones.of(await make_api(**{**DEFAULTS, "rate_limit_failures_per_minute": 5}, **away))
    login = await phones.login()

    async def guess(number: int, path: str = REFRESH) -> Any:
        return await phones.api.call("POST", path, {"refresh_token": f"evr_{number}"}, client=None)

    answers = [await guess(number) for number in range(8)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 3
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers[5:])
    assert (await phones.api.call("GET", "/api/v1/profile", client=None)).status_code == 429, "nobody, asking again"
    assert (await phones.api.call("POST", "/api/v1/charging/stop", {}, client=None)).status_code == 429
    await phones.ok(REFRESH, {"refresh_token": login["refresh_token"]})
    assert (await phones.as_holder(login["access_token"], "GET", ME))[0] == 200
    await phones.api.ok("GET", "/api/v1/locations", client=None)
    elsewhere = {"X-Forwarded-For": "198.51.100.9"}
    other = await phones.api.call("POST", REFRESH, {"refresh_token": "evr_x"}, client=None, headers=elsewhere)
    assert other.status_code == 401
    phones.wait(seconds=60)
    code = await phones.code()
    await phones.ok(VERIFY, {"phone": "+996700000077", "code": code})


async def test_yesterday_s_token_hears_that_it_is_over(make_api: Callable[..., Any], api: Api) -> None:
    """Not 429, which tells the app nothing: it counts for its own client, however busy the address is."""
    limited: Api = await make_api(
        **{**DEFAULTS, "rate_limit_failures_per_minute": 1, "rate_limit_public_per_minute": 1,
           "rate_limit_default_per_minute": 4}
    )  # fmt: skip
    for _ in range(3):
        await limited.call("GET", "/api/v1/profile", client=None)
    for path in ("/api/v1/profile", ME):
        expired = own_token(limited.deps, CLIENT, age_s=4000)
        await limited.fails("GET", path, client=None, headers=expired, status=401, code="unauthorized")
    supabase = {"Authorization": f"Bearer {token(CLIENT, exp=int(time.time()) - 60)}"}
    assert [(await limited.call("GET", ME, client=None, headers=supabase)).status_code for _ in range(3)] == [
        401,
        401,
        429,
    ]
    forged = {"Authorization": f"{supabase['Authorization'][:-4]}AAAA"}
    await limited.fails("GET", ME, client=None, headers=forged, status=429, code="rate_limit_exceeded")
    await limited.ok("GET", "/api/v1/profile")


async def test_own_and_supabase_tokens_are_one_client(make_api: Callable[..., Any], api: Api) -> None:
    limited: Api = await make_api(**{**DEFAULTS, "rate_limit_default_per_minute": 4})
    own = own_token(limited.deps, CLIENT)
    answers = [
        await limited.call("GET", "/api/v1/profile", client=None, headers=own) if turn % 2
        else await limited.call("GET", "/api/v1/profile")
        for turn in range(6)
    ]  # fmt: skip
    assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 2


async def test_a_client_whose_id_is_a_word_of_ours_is_nobody_else(make_api: Callable[..., Any], api: Api) -> None:
    limited: Api = await make_api(**{**DEFAULTS, "rate_limit_default_per_minute": 1})
    await limited.add_client("master")
    await limited.ok("GET", "/api/v1/profile", client="master")
    headers = {"X-API-Key": "test-master-key"}
    await limited.ok("GET", "/api/v1/locations", client=None, headers=headers)


async def test_a_flood_of_failures_fills_no_table(make_api: Callable[..., Any], api: Api) -> None:
    limited: Api = await make_api(**{**DEFAULTS, "rate_limit_failures_per_minute": 10})
    calls = (limited.call("POST", "/api/v1/charging/stop", {"session_id": "x"}, client=None) for _ in range(25))
    assert Counter([(await call).status_code for call in calls]) == {401: 10, 429: 15}
    assert await limited.one("SELECT count(*) FROM audit_logs") == 10
