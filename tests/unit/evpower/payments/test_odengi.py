"""The O!Dengi client against a transport in memory: what each answer or silence means."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from evpower.clock import FrozenClock
from evpower.errors import H2HNotSupported, TokenNotSupported
from evpower.payments.odengi import OdengiProvider
from evpower.payments.odengi_callback import OdengiKeys
from evpower.payments.odengi_signature import compact_json, hmac_md5
from evpower.payments.provider import (
    CardPayment,
    Done,
    InvoiceRequest,
    InvoiceStatus,
    PaymentState,
    Refused,
    TokenPayment,
    Unknown,
    Unreachable,
)

KEYS = OdengiKeys(merchant_id="1234567890", password="api-password")
REQUEST = InvoiceRequest("evp-1", Decimal("123.45"), "Пополнение", datetime(2026, 3, 1, 20, 30, 0, tzinfo=UTC))


class Wire:
    """Answers every request with one envelope, and keeps the requests."""

    def __init__(self, answer: Any = None, *, act: Callable[[httpx.Request], httpx.Response] | None = None) -> None:
        self.sent: list[httpx.Request] = []
        self._answer = answer
        self._act = act

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        if self._act:
            return self._act(request)
        return httpx.Response(200, json={"version": 1005, "data": self._answer})

    @property
    def data(self) -> dict[str, Any]:
        [request] = self.sent
        data: dict[str, Any] = json.loads(request.content)["data"]
        return data


def provider(wire: Any, **options: Any) -> OdengiProvider:
    return OdengiProvider(
        api_url="https://provider.example/api",
        keys=KEYS,
        clock=FrozenClock(datetime(2026, 3, 1, 20, 25, 0, 500_000, tzinfo=UTC)),
        http=lambda: httpx.AsyncClient(transport=httpx.MockTransport(wire)),
        **options,
    )


async def test_create_invoice_on_the_wire() -> None:
    wire = Wire({"invoice_id": "000000000017", "qr": "https://q.example/1.png", "emv_qr": "0002", "link_app": "o://1"})
    outcome = await provider(wire, result_url="https://pay.example/hook", test_mode=True).create_invoice(REQUEST)
    assert isinstance(outcome, Done)
    invoice = outcome.value
    assert (invoice.invoice_id, invoice.qr_image_url, invoice.qr_payload, invoice.app_link) == (
        "000000000017",
        "https://q.example/1.png",
        "0002",
        "o://1",
    )
    [request] = wire.sent
    envelope = json.loads(request.content)
    assert list(envelope) == ["cmd", "version", "sid", "mktime", "lang", "data", "hash"]
    given = envelope.pop("hash")
    assert given == hmac_md5(KEYS.password, compact_json(envelope))
    assert compact_json({**envelope, "hash": given}) == request.content, "the bytes that were signed are sent"
    assert envelope["mktime"] == "1772396700500"
    assert envelope["data"] == {
        "order_id": "evp-1",
        "desc": "Пополнение",
        "amount": 12345,
        "currency": "KGS",
        "test": 1,
        "long_term": 0,
        "date_life": "2026-03-02 02:30:00",
        "result_url": "https://pay.example/hook",
    }


async def test_status_with_several_attempts() -> None:
    wire = Wire(
        {
            "payments": [
                {"trans_id": "1", "status": "canceled", "amount": "12345", "date_pay": "2026-03-02 02:26:00"},
                {"trans_id": 2, "status": "APPROVED", "amount": 12000, "date_pay": "?", "test": "1"},
                {"payment_id": "3", "status": "waitingauthcomplete", "amount": "5"},
                {"payment_id": "4", "status": "somethingnew", "amount": ""},
            ]
        }
    )
    outcome = await provider(wire).payment_status("evp-1", "000000000017")
    assert wire.data == {"order_id": "evp-1", "invoice_id": "000000000017"}
    assert isinstance(outcome, Done)
    status = outcome.value
    assert status.state is PaymentState.APPROVED
    [approved] = status.approved
    assert (approved.trans_id, approved.amount, approved.test, approved.paid_at) == ("2", Decimal(120), True, None)
    assert [payment.state.value for payment in status.payments] == ["canceled", "approved", "processing", "processing"]
    assert status.payments[0].paid_at == datetime(2026, 3, 1, 20, 26, tzinfo=UTC)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"status": "processing"}, PaymentState.PROCESSING),
        ({"status": "canceled"}, PaymentState.CANCELED),
        ({"status": "approved"}, PaymentState.PROCESSING),
        ({"status": "approved", "payments": []}, PaymentState.PROCESSING),
        ({"payments": {"1": {"trans_id": "1", "status": "approved", "amount": "1"}}}, PaymentState.APPROVED),
        ({"payments": [{"trans_id": "1", "status": "canceled", "amount": "1"}]}, PaymentState.CANCELED),
        ({"payments": None}, PaymentState.PROCESSING),
        ({"payments": ["?"]}, PaymentState.PROCESSING),
        ({"error": 63, "desc": "no transactions"}, PaymentState.PROCESSING),
        ({"error": "63"}, PaymentState.PROCESSING),
        ({"error": 0, "status": "canceled"}, PaymentState.CANCELED),
    ],
)
async def test_status_forms(data: dict[str, Any], expected: PaymentState) -> None:
    outcome = await provider(Wire(data)).payment_status("evp-1")
    assert isinstance(outcome, Done)
    assert isinstance(outcome.value, InvoiceStatus)
    assert outcome.value.state is expected


async def test_amount_that_cannot_be_read_is_not_an_answer() -> None:
    wire = Wire({"payments": [{"trans_id": "1", "status": "approved", "amount": "123.45"}]})
    assert isinstance(await provider(wire).payment_status("evp-1"), Unknown)


@pytest.mark.parametrize("code", [26, "26"])
async def test_refusals_keep_code_and_text(code: int | str) -> None:
    outcome = await provider(Wire({"error": code, "desc": "Пользователь не найден"})).create_invoice(REQUEST)
    assert outcome == Refused("26", "Пользователь не найден")


async def test_cancel_and_refunds() -> None:
    paid = await provider(Wire({"error": 45, "desc": "already paid"})).cancel_invoice("000000000017")
    assert isinstance(paid, Refused)
    assert provider(Wire()).already_paid(paid)
    assert not provider(Wire()).already_paid(Refused("26", ""))
    for success in (True, 1, "true", "1"):
        assert await provider(Wire({"success": success})).cancel_invoice("000000000017") == Done(None)
    assert isinstance(await provider(Wire({"success": False})).cancel_invoice("000000000017"), Unknown)
    wire = Wire({"success": True})
    assert await provider(wire).refund("1", Decimal(5), full=True) == Done(None)
    assert (json.loads(wire.sent[0].content)["cmd"], wire.data) == ("voidPayment", {"trans_id": "1"})
    wire = Wire({"success": True})
    assert await provider(wire).refund("1", Decimal(5), full=False) == Done(None)
    assert wire.data == {"trans_id": "1", "amount": 500}


def _raise(error: Exception) -> Callable[[httpx.Request], httpx.Response]:
    def act(_: httpx.Request) -> httpx.Response:
        raise error

    return act


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (_raise(httpx.ConnectError("refused")), Unreachable),
        (_raise(httpx.ConnectTimeout("slow")), Unreachable),
        (_raise(httpx.ReadTimeout("slow")), Unknown),
        (_raise(httpx.WriteError("reset")), Unknown),
        (_raise(httpx.RemoteProtocolError("closed")), Unknown),
        (lambda _: httpx.Response(502, text="<html>"), Unknown),
        (lambda _: httpx.Response(302, headers={"Location": "https://elsewhere.example"}), Unknown),
        (lambda _: httpx.Response(200, text="<html>"), Unknown),
        (lambda _: httpx.Response(200, text="[]"), Unknown),
        (lambda _: httpx.Response(200, text="[" * 100_000), Unknown),
        (lambda _: httpx.Response(200, json={"data": None}), Unknown),
        (lambda _: httpx.Response(200, json={"data": {}}), Unknown),
        (lambda _: httpx.Response(200, content=b" " * (1024 * 1024 + 1)), Unknown),
    ],
)
async def test_silence_and_noise(act: Callable[[httpx.Request], httpx.Response], expected: type[object]) -> None:
    assert isinstance(await provider(Wire(act=act)).create_invoice(REQUEST), expected)


async def test_the_whole_call_has_one_budget() -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    outcome = await provider(never, timeout_s=0.05).create_invoice(REQUEST)
    assert outcome == Unknown("createInvoice: TimeoutError")


async def test_no_card_commands() -> None:
    card = CardPayment(
        "evp-1", Decimal(1), "", "p@example.com", pan="0" * 16, holder="A", cvv="000", year="30", month="1"
    )
    assert "000" not in repr(card)
    with pytest.raises(H2HNotSupported):
        await provider(Wire()).create_card_payment(card)
    with pytest.raises(TokenNotSupported):
        await provider(Wire()).create_card_token(14)
    with pytest.raises(TokenNotSupported):
        await provider(Wire()).pay_by_token(TokenPayment("evp-1", Decimal(1), "", "p@example.com", token="t"))
