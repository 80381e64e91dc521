"""Devices and web push by the routes: N1-N7 (mobile-api.md §6.1, §6.2, §6.4)."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from evpower.config import get_settings
from evpower.notifications import web_crypto
from tests.integration.functions.api.conftest import CLIENT, OTHER, Api
from tests.integration.functions.api.login_world import Phones

REGISTER, UNREGISTER, OLDER = "/api/v1/devices/register", "/api/v1/devices/unregister", "/api/v1/clients/devices"
KEY, SUBSCRIBE, UNSUBSCRIBE, TEST = (
    f"/api/v1/notifications/{name}" for name in ("vapid-public-key", "subscribe", "unsubscribe", "test")
)
TOKEN = "dQw4w9WgXcQ:APA91bHPRgkF3JUikC4ENAHEeMrd41Zxv3hVZjC9KtT8OvPVGJ"
PHONE = {"fcm_token": TOKEN, "platform": "android", "app_version": "1.1.4"}
VAPID = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"


def browser(name: str = "browser-1") -> dict[str, Any]:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    keys = {"p256dh": web_crypto.encode(web_crypto.point(key)), "auth": web_crypto.encode(bytes(16))}
    return {"endpoint": f"https://fcm.googleapis.com/fcm/send/{name}", "keys": keys}


async def devices(api: Api) -> list[tuple[str, str, str, str]]:
    found = await api.sql("SELECT client_id, fcm_token, platform, language FROM devices ORDER BY client_id, fcm_token")
    return [(row["client_id"], row["fcm_token"], row["platform"], row["language"]) for row in found]


# Devices ------------------------------------------------------------------------------------------------------


async def test_a_phone_registers_as_often_as_it_likes(api: Api) -> None:
    for path in (REGISTER, REGISTER, OLDER):
        answer = await api.ok("POST", path, PHONE)
        assert answer == {"success": True, "message": "Устройство зарегистрировано."}
    assert await devices(api) == [(CLIENT, TOKEN, "android", "ru")]
    answer = await api.ok("POST", REGISTER, {"fcm_token": TOKEN, "platform": "web"}, headers={"Accept-Language": "ky"})
    assert answer["success"] is True
    assert await devices(api) == [(CLIENT, TOKEN, "web", "ky")]


async def test_an_iphone_s_token_is_stored_in_one_form(api: Api) -> None:
    body = {"fcm_token": "AB" * 32, "platform": "ios", "app_version": "1.1.4"}
    await api.ok("POST", REGISTER, body)
    assert await devices(api) == [(CLIENT, "ab" * 32, "ios", "ru")]
    assert (await api.ok("POST", UNREGISTER, {"fcm_token": "AB" * 32}))["success"] is True
    assert await devices(api) == []


async def test_the_phone_belongs_to_who_registered_it_last(api: Api) -> None:
    await api.ok("POST", REGISTER, PHONE)
    await api.ok("POST", REGISTER, PHONE, client=OTHER)
    assert await devices(api) == [(OTHER, TOKEN, "android", "ru")]
    # The earlier owner's late unregistration is not about the phone's new owner.
    await api.ok("POST", UNREGISTER, {"fcm_token": TOKEN})
    assert len(await devices(api)) == 1


async def test_registrations_at_once(api: Api) -> None:
    clients = [CLIENT, OTHER] * 4
    await asyncio.gather(*(api.ok("POST", REGISTER, PHONE, client=client) for client in clients))
    assert len(await devices(api)) == 1


async def test_a_client_keeps_its_newest_twenty(api: Api) -> None:
    for number in range(22):
        await api.ok("POST", REGISTER, {**PHONE, "fcm_token": f"{TOKEN}-{number:02d}"})
        await api.sql("UPDATE devices SET updated_at = updated_at - interval '1 minute'")
    found = [token for _, token, _, _ in await devices(api)]
    assert found == [f"{TOKEN}-{number:02d}" for number in range(2, 22)]


async def test_unregistering_what_is_not_there_is_a_success(api: Api) -> None:
    answer = await api.ok("POST", UNREGISTER, {"fcm_token": "never-registered-token"})
    assert answer == {"success": True, "message": "Устройство отключено."}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"platform": "android"}, "validation_error"),
        ({**PHONE, "platform": "symbian"}, "validation_error"),
        ({**PHONE, "fcm_token": ""}, "validation_error"),
        ({**PHONE, "fcm_token": 7}, "validation_error"),
        ({**PHONE, "fcm_token": "x\u0000" * 20}, "invalid_request"),
        ({**PHONE, "app_version": "v" * 65}, "validation_error"),
        ({**PHONE, "fcm_token": "too short"}, "fcm_token_invalid"),
        ({**PHONE, "platform": "ios"}, "fcm_token_invalid"),
    ],
)
async def test_bodies_that_are_refused(api: Api, body: dict[str, Any], code: str) -> None:
    status = 400 if code == "invalid_request" else 422
    await api.fails("POST", REGISTER, body, status=status, code=code)
    assert await devices(api) == []


async def test_who_may_not_register(api: Api) -> None:
    for path in (REGISTER, OLDER):
        await api.fails("POST", path, PHONE, client=None, status=401, code="unauthorized")
        await api.fails("POST", path, PHONE, client="unknown", status=404, code="client_not_found")
    master = {"X-API-Key": "test-master-key"}
    await api.fails("POST", REGISTER, PHONE, client=None, headers=master, status=403, code="forbidden")
    await api.sql("UPDATE clients SET status = 'blocked' WHERE id = %s", CLIENT)
    await api.fails("POST", REGISTER, PHONE, status=403, code="client_blocked")
    await api.ok("POST", UNREGISTER, {"fcm_token": TOKEN})


async def test_logout_drops_the_phone_and_a_dead_login_registers_none(api: Api) -> None:
    phones = Phones.of(api)
    login = await phones.login()
    status, _ = await phones.as_holder(login["access_token"], "POST", REGISTER, PHONE)
    assert (status, len(await devices(api))) == (200, 1)
    await phones.ok("/api/v1/auth/logout", {"refresh_token": login["refresh_token"]})
    assert await devices(api) == []
    # The app calls unregister after logout, still with its access token (mobile-api.md §2.2).
    status, _ = await phones.as_holder(login["access_token"], "POST", UNREGISTER, {"fcm_token": TOKEN})
    assert status == 200
    status, body = await phones.as_holder(login["access_token"], "POST", REGISTER, PHONE)
    assert (status, body["error_code"]) == (401, "unauthorized")
    assert await devices(api) == []


# Browsers -----------------------------------------------------------------------------------------------------


async def test_the_key_of_the_subscriptions(make_api: Callable[..., Any], api: Api) -> None:
    await api.fails("GET", KEY, client=None, status=503, code="service_unavailable")
    configured: Api = await make_api(vapid_private_key=VAPID)
    assert await configured.ok("GET", KEY, client=None) == {
        "success": True,
        "data": {
            "public_key": "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"
        },
    }


async def subscriptions(api: Api) -> list[tuple[str, str, str]]:
    found = await api.sql("SELECT user_id, user_type, endpoint FROM push_subscriptions ORDER BY user_id, endpoint")
    return [(row["user_id"], row["user_type"], row["endpoint"].rpartition("/")[2]) for row in found]


async def test_a_browser_subscribes_and_unsubscribes(api: Api) -> None:
    first = await api.ok("POST", SUBSCRIBE, {"subscription": browser(), "user_type": "client"})
    assert set(first) == {"success", "message", "subscription_id"}
    again = await api.ok("POST", SUBSCRIBE, {"subscription": {**browser(), "expirationTime": None}})
    assert again["subscription_id"] == first["subscription_id"]
    assert await subscriptions(api) == [(CLIENT, "client", "browser-1")]
    endpoint = {"endpoint": browser()["endpoint"]}
    await api.fails("POST", UNSUBSCRIBE, endpoint, client=OTHER, status=404, code="not_found")
    assert (await api.ok("POST", UNSUBSCRIBE, endpoint))["success"] is True
    await api.fails("POST", UNSUBSCRIBE, endpoint, status=404, code="not_found")


async def test_the_browser_belongs_to_who_subscribed_last(api: Api) -> None:
    await api.ok("POST", SUBSCRIBE, {"subscription": browser()})
    await api.ok("POST", SUBSCRIBE, {"subscription": browser()}, client=OTHER)
    assert await subscriptions(api) == [(OTHER, "client", "browser-1")]


async def test_owners_news_are_for_active_staff(api: Api) -> None:
    body = {"subscription": browser(), "user_type": "owner"}
    await api.fails("POST", SUBSCRIBE, body, status=403, code="forbidden")
    await api.sql("INSERT INTO users (id, role, is_active) VALUES (%s, 'admin', false)", CLIENT)
    await api.fails("POST", SUBSCRIBE, body, status=403, code="forbidden")
    await api.sql("UPDATE users SET is_active = true")
    await api.ok("POST", SUBSCRIBE, body)
    assert await subscriptions(api) == [(CLIENT, "owner", "browser-1")]


@pytest.mark.parametrize(
    "subscription",
    [
        {**browser(), "endpoint": "https://169.254.169.254/latest/meta-data/"},
        {**browser(), "endpoint": "http://fcm.googleapis.com/fcm/send/x"},
        {**browser(), "keys": {"p256dh": "AAAA", "auth": "AAAA"}},
        {**browser(), "keys": {"p256dh": browser()["keys"]["p256dh"]}},
        {"endpoint": browser()["endpoint"]},
        "x",
    ],
)
async def test_subscriptions_that_are_refused(api: Api, subscription: Any) -> None:
    body = {"subscription": subscription}
    await api.fails("POST", SUBSCRIBE, body, status=422, code="validation_error")
    await api.fails("POST", SUBSCRIBE, body, client=None, status=401, code="unauthorized")
    assert await subscriptions(api) == []


async def test_a_test_message_goes_to_everything_of_the_caller(api: Api) -> None:
    assert await api.ok("POST", TEST) == {"success": True, "sent_to": 0, "message": "Нет устройств для уведомлений."}
    await api.ok("POST", REGISTER, PHONE)
    await api.ok("POST", SUBSCRIBE, {"subscription": browser()})
    await api.ok("POST", REGISTER, {**PHONE, "fcm_token": TOKEN + "x"}, client=OTHER)
    answer = await api.ok("POST", TEST)
    assert (answer["success"], answer["sent_to"]) == (True, 2)
    assert await api.one("SELECT (user_id, event, state)::text FROM push_outbox") == f"({CLIENT},test,queued)"


# What the money tells -----------------------------------------------------------------------------------------


async def test_a_start_and_a_settlement_warn_of_a_low_balance_once(api: Api) -> None:
    get_settings.cache_clear()
    await api.sql("UPDATE clients SET low_balance_notified_at = NULL")
    started = await api.start(amount_som=960)
    transaction = await api.charger_starts(started["session_id"])
    await api.charger_stops(transaction, 1000 + 71111)
    told = await api.sql("SELECT event, payload FROM push_outbox WHERE user_type = 'client' ORDER BY id")
    assert [row["event"] for row in told] == ["low_balance_warning", "charging_started", "charging_completed"]
    assert told[0]["payload"] == {"balance": 40, "threshold": 50}


async def test_a_payment_is_confirmed_once_however_often_it_is_found(api: Api) -> None:
    made = await api.ok("POST", "/api/v1/balance/topup-qr", {"amount": 500})
    api.standin.behaviour.callbacks = 0
    api.standin.pay(made["invoice_id"])
    for _ in range(2):
        await api.ok("POST", "/api/v1/payment/check-status", {"invoice_id": made["invoice_id"]})
    (told,) = await api.sql("SELECT user_id, event, payload FROM push_outbox")
    assert (told["user_id"], told["event"]) == (CLIENT, "payment_confirmed")
    assert told["payload"] == {"amount": 500, "new_balance": 1500}
