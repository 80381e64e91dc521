"""The tokens by which we speak to FCM and APNs, and how we say who we are."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.notifications import delivery
from evpower.notifications.apns import Apns
from evpower.notifications.fcm import Fcm
from evpower.notifications.http import HttpClient
from evpower.notifications.models import Address, Channel, Delivered, Push, Refused, Result, TryLater
from infra.local.push_standin.server import Answer, PushStandin
from tests.integration.evpower.notifications.conftest import ANDROID, IPHONE, World

PUSH = Push("title", "body", {"type": "test"}, "evp-1", 60)


def address(channel: Channel, token: str) -> Address:
    return Address("a", channel, token, "ru", datetime.now(UTC))


def asked(standin: PushStandin) -> int:
    """How often an access token was asked for."""
    return standin.requests.count(("POST", "/token"))


@pytest.fixture
async def clock_and_http(push_settings: Callable[..., Settings]):  # type: ignore[no-untyped-def]
    http = HttpClient(push_settings())
    yield FrozenClock(datetime.now(UTC)), http
    await http.close()


async def test_an_access_token_serves_many_messages_and_is_renewed_in_time(
    clock_and_http: tuple[FrozenClock, HttpClient], push_settings: Callable[..., Settings], push_standin: PushStandin
) -> None:
    clock, http = clock_and_http
    clock.advance(timedelta(minutes=-57))  # so that the later assertion is not from the future
    fcm, phone = Fcm(push_settings(), http, clock), address(Channel.FCM, ANDROID)
    results = await asyncio.gather(*(fcm.send(phone, PUSH) for _ in range(5)))
    assert results == [Delivered()] * 5
    assert asked(push_standin) == 1
    clock.advance(timedelta(minutes=54))
    assert await fcm.send(phone, PUSH) == Delivered()
    assert asked(push_standin) == 1
    clock.advance(timedelta(minutes=2))
    assert await fcm.send(phone, PUSH) == Delivered()
    assert asked(push_standin) == 2


async def test_a_token_that_is_refused_is_asked_for_again(
    clock_and_http: tuple[FrozenClock, HttpClient], push_settings: Callable[..., Settings], push_standin: PushStandin
) -> None:
    clock, http = clock_and_http
    push_standin.access_token_life_s = 0
    fcm, phone = Fcm(push_settings(), http, clock), address(Channel.FCM, ANDROID)
    assert await fcm.send(phone, PUSH) == TryLater("401 UNAUTHENTICATED")
    push_standin.access_token_life_s = 3600
    assert await fcm.send(phone, PUSH) == Delivered()


async def test_a_token_endpoint_in_trouble_is_asked_once_and_not_by_every_message(
    clock_and_http: tuple[FrozenClock, HttpClient], push_settings: Callable[..., Settings], push_standin: PushStandin
) -> None:
    clock, http = clock_and_http
    clock.advance(timedelta(seconds=-10))
    push_standin.answer("token", Answer(503, {"error": "backend"}, {"Retry-After": "20"}))
    fcm, phone = Fcm(push_settings(), http, clock), address(Channel.FCM, ANDROID)
    results: list[Result] = list(await asyncio.gather(*(fcm.send(phone, PUSH) for _ in range(5))))
    assert results == [TryLater("no access token: 503", 20)] * 5
    assert asked(push_standin) == 1
    clock.advance(timedelta(seconds=5))
    assert await fcm.send(phone, PUSH) == Delivered()


async def test_apple_s_token_is_kept_for_forty_minutes_and_renewed_when_it_has_expired(
    clock_and_http: tuple[FrozenClock, HttpClient], push_settings: Callable[..., Settings], push_standin: PushStandin
) -> None:
    clock, http = clock_and_http
    clock.advance(timedelta(hours=-2))
    apns, phone = Apns(push_settings(), http, clock), address(Channel.APNS, IPHONE)
    assert await apns.send(phone, PUSH) == TryLater("403 ExpiredProviderToken")
    clock.advance(timedelta(hours=2))
    for _ in range(3):
        assert await apns.send(phone, PUSH) == Delivered()
    assert len(push_standin.shown(IPHONE)) == 1


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (Answer(429, {"reason": "TooManyRequests"}, {"Retry-After": "7"}), TryLater("429 TooManyRequests", 7)),
        (Answer(500, {"reason": "InternalServerError"}), TryLater("500 InternalServerError")),
        (Answer(503, ["no object"], {"Retry-After": "soon"}), TryLater("503 ")),
        (Answer(413, {"reason": "PayloadTooLarge"}), Refused("413 PayloadTooLarge")),
        (Answer(301, None, {"Location": "https://elsewhere.example/"}), Refused("301 ")),
    ],
)
async def test_what_apple_s_answers_mean(
    clock_and_http: tuple[FrozenClock, HttpClient],
    push_settings: Callable[..., Settings],
    push_standin: PushStandin,
    answer: Answer,
    result: Result,
) -> None:
    clock, http = clock_and_http
    push_standin.answer(IPHONE, answer)
    assert await Apns(push_settings(), http, clock).send(address(Channel.APNS, IPHONE), PUSH) == result


async def test_device_tokens_stay_out_of_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await world.device(ANDROID, "android")
    await world.device(IPHONE, "ios")
    world.standin.answer(ANDROID, Answer(503))
    assert await world.deliver(await world.queued()) == "postponed"
    text = "\n".join(record.getMessage() + str(record.__dict__) for record in caplog.records)
    assert "TryLater" in text
    assert IPHONE not in text
    assert ANDROID not in text


async def test_a_provider_that_never_answers_does_not_hold_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging:
        async def send(self, address: Address, push: Push) -> Result:
            await asyncio.Event().wait()
            return Delivered()

    monkeypatch.setattr(delivery, "SEND_BUDGET_S", 5.0)
    await world.device(ANDROID, "android")
    browser = await world.browser()
    senders = {**world.deps.senders, Channel.FCM: Hanging()}
    patient = replace(world, deps=replace(world.deps, senders=senders))
    assert await patient.deliver(await world.queued()) == "postponed"
    assert len(world.standin.shown(browser)) == 1
