"""Text messages through each adapter, over its real protocol."""

import asyncio
import logging
from collections.abc import AsyncIterator
from urllib.request import urlopen

import httpx
import orjson
import pytest

from evpower.config import Settings
from evpower.notifications.sms import LocalSms, SmsNotSent, sms_sender
from infra.local.processes import free_port
from infra.local.queues import SqsEndpoint
from infra.local.sms_standin import TOKEN, SmsStandin

PHONE, TEXT = "+996700000077", "EvPower: код для входа 123456."


def settings(**values: object) -> Settings:
    base = {"environment": "test", "sms_gateway_token": TOKEN, "sms_timeout_s": 0.5}
    return Settings.model_validate({**base, **values})


@pytest.fixture
async def gateway() -> AsyncIterator[SmsStandin]:
    async with SmsStandin() as server:
        yield server


async def test_the_gateway_takes_a_message(gateway: SmsStandin) -> None:
    shown: list[str] = []
    async with SmsStandin(shown.append) as showing:
        for server in (gateway, showing):
            sender = sms_sender(settings(sms_provider="http", sms_gateway_url=server.gateway_url))
            await sender.send(PHONE, TEXT)
            await sender.send("+996700000078", "another")
    async with httpx.AsyncClient() as http:
        (message,) = (await http.get(gateway.outbox_url, params={"to": PHONE})).json()["messages"]
        assert len((await http.get(gateway.outbox_url)).json()["messages"]) == 2
    assert (message["to"], message["text"]) == (PHONE, TEXT)
    assert shown[0] == f"SMS to {PHONE}: {TEXT}"


@pytest.mark.parametrize(("status", "certain"), [(400, True), (429, True), (503, False)])
async def test_the_gateway_refuses(gateway: SmsStandin, status: int, certain: bool) -> None:
    gateway.status = status
    sender = sms_sender(settings(sms_provider="http", sms_gateway_url=gateway.gateway_url))
    with pytest.raises(SmsNotSent, match=str(status)) as caught:
        await sender.send(PHONE, TEXT)
    assert caught.value.certain is certain


async def test_a_wrong_token_and_no_gateway(gateway: SmsStandin) -> None:
    for values in (
        {"sms_gateway_url": gateway.gateway_url, "sms_gateway_token": "another"},
        {"sms_gateway_url": f"http://127.0.0.1:{free_port()}/"},
        {"sms_gateway_url": ""},
    ):
        with pytest.raises(SmsNotSent) as caught:
            await sms_sender(settings(sms_provider="http", **values)).send(PHONE, TEXT)
        assert caught.value.certain


async def test_a_gateway_that_does_not_answer_may_have_sent_it() -> None:
    accepted = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        accepted.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(SmsNotSent) as caught:
            await sms_sender(settings(sms_provider="http", sms_gateway_url=url)).send(PHONE, TEXT)
    assert accepted.is_set()
    assert not caught.value.certain


async def test_sns_takes_a_message(sqs: SqsEndpoint) -> None:
    sender = sms_sender(settings(sms_provider="sns", aws_endpoint_url=sqs.endpoint_url, sms_sender_id="EvPower"))
    await sender.send(PHONE, TEXT)
    with urlopen(f"{sqs.endpoint_url}/moto-api/data.json", timeout=10) as answer:
        (message,) = orjson.loads(answer.read())["sns"]["SMS"]
    assert (message["phone_number"], message["message"]) == (PHONE, TEXT)


async def test_sns_refuses_or_is_away(sqs: SqsEndpoint) -> None:
    sender = sms_sender(settings(sms_provider="sns", aws_endpoint_url=sqs.endpoint_url))
    with pytest.raises(SmsNotSent) as caught:
        await sender.send("not a number", TEXT)
    assert caught.value.certain
    away = sms_sender(settings(sms_provider="sns", aws_endpoint_url=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(SmsNotSent) as caught:
        await away.send(PHONE, TEXT)
    assert caught.value.certain


async def test_the_log_is_for_developers_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for environment in ("local", "test"):
        caplog.clear()
        await sms_sender(Settings.model_validate({"environment": environment})).send(PHONE, TEXT)
        assert TEXT in caplog.text
    for environment in ("dev", "stage", "production"):
        caplog.clear()
        deployed = Settings.model_validate({"environment": environment, "auth_token_secret": "s" * 32})
        sender = sms_sender(deployed)
        assert isinstance(sender, LocalSms)
        with pytest.raises(SmsNotSent):
            await sender.send(PHONE, TEXT)
        assert "123456" not in caplog.text
