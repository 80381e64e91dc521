"""Login codes that somebody orders for others' numbers: refused, told of, and no driver is kept out."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from evpower.clock import FrozenClock
from evpower.notifications.sms import SmsNotSent
from tests.integration.functions.api.conftest import CLIENT, Api
from tests.integration.functions.api.login_world import PHONE, SEND, STAFF_PHONE, Phones

NO_REDIS = "redis://127.0.0.1:1/0"
CAPS = {
    "otp_sends_per_prefix_per_hour": 8,
    "otp_sends_per_prefix_per_day": 16,
    "otp_sends_per_hour": 12,
    "otp_sends_per_day": 24,
}


async def ask(phones: Phones, phone: str, number: int = 0) -> Any:
    """A code for a phone, asked for from an address of its own."""
    headers = {"X-Forwarded-For": f"198.51.{number // 250}.{number % 250}"}
    return await phones.api.call("POST", SEND, {"phone": phone}, client=None, headers=headers)


@pytest.mark.parametrize("phone", ["+447700900123", "+8801700000001", "0044 7700 900123", "+77010000001"])
async def test_other_countries_get_no_codes(make_api: Callable[..., Any], api: Api, phone: str) -> None:
    phones = Phones.of(await make_api())
    answer = (await ask(phones, phone)).json()
    assert (answer["error_code"], answer["field"]) == ("validation_error", "phone")
    assert answer["fields"] == [{"field": "phone", "problem": "country_not_served"}]
    assert phones.sms.messages == []
    assert await api.one("SELECT count(*) FROM otp_codes") == 0
    served = Phones.of(await make_api(sms_countries="996,44,880,7"))
    assert (await ask(served, phone)).status_code == 200


@pytest.mark.parametrize("redis", ["there", "away"])
async def test_a_range_of_numbers_is_capped_and_clients_keep_their_share(
    make_api: Callable[..., Any], api: Api, redis: str, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    phones = Phones.of(await make_api(**CAPS, **({"redis_url": NO_REDIS} if redis == "away" else {})))
    await api.sql("UPDATE clients SET phone = %s WHERE id = %s", PHONE, CLIENT)
    await phones.add_staff()
    caplog.set_level(logging.WARNING)
    answers = [await ask(phones, f"+996700{number:06d}", number) for number in range(12)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 8
    refused = answers[-1]
    assert refused.json()["error_code"] == "rate_limit"
    assert int(refused.headers["retry-after"]) == refused.json()["retry_after_seconds"] >= 1
    assert len(phones.sms.messages) == 4
    records = [record for record in caplog.records if record.getMessage() == "login code refused"]
    assert {(record.reason, record.number_range) for record in records} == {("prefix", "+996700")}  # type: ignore[attr-defined]
    assert "+996700000" not in caplog.text
    assert '"LoginCodesRefused":1' in capsys.readouterr().out.replace(" ", "")
    for known in (PHONE, STAFF_PHONE):
        assert (await ask(phones, known)).status_code == 200
    assert (await ask(phones, "+996555000001")).status_code == 200, "another operator's numbers"
    phones.wait(hours=2)
    assert (await ask(phones, "+996700000011", 11)).status_code == 200


async def test_the_network_is_capped_by_the_hour_and_by_the_day(make_api: Callable[..., Any], api: Api) -> None:
    phones = Phones.of(await make_api(**CAPS))
    await api.sql("UPDATE clients SET phone = %s WHERE id = %s", PHONE, CLIENT)
    clock = phones.api.deps.clock
    assert isinstance(clock, FrozenClock)
    clock.current = clock.now().replace(hour=1, minute=0)  # so that the ten hours below are of one day (UTC)
    sent = 0
    for hour in range(5):
        answers = [await ask(phones, f"+996{500 + number}{hour:06d}", number) for number in range(20)]
        counts = Counter(answer.status_code for answer in answers)
        sent += counts[200]
        assert counts[200] <= 6
        assert (await ask(phones, PHONE)).status_code == 200, hour
        phones.wait(hours=2)
    assert sent <= 12, "strangers' half of a day"


async def test_many_addresses_are_no_way_around_and_one_address_keeps_no_client_out(
    make_api: Callable[..., Any], api: Api
) -> None:
    phones = Phones.of(await make_api(otp_sends_per_address_per_hour=3))
    await api.sql("UPDATE clients SET phone = %s WHERE id = %s", PHONE, CLIENT)
    answers = [await ask(phones, f"+996{500 + number}000001") for number in range(6)]
    assert Counter(answer.status_code for answer in answers) == {200: 3, 429: 3}
    assert (await ask(phones, PHONE)).status_code == 200
    assert (await ask(phones, "+996700000099", 7)).status_code == 200


@pytest.mark.parametrize("status", ["blocked", "pending_deletion"])
async def test_a_closed_account_has_no_share(make_api: Callable[..., Any], api: Api, status: str) -> None:
    phones = Phones.of(await make_api(otp_sends_per_hour=2))
    await api.sql("UPDATE clients SET phone = %s, status = %s WHERE id = %s", PHONE, status, CLIENT)
    assert (await ask(phones, "+996500000001", 1)).status_code == 200
    assert (await ask(phones, PHONE)).status_code == 429


@pytest.mark.parametrize("redis", ["there", "away"])
async def test_codes_that_were_not_sent_use_up_nothing(make_api: Callable[..., Any], api: Api, redis: str) -> None:
    phones = Phones.of(await make_api(**CAPS, **({"redis_url": NO_REDIS} if redis == "away" else {})))
    phones.sms.failure = SmsNotSent("out of order", certain=True)
    for number in range(20):
        assert (await ask(phones, f"+996700{number:06d}", number)).status_code == 502
    phones.sms.failure = None
    assert (await ask(phones, PHONE)).status_code == 200
    for _ in range(10):
        assert (await ask(phones, PHONE)).status_code == 429, "a minute between two codes"
    answers = [await ask(phones, f"+996700{number:06d}", number) for number in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 3 + [429], "one and three of four"


async def test_codes_that_may_have_been_sent_count(make_api: Callable[..., Any], api: Api) -> None:
    phones = Phones.of(await make_api(**CAPS))
    phones.sms.failure = SmsNotSent("no answer", certain=False)
    answers = [await ask(phones, f"+996700{number:06d}", number) for number in range(6)]
    assert [answer.status_code for answer in answers] == [502] * 4 + [429] * 2


async def test_wrong_codes_of_others_at_the_address_refuse_nobody(make_api: Callable[..., Any], api: Api) -> None:
    phones = Phones.of(await make_api(otp_checks_per_address_per_minute=2))
    code = await phones.code()
    for number in range(4):
        body = {"phone": f"+99670000010{number}", "code": "000000"}
        answer = await phones.api.call("POST", "/api/v1/auth/verify-otp", body, client=None)
        assert answer.status_code == (401 if number < 2 else 429)
    await phones.ok("/api/v1/auth/verify-otp", {"phone": PHONE, "code": code})
