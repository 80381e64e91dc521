"""The payment stand-in as its users see it: the merchant API, the payer's page, the controls, a restart."""

import asyncio
import json
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from evpower.payments.odengi import OdengiProvider
from evpower.payments.odengi_callback import OdengiKeys
from evpower.payments.odengi_signature import callback_hash, signed_request
from evpower.payments.provider import Done, InvoiceRequest, PaymentState, Refused
from infra.local.payment_standin.server import PaymentStandin


@pytest.fixture
async def standin() -> AsyncIterator[PaymentStandin]:
    async with PaymentStandin() as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


@pytest.fixture
async def provider(standin: PaymentStandin) -> AsyncIterator[OdengiProvider]:
    client = OdengiProvider(api_url=standin.api_url, keys=OdengiKeys(standin.merchant_id, standin.password))
    yield client
    await client.close()


def order(order_id: str = "evp-1", *, life: timedelta = timedelta(minutes=5)) -> InvoiceRequest:
    return InvoiceRequest(order_id, Decimal("250.50"), "Пополнение <b>", datetime.now(UTC) + life)


async def created(provider: OdengiProvider, **options: Any) -> str:
    outcome = await provider.create_invoice(order(**options))
    assert isinstance(outcome, Done)
    return outcome.value.invoice_id


async def test_page_shows_the_qr_and_pays(
    standin: PaymentStandin, provider: OdengiProvider, http: httpx.AsyncClient
) -> None:
    outcome = await provider.create_invoice(order())
    assert isinstance(outcome, Done)
    invoice = outcome.value
    page = (await http.get(invoice.pay_url)).text
    assert "250.50 KGS" in page
    assert "Пополнение &lt;b&gt;" in page
    [picture] = re.findall(r'<img src="([^"]+)"', page)
    image = await http.get(standin.base_url + picture)
    assert image.headers["content-type"] == "image/png"
    assert image.content.startswith(b"\x89PNG")
    assert (await http.get(invoice.qr_image_url)).content == image.content
    [action] = re.findall(r'action="([^"]+)"', page)
    paid = await http.post(standin.base_url + action, follow_redirects=True)
    assert "<strong>paid</strong>" in paid.text
    assert "<button disabled>" in paid.text
    status = await provider.payment_status("evp-1")
    assert isinstance(status, Done)
    [payment] = status.value.approved
    assert payment.amount == Decimal("250.50")
    assert payment.paid_at is not None
    assert abs((payment.paid_at - datetime.now(UTC)).total_seconds()) < 60
    assert (await http.get(standin.base_url + "/page/nope")).status_code == 404


async def test_error_codes(standin: PaymentStandin, provider: OdengiProvider) -> None:
    invoice_id = await created(provider)
    duplicate = await provider.create_invoice(order())
    assert isinstance(duplicate, Refused)
    assert duplicate.code == "duplicate_order"
    unknown = await provider.payment_status("evp-nobody")
    assert isinstance(unknown, Done)
    assert unknown.value.state is PaymentState.PROCESSING, "63 means: no transactions"
    refund = await provider.refund("1", Decimal(1), full=True)
    assert isinstance(refund, Refused)
    assert refund.code == "63"
    [payment] = standin.pay(invoice_id)
    canceled = await provider.cancel_invoice(invoice_id)
    assert isinstance(canceled, Refused)
    assert provider.already_paid(canceled)
    too_much = await provider.refund(payment.trans_id, Decimal("250.51"), full=False)
    assert isinstance(too_much, Refused)
    assert await provider.refund(payment.trans_id, Decimal("50.50"), full=False) == Done(None)
    assert await provider.refund(payment.trans_id, Decimal("200"), full=True) == Done(None)
    status = await provider.payment_status("evp-1", invoice_id)
    assert isinstance(status, Done)
    assert status.value.state is PaymentState.CANCELED


@pytest.mark.parametrize("change", [{"password": "wrong"}, {"merchant_id": "666"}])
async def test_bad_hash_and_foreign_merchant(standin: PaymentStandin, change: dict[str, str]) -> None:
    keys = {"merchant_id": standin.merchant_id, "password": standin.password, **change}
    stranger = OdengiProvider(api_url=standin.api_url, keys=OdengiKeys(**keys))
    outcome = await stranger.create_invoice(order())
    assert isinstance(outcome, Refused)
    assert standin.books.invoices == {}
    await stranger.close()


