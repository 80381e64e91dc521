"""Refresh and the ends of a login: A3, A4, A13, block."""

import asyncio
from typing import Any

import pytest

from evpower.auth import service as auth
from evpower.auth.refresh_tokens import MAX_LOGINS
from tests.integration.functions.api.conftest import CLIENT, Api
from tests.integration.functions.api.login_world import PHONE, Phones

REFRESH, LOGOUT, LOGOUT_ALL = (f"/api/v1/auth/{name}" for name in ("refresh", "logout", "logout-all"))


@pytest.fixture
def phones(api: Api) -> Phones:
    return Phones.of(api)


async def add_device(phones: Phones, login: dict[str, Any], name: str = "phone") -> None:
    await phones.api.sql(
        """INSERT INTO devices (client_id, login_id, fcm_token, platform)
           SELECT client_id, id, %s, 'android' FROM refresh_tokens WHERE client_id = %s
            ORDER BY created_at DESC LIMIT 1""",
        name,
        login["user"]["id"],
    )


async def refused(phones: Phones, login: dict[str, Any]) -> None:
    await phones.fails(REFRESH, {"refresh_token": login["refresh_token"]}, 401, "unauthorized")


async def test_a_refresh_gives_an_access_token_and_leaves_the_refresh_token(phones: Phones) -> None:
    login = await phones.login()
    for _ in range(2):
        answer = await phones.ok(REFRESH, {"refresh_token": login["refresh_token"]})
        assert set(answer) == {"success", "access_token", "token_type", "expires_in"}
        assert answer["expires_in"] == 1800
        status, me = await phones.as_holder(answer["access_token"], "GET", "/api/v1/auth/me")
        assert (status, me["client_id"]) == (200, login["user"]["id"])


async def test_refreshes_at_once_all_work(phones: Phones) -> None:
    login = await phones.login()
    body = {"refresh_token": login["refresh_token"]}
    await asyncio.gather(*(phones.ok(REFRESH, body) for _ in range(5)))


async def test_ninety_days_from_the_last_use(phones: Phones) -> None:
    used, unused = await phones.login(), await phones.login("+996700000078")
    for _ in range(3):
        phones.wait(days=89)
        await phones.ok(REFRESH, {"refresh_token": used["refresh_token"]})
    await refused(phones, unused)
    phones.wait(days=90)
    await refused(phones, used)


@pytest.mark.parametrize(
    "body", [None, {}, {"refresh_token": None}, {"refresh_token": ""}, {"refresh_token": "fake"},
             {"refresh_token": "evr_" + "é" * 43}]
)  # fmt: skip
async def test_tokens_that_are_none(phones: Phones, body: Any) -> None:
    await phones.fails(REFRESH, body, 401, "unauthorized")
    await phones.ok(LOGOUT, body)


async def test_an_access_token_is_no_refresh_token_and_the_reverse(phones: Phones) -> None:
    login = await phones.login()
    await phones.fails(REFRESH, {"refresh_token": login["access_token"]}, 401, "unauthorized")
    status, body = await phones.as_holder(login["refresh_token"], "GET", "/api/v1/auth/me")
    assert (status, body["error_code"]) == (401, "unauthorized")
    assert (await phones.as_holder(login["refresh_token"], "GET", "/api/v1/locations"))[0] == 200


async def test_logout_ends_this_login_and_forgets_its_devices(phones: Phones) -> None:
    tablet = await phones.login()
    await add_device(phones, tablet, "tablet")
    phones.wait(seconds=60)
    phone = await phones.login()
    await add_device(phones, phone, "phone")
    await phones.ok(LOGOUT, {"refresh_token": phone["refresh_token"]})
    await refused(phones, phone)
    await phones.ok(LOGOUT, {"refresh_token": phone["refresh_token"]})
    assert await phones.api.one("SELECT fcm_token FROM devices") == "tablet"
    await phones.ok(REFRESH, {"refresh_token": tablet["refresh_token"]})


async def test_logout_everywhere(phones: Phones) -> None:
    mine = []
    for _ in range(2):
        mine.append(await phones.login())
        await add_device(phones, mine[-1], f"device-{len(mine)}")
        phones.wait(seconds=60)
    other = await phones.login("+996700000078")
    client = mine[0]["user"]["id"]
    await phones.api.ok("POST", LOGOUT_ALL, client=client)
    for login in mine:
        await refused(phones, login)
    await phones.ok(REFRESH, {"refresh_token": other["refresh_token"]})
    assert await phones.api.one("SELECT count(*) FROM devices") == 0
    for _ in range(4):
        await phones.api.ok("POST", LOGOUT_ALL, client=client)
    answer = await phones.api.fails("POST", LOGOUT_ALL, client=client, status=429, code="rate_limit_exceeded")
    assert answer["retry_after_seconds"] > 60
    await phones.api.ok("POST", LOGOUT_ALL, client=other["user"]["id"])
    await phones.api.fails("POST", LOGOUT_ALL, client=None, status=401, code="unauthorized")


async def test_whoever_blocks_a_client_ends_its_logins(phones: Phones) -> None:
    login = await phones.login()
    await add_device(phones, login)
    async with phones.api.db.transaction() as conn:
        assert await auth.revoke_all(conn, login["user"]["id"]) == 1
    await refused(phones, login)
    assert await phones.api.one("SELECT count(*) FROM devices") == 0


async def test_an_access_token_outlives_the_logout(phones: Phones) -> None:
    """The app unregisters its device after the logout, with the same access token (mobile-api.md §2.2)."""
    login = await phones.login()
    await phones.ok(LOGOUT, {"refresh_token": login["refresh_token"]})
    assert (await phones.as_holder(login["access_token"], "GET", "/api/v1/auth/me"))[0] == 200


async def test_a_client_has_a_bounded_number_of_logins(phones: Phones) -> None:
    login = await phones.login()
    client = login["user"]["id"]
    await phones.api.sql(
        """INSERT INTO refresh_tokens (id, client_id, token_hash, created_at, last_used_at, expires_at)
           SELECT 'l-' || n, %s, ('hash-' || n)::bytea, now(), now() + n * interval '1 s', now() + interval '90 days'
             FROM generate_series(1, %s) n""",
        client,
        MAX_LOGINS + 5,
    )
    phones.wait(seconds=60)
    newest = await phones.login()
    assert await phones.api.one("SELECT count(*) FROM refresh_tokens WHERE client_id = %s", client) == MAX_LOGINS
    await refused(phones, login)
    await phones.ok(REFRESH, {"refresh_token": newest["refresh_token"]})


async def test_a_login_is_seen_by_its_client_only(phones: Phones) -> None:
    await phones.login()
    for claims, seen in (({"sub": CLIENT}, 0), ({"role": "anon"}, 0), ({"evp_scope": "system"}, 1)):
        for table in ("refresh_tokens", "otp_codes"):
            async with phones.api.deps.database.transaction(claims=claims) as conn:
                row = await (await conn.execute(f"SELECT count(*) AS n FROM {table}")).fetchone()
            assert row["n"] == seen, (claims, table)
    own = {"sub": (await phones.api.sql("SELECT id FROM clients WHERE phone = %s", PHONE))[0]["id"]}
    async with phones.api.deps.database.transaction(claims=own) as conn:
        row = await (await conn.execute("SELECT count(*) AS n FROM otp_codes")).fetchone()
    assert row["n"] == 0
