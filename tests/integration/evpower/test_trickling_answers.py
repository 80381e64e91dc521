"""A server that answers byte by byte, for ever: each byte is in time, so only a deadline of the whole ends it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from evpower.auth import jwks
from evpower.config import Settings
from evpower.notifications.http import HttpClient
from evpower.notifications.models import TryLater
from evpower.notifications.sms import SmsNotSent
from evpower.notifications.sms_http import HttpSms

TIMEOUT_S = 0.3


@pytest.fixture
async def url(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.02)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    server.close()


async def test_a_push_provider_is_given_up(url: str) -> None:
    http = HttpClient(Settings.model_validate({"environment": "test", "push_timeout_s": TIMEOUT_S}))
    try:
        async with asyncio.timeout(10):
            assert isinstance(await http.post(url, {}, json={}), TryLater)
    finally:
        await http.close()


async def test_a_text_message_may_have_been_sent(url: str) -> None:
    settings = {"environment": "test", "sms_gateway_url": url, "sms_gateway_token": "t", "sms_timeout_s": TIMEOUT_S}
    sender = HttpSms(Settings.model_validate(settings))
    async with asyncio.timeout(10):
        with pytest.raises(SmsNotSent) as failure:
            await sender.send("+996700000001", "1234")
    assert not failure.value.certain


async def test_a_token_issuer_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "_FETCH_TIMEOUT_S", TIMEOUT_S)
    async with asyncio.timeout(10):
        with pytest.raises(TimeoutError):
            await jwks.http_fetch(url)()