async def test_a_changed_byte_breaks_the_hash(standin: PaymentStandin, http: httpx.AsyncClient) -> None:
    data = {"order_id": "evp-1", "desc": "", "amount": 100, "currency": "KGS", "date_life": "2030-01-01 00:00:00"}
    body = signed_request(
        cmd="createInvoice", merchant_id=standin.merchant_id, password=standin.password, mktime="1", data=data
    )
    answer = (await http.post(standin.api_url, content=body.replace(b'"amount":100', b'"amount":101'))).json()
    assert answer["data"]["error"] == "bad_hash"
    assert (await http.post(standin.api_url, content=b"noise")).json()["data"]["error"] == "bad_request"
    good = (await http.post(standin.api_url, content=body)).json()
    assert len(good["data"]["invoice_id"]) == 12


async def test_closed_invoices_take_no_money_unless_it_was_under_way(
    standin: PaymentStandin, provider: OdengiProvider, http: httpx.AsyncClient
) -> None:
    expired = await created(provider, order_id="evp-1", life=-timedelta(seconds=1))
    canceled = await created(provider, order_id="evp-2")
    assert await provider.cancel_invoice(canceled) == Done(None)
    for invoice_id, state in ((expired, "expired"), (canceled, "canceled")):
        assert f"<strong>{state}</strong>" in (await http.get(f"{standin.base_url}/page/{invoice_id}")).text
        assert (await http.post(f"{standin.base_url}/pay/{invoice_id}", json={})).status_code == 409
        late = await http.post(f"{standin.base_url}/pay/{invoice_id}", json={"force": True, "amount": 1, "times": 2})
        assert len(late.json()["trans_ids"]) == 2


async def test_controls(standin: PaymentStandin, provider: OdengiProvider, http: httpx.AsyncClient) -> None:
    control = f"{standin.base_url}/control"
    assert (await http.put(control, json={"fail": {"createInvoice": 26}})).json()["fail"] == {"createInvoice": 26}
    refused = await provider.create_invoice(order())
    assert isinstance(refused, Refused)
    assert refused.code == "26"
    assert (await http.put(control, json={"nonsense": 1})).status_code == 400
    assert (await http.delete(control)).json()["fail"] == {}
    await created(provider)
    [invoice] = (await http.get(f"{control}/invoices")).json()
    assert invoice["order_id"] == "evp-1"
    await http.put(control, json={"api_delay_s": 0.2})
    began = time.monotonic()
    await provider.payment_status("evp-1")
    assert time.monotonic() - began >= 0.2


async def test_own_process_keeps_its_books_over_a_restart(tmp_path: Path, http: httpx.AsyncClient) -> None:
    state = tmp_path / "books.json"

    async def start() -> tuple[asyncio.subprocess.Process, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "infra.local.payment_standin", "--merchant-id", "m", "--password", "p", "--state", str(state)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        return process, line.split()[-1]

    async def call(url: str, cmd: str, data: dict[str, Any]) -> dict[str, Any]:
        body = signed_request(cmd=cmd, merchant_id="m", password="p", mktime="1", data=data)
        answer: dict[str, Any] = (await http.post(f"{url}/api/json/json.php", content=body)).json()["data"]
        return answer

    process, url = await start()
    data = {"order_id": "evp-1", "desc": "", "amount": 100, "currency": "KGS", "date_life": "2030-01-01 00:00:00"}
    invoice = await call(url, "createInvoice", data)
    await http.post(f"{url}/pay/{invoice['invoice_id']}", json={})
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0

    process, url = await start()
    status = await call(url, "statusPayment", {"order_id": "evp-1"})
    assert [payment["amount"] for payment in status["payments"]] == ["100"]
    assert (await http.get(f"{url}/health")).json() == {"status": "healthy"}
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_notification_is_repeated_until_it_is_taken(standin: PaymentStandin, provider: OdengiProvider) -> None:
    received: list[dict[str, Any]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.findall(rb"(?i)content-length: (\d+)", head)[0])
        received.append(json.loads(await reader.readexactly(length)))
        status = b"503 Busy" if len(received) == 1 else b"200 OK"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    invoice_id = await created(provider)
    standin.books.invoices[invoice_id].result_url = f"http://127.0.0.1:{port}/hook"
    standin.pay(invoice_id)
    await standin.settle()
    server.close()
    assert standin.callback_statuses == [503, 200]
    assert received[0] == received[1]
    members = {name: str(value) for name, value in received[0].items()}
    assert members["hash"] == callback_hash(standin.password, members)
    assert (members["order_id"], members["amount"], members["status_pay"]) == ("evp-1", "25050", "3")
