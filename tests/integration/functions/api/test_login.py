"""Login by a code: A1, A2, A7, A8."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from evpower.notifications.sms import SmsNotSent
from tests.integration.functions.api.conftest import CLIENT, Api
from tests.integration.functions.api.login_world import PHONE, SEND, STAFF_PHONE, VERIFY, Phones, wrong


@pytest.fixture
def phones(api: Api) -> Phones:
    return Phones.of(api)


async def test_the_first_login_makes_the_account(phones: Phones) -> None:
    sent = await phones.ok(SEND, {"phone": "+996 700 000-077"})
    message = sent.pop("message")
    assert message
    assert sent == {
        "success": True,
        "phone": PHONE,
        "expires_in_seconds": 300,
        "resend_available_in_seconds": 60,
    }
    answer = await phones.ok(VERIFY, {"phone": PHONE, "code": phones.sms.code()})
    user = answer["user"]
    assert set(answer) == {"success", "message", "access_token", "refresh_token", "token_type", "expires_in", "user",
                           "user_type", "is_new_user", "user_id"}  # fmt: skip
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 1800)
    assert (answer["user_type"], answer["is_new_user"]) == ("client", True)
    assert set(user) == {"id", "phone", "name", "balance", "status", "created_at"}
    assert (user["phone"], user["name"], user["balance"], user["status"]) == (PHONE, None, 0, "active")
    assert user["created_at"].endswith("Z")
    status, profile = await phones.as_holder(answer["access_token"], "GET", "/api/v1/auth/me")
    assert status == 200
    assert profile == {
        "success": True,
        "user_type": "client",
        "user": user,
        "client_id": user["id"],
        "email": None,
        "phone": PHONE,
        "name": None,
        "balance": 0,
        "status": "active",
    }
    assert await phones.as_holder(answer["access_token"], "GET", "/api/v1/profile") == (200, profile)
    status, topup = await phones.as_holder(answer["access_token"], "POST", "/api/v1/balance/topup-qr", {"amount": 100})
    assert (status, topup["client_id"]) == (200, user["id"])


@pytest.mark.parametrize("stored", ["+996700000077", "996700000077", "0700000077"])
async def test_a_known_phone_signs_in_to_its_account(phones: Phones, stored: str) -> None:
    await phones.api.sql("UPDATE clients SET phone = %s, name = 'Aman' WHERE id = %s", stored, CLIENT)
    answer = await phones.login()
    assert (answer["user"]["id"], answer["is_new_user"]) == (CLIENT, False)
    assert (answer["user"]["name"], answer["user"]["balance"]) == ("Aman", 1000)
    assert await phones.api.one("SELECT count(*) FROM clients") == 2
    (row,) = await phones.api.sql("SELECT operation, client_ip, actor FROM audit_logs")
    assert (row["operation"], row["client_ip"], row["actor"]) == ("auth.login", "192.0.2.9", CLIENT)


async def test_a_code_is_good_once(phones: Phones) -> None:
    code = await phones.code()
    await phones.ok(VERIFY, {"phone": PHONE, "code": code})
    await phones.fails(VERIFY, {"phone": PHONE, "code": code}, 401, "invalid_code")


async def test_three_attempts(phones: Phones) -> None:
    code = await phones.code()
    for _ in range(3):
        await phones.fails(VERIFY, {"phone": PHONE, "code": wrong(code)}, 401, "invalid_code")
    await phones.fails(VERIFY, {"phone": PHONE, "code": code}, 401, "invalid_code")
    assert await phones.api.one("SELECT count(*) FROM clients WHERE phone = %s", PHONE) == 0
    phones.wait(seconds=60)
    code = await phones.code()
    for _ in range(2):
        await phones.fails(VERIFY, {"phone": PHONE, "code": wrong(code)}, 401, "invalid_code")
    await phones.ok(VERIFY, {"phone": PHONE, "code": code})


async def test_five_minutes(phones: Phones) -> None:
    code = await phones.code()
    phones.wait(seconds=300)
    await phones.fails(VERIFY, {"phone": PHONE, "code": code}, 401, "invalid_code")
    code = await phones.code()
    phones.wait(seconds=299)
    await phones.ok(VERIFY, {"phone": PHONE, "code": code})


async def test_only_the_newest_code_counts_and_only_for_its_phone(phones: Phones) -> None:
    first = await phones.code()
    phones.wait(seconds=60)
    second = await phones.code()
    if first != second:
        await phones.fails(VERIFY, {"phone": PHONE, "code": first}, 401, "invalid_code")
    await phones.fails(VERIFY, {"phone": "+996700000078", "code": second}, 401, "invalid_code")
    await phones.ok(VERIFY, {"phone": PHONE, "code": second})


async def test_two_verifications_at_once_sign_in_once(phones: Phones) -> None:
    code = await phones.code()
    answers = await asyncio.gather(
        *(phones.api.call("POST", VERIFY, {"phone": PHONE, "code": code}, client=None) for _ in range(3))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401]
    assert await phones.api.one("SELECT count(*) FROM refresh_tokens") == 1


async def test_guesses_at_once_are_three_guesses(phones: Phones) -> None:
    code = await phones.code()
    await asyncio.gather(*(phones.fails(VERIFY, {"phone": PHONE, "code": wrong(code)}, 401, "invalid_code")
                           for _ in range(8)))  # fmt: skip
    assert await phones.api.one("SELECT attempts FROM otp_codes") == 3
    await phones.fails(VERIFY, {"phone": PHONE, "code": code}, 401, "invalid_code")


async def test_two_codes_of_one_new_phone_make_one_account(phones: Phones) -> None:
    """The second phone call of a person comes while the first is still being written."""
    first = await phones.login()
    phones.wait(seconds=60)
    second = await phones.login()
    assert first["user"]["id"] == second["user"]["id"]
    assert first["refresh_token"] != second["refresh_token"]
    assert await phones.api.one("SELECT count(*) FROM refresh_tokens") == 2


async def test_one_message_a_minute(phones: Phones) -> None:
    answers = await asyncio.gather(*(phones.api.call("POST", SEND, {"phone": PHONE}, client=None) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 429, 429, 429]
    assert len(phones.sms.messages) == 1
    phones.wait(seconds=20)
    answer = await phones.fails(SEND, {"phone": PHONE}, 429, "rate_limit")
    assert answer["retry_after_seconds"] == 40
    phones.wait(seconds=40)
    await phones.code()


async def test_six_messages_an_hour(phones: Phones) -> None:
    for _ in range(6):
        await phones.code()
        phones.wait(seconds=60)
    answer = await phones.fails(SEND, {"phone": PHONE}, 429, "rate_limit")
    assert answer["retry_after_seconds"] == 3600 - 6 * 60
    await phones.code("+996700000078")
    phones.wait(seconds=answer["retry_after_seconds"])
    await phones.code()


@pytest.mark.parametrize("redis", ["there", "away"])
async def test_one_address_is_limited(make_api: Callable[..., Any], redis: str) -> None:
    away = {"redis_url": "redis://127.0.0.1:1/0"} if redis == "away" else {}
    settings = {"otp_sends_per_address_per_hour": 3, "otp_checks_per_address_per_minute": 2, **away}
    phones = Phones.of(await make_api(**settings))
    numbers = [f"+9967000010{number:02d}" for number in range(6)]
    answers = await asyncio.gather(
        *(phones.api.call("POST", SEND, {"phone": number}, client=None) for number in numbers)
    )
    assert Counter(answer.status_code for answer in answers) == {200: 3, 429: 3}
    assert {answer.json()["error_code"] for answer in answers if answer.status_code == 429} == {"rate_limit"}
    for number in numbers[:2]:
        await phones.fails(VERIFY, {"phone": number, "code": "000000"}, 401, "invalid_code")
    refused = await phones.fails(VERIFY, {"phone": numbers[2], "code": "000000"}, 429, "rate_limit")
    assert refused["retry_after_seconds"] >= 1
    counted = await phones.api.one("SELECT coalesce(sum(hits), 0) FROM rate_counters WHERE hits < 100")
    assert bool(counted) == (redis == "away")


async def test_a_message_that_cannot_be_sent(phones: Phones) -> None:
    phones.sms.failure = SmsNotSent("refused", certain=True)
    await phones.fails(SEND, {"phone": PHONE}, 502, "otp_error")
    await phones.fails("/api/v1/auth/otp/send", {"phone": PHONE}, 400, "otp_error")
    assert await phones.api.one("SELECT count(*) FROM otp_codes") == 0
    phones.sms.failure = SmsNotSent("no answer", certain=False)
    await phones.fails(SEND, {"phone": PHONE}, 502, "otp_error")
    phones.sms.failure = None
    # It may arrive: then it must work, and another one must wait.
    await phones.fails(SEND, {"phone": PHONE}, 429, "rate_limit")
    phones.wait(seconds=60)
    await phones.code()


async def test_nothing_tells_who_has_an_account(phones: Phones) -> None:
    await phones.api.sql("UPDATE clients SET phone = %s, status = 'blocked' WHERE id = %s", PHONE, CLIENT)
    await phones.add_staff()
    bodies = []
    for phone in (PHONE, STAFF_PHONE, "+996700000099"):
        answer = await phones.ok(SEND, {"phone": phone})
        assert answer.pop("phone") == phone
        refused = await phones.fails(VERIFY, {"phone": phone, "code": wrong(phones.sms.code(phone))}, 401,
                                     "invalid_code")  # fmt: skip
        never_asked = await phones.fails(VERIFY, {"phone": "+996700000111", "code": "123456"}, 401, "invalid_code")
        bodies.append([answer, *({**body, "correlation_id": ""} for body in (refused, never_asked))])
    assert bodies[0] == bodies[1] == bodies[2]
    assert bodies[0][1] == bodies[0][2]


@pytest.mark.parametrize(
    ("state", "code"),
    [("blocked", "client_blocked"), ("inactive", "client_blocked"), ("pending_deletion", "client_deleted")],
)
async def test_closed_accounts_do_not_get_in(phones: Phones, state: str, code: str) -> None:
    first = await phones.login()
    await phones.api.sql("UPDATE clients SET status = %s WHERE phone = %s", state, PHONE)
    phones.wait(seconds=60)
    secret = await phones.code()
    await phones.fails(VERIFY, {"phone": PHONE, "code": secret}, 403, code)
    await phones.fails(VERIFY, {"phone": PHONE, "code": secret}, 401, "invalid_code")
    await phones.fails("/api/v1/auth/refresh", {"refresh_token": first["refresh_token"]}, 403, code)
    for path in ("/api/v1/auth/me", "/api/v1/profile", "/api/v1/balance/current"):
        status, body = await phones.as_holder(first["access_token"], "GET", path)
        assert (status, body["error_code"]) == (403, code)


async def test_staff_sign_in_as_admin_and_can_charge(phones: Phones) -> None:
    await phones.add_staff("admin-1", "+996700000089", role="admin")
    await phones.add_staff(role="operator", admin_id="admin-1")
    await phones.api.sql("UPDATE stations SET user_id = 'admin-1'")
    answer = await phones.login(STAFF_PHONE)
    assert (answer["user_type"], answer["is_new_user"]) == ("admin", False)
    assert (answer["user_id"], answer["role"], answer["admin_id"]) == ("staff-1", "operator", "admin-1")
    user = answer["user"]
    assert set(user) == {"id", "phone", "email", "role", "is_active", "created_at"}
    assert (user["id"], user["phone"], user["role"], user["is_active"]) == ("staff-1", STAFF_PHONE, "operator", True)
    status, me = await phones.as_holder(answer["access_token"], "GET", "/api/v1/auth/me")
    assert status == 200
    assert me == {
        "success": True, "user_type": "owner", "user": user, "user_id": "staff-1", "role": "operator",
        "is_active": True, "admin_id": "admin-1", "stations_count": 1, "locations_count": 0,
        "email": "staff-1@example.com", "phone": STAFF_PHONE, "name": "Staff", "client_id": "staff-1", "balance": 0,
        "status": "active",
    }  # fmt: skip
    status, topup = await phones.as_holder(answer["access_token"], "POST", "/api/v1/balance/topup-qr", {"amount": 100})
    assert (status, topup["client_id"]) == (200, "staff-1")
    phones.wait(seconds=60)
    older = await phones.login(STAFF_PHONE, path="/api/v1/auth/otp/verify")
    assert (older["user_type"], older["user_id"]) == ("owner", "staff-1")
    boss = await phones.login("+996700000089")
    assert boss["admin_id"] is None


async def test_staff_that_was_a_client_before_keeps_both(phones: Phones) -> None:
    await phones.api.sql("UPDATE clients SET phone = %s WHERE id = %s", STAFF_PHONE, CLIENT)
    await phones.add_staff()
    answer = await phones.login(STAFF_PHONE)
    assert answer["user_id"] == "staff-1"
    rows = await phones.api.sql("SELECT id, phone FROM clients WHERE id IN ('staff-1', %s) ORDER BY id", CLIENT)
    assert [(row["id"], row["phone"]) for row in rows] == [(CLIENT, STAFF_PHONE), ("staff-1", None)]


async def test_deactivated_staff_do_not_get_in(phones: Phones) -> None:
    await phones.add_staff()
    first = await phones.login(STAFF_PHONE)
    await phones.api.sql("UPDATE users SET is_active = false")
    phones.wait(seconds=60)
    await phones.fails(VERIFY, {"phone": STAFF_PHONE, "code": await phones.code(STAFF_PHONE)}, 403, "client_blocked")
    await phones.fails("/api/v1/auth/refresh", {"refresh_token": first["refresh_token"]}, 403, "client_blocked")
    assert (await phones.as_holder(first["access_token"], "GET", "/api/v1/auth/me"))[0] == 403


async def test_the_older_paths(phones: Phones) -> None:
    sent = await phones.ok("/api/v1/auth/otp/send", {"phone": "996 700 000 077"})
    assert sent["phone"] == PHONE
    assert sent["message"]
    answer = await phones.ok("/api/v1/auth/otp/verify", {"phone": PHONE, "code": phones.sms.code()})
    assert (answer["user_type"], answer["user_id"]) == ("client", answer["user"]["id"])
    assert answer["message"]


async def test_no_code_and_no_token_is_kept_or_logged(phones: Phones, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    code = await phones.code()
    answer = await phones.ok(VERIFY, {"phone": PHONE, "code": code})
    await phones.ok("/api/v1/auth/refresh", {"refresh_token": answer["refresh_token"]})
    kept = ""
    for table in ("otp_codes", "refresh_tokens", "audit_logs", "clients", "rate_counters"):
        kept += str(await phones.api.sql(f"SELECT t::text FROM {table} t"))
    stored = await phones.api.one("SELECT code_hash FROM otp_codes")
    for text in (kept, caplog.text):
        assert answer["refresh_token"] not in text
        assert answer["access_token"] not in text
    assert code not in caplog.text.replace(PHONE, "")
    assert code.encode() not in bytes(stored)
    assert len(bytes(stored)) == 32


@pytest.mark.parametrize(
    ("path", "body"),
    [(SEND, {}), (SEND, {"phone": 996700000077}), (SEND, {"phone": "call me"}), (SEND, {"phone": "+99670000007"}),
     (SEND, {"phone": "9" * 33}), (VERIFY, {"phone": PHONE}), (VERIFY, {"phone": PHONE, "code": "12345"}),
     (VERIFY, {"phone": PHONE, "code": 123456}), (VERIFY, {"phone": PHONE, "code": "１２３４５６"}),
     ("/api/v1/auth/refresh", {"refresh_token": 5}), ("/api/v1/auth/refresh", {"refresh_token": "x" * 5000})],
)  # fmt: skip
async def test_bodies_that_say_nothing_useful(phones: Phones, path: str, body: dict[str, Any]) -> None:
    answer = await phones.fails(path, body, 422, "validation_error")
    assert answer["field"] in ("phone", "code", "refresh_token")
    assert phones.sms.messages == []


async def test_the_message_speaks_the_phones_language(phones: Phones) -> None:
    for number, (language, word) in enumerate((("ky", "кирүү"), ("en", "login"), ("de", "входа"))):
        phone = f"+99670000020{number}"
        await phones.api.call("POST", SEND, {"phone": phone}, client=None, headers={"Accept-Language": language})
        assert word in phones.sms.messages[-1][1]
