"""The stand-in's HTTP server: the merchant API, the payer's page and the tests' controls."""

import asyncio
import contextlib
import html
import io
import json
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import aiohttp
import segno
from aiohttp import web

from infra.local.payment_standin import wire
from infra.local.payment_standin.ledger import ApiError, Books, Invoice, Payment

_PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
_CALLBACK_TRIES = 5


@dataclass(slots=True)
class Behaviour:
    """How the stand-in misbehaves; every member can be set over ``PUT /control``."""

    api_delay_s: float = 0.0  # before each answer
    hang: list[str] = field(default_factory=list)  # commands that are executed, but never answered
    fail: dict[str, int | str] = field(default_factory=dict)  # command -> error code, not executed
    http_status: int = 200  # other values: an HTML error page instead of an answer
    callbacks: int = 1  # copies of each notification; 0 for none
    callback_delay_s: float = 0.0
    callback_format: str = "json"  # json, xml, form
    callback_wrong_hash: bool = False


class PaymentStandin:
    """In-process server; ``async with PaymentStandin(...) as standin`` binds a free loopback port."""

    def __init__(
        self,
        *,
        merchant_id: str = "local-merchant",
        password: str = "local-odengi-password",  # noqa: S107 - the stand-in's own
        host: str = "127.0.0.1",
        port: int = 0,
        state_file: Path | None = None,
    ) -> None:
        self.merchant_id = merchant_id
        self.password = password
        self.books = Books()
        self.behaviour = Behaviour()
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.callback_statuses: list[int] = []
        self._host, self._port = host, port
        self._state_file = state_file
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._callbacks: set[asyncio.Task[None]] = set()

    @property
    def base_url(self) -> str:
        return f"http://{self._host}:{self._port}"

    @property
    def api_url(self) -> str:
        """Value for ODENGI_API_URL."""
        return f"{self.base_url}/api/json/json.php"

    async def start(self) -> None:
        if self._state_file and self._state_file.exists():
            self.books.load(json.loads(self._state_file.read_text()))
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=35))
        app = web.Application(client_max_size=1024 * 1024)
        app.add_routes(
            [
                web.get("/health", self._health),
                web.post("/api/json/json.php", self._api),
                web.get("/page/{invoice_id}", self._page),
                web.get("/qr/{invoice_id}.png", self._qr),
                web.post("/pay/{invoice_id}", self._pay),
                web.get("/control", self._show_control),
                web.put("/control", self._control),
                web.delete("/control", self._reset_control),
                web.get("/control/invoices", self._invoices),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        for task in list(self._callbacks):
            task.cancel()
        await asyncio.gather(*self._callbacks, return_exceptions=True)
        if self._runner:
            await self._runner.cleanup()
        if self._session:
            await self._session.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def settle(self) -> None:
        """Wait until every notification on its way has been delivered or given up."""
        while self._callbacks:
            await asyncio.gather(*self._callbacks, return_exceptions=True)

    def invoice_of(self, order_id: str) -> Invoice:
        return self.books.find({"order_id": order_id})

    def pay(self, invoice_id: str, *, amount: int | None = None, force: bool = False, times: int = 1) -> list[Payment]:
        """A payer pays ``times`` times; notifications follow as :class:`Behaviour` says. ``amount`` is tyiyn."""
        invoice = self.books.find({"invoice_id": invoice_id})
        made = []
        for number in range(times):
            payment = self.books.pay(invoice_id, datetime.now(UTC), amount=amount, force=force or number > 0)
            made.append(payment)
            for _ in range(self.behaviour.callbacks):
                self._notify(invoice, payment)
        self._save()
        return made

    def _notify(self, invoice: Invoice, payment: Payment) -> None:
        if not invoice.result_url:
            return
        task = asyncio.create_task(self._deliver(invoice, payment))
        self._callbacks.add(task)
        task.add_done_callback(self._callbacks.discard)

    async def _deliver(self, invoice: Invoice, payment: Payment) -> None:
        assert self._session is not None
        password = self.password + "x" * self.behaviour.callback_wrong_hash
        body, content_type = wire.callback(invoice, payment, self.merchant_id, password, self.behaviour.callback_format)
        await asyncio.sleep(self.behaviour.callback_delay_s)
        for attempt in range(_CALLBACK_TRIES):
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                headers = {"Content-Type": content_type}
                async with self._session.post(invoice.result_url, data=body, headers=headers) as response:
                    self.callback_statuses.append(response.status)
                    if response.status < 500:
                        return
            await asyncio.sleep(0.2 * 2**attempt)

    def _save(self) -> None:
        if self._state_file:
            fresh = self._state_file.with_suffix(".new")
            fresh.write_text(json.dumps(self.books.dump()))
            fresh.replace(self._state_file)

    def _links(self, invoice: Invoice) -> dict[str, Any]:
        page = f"{self.base_url}/page/{invoice.invoice_id}"
        return {
            "invoice_id": invoice.invoice_id,
            "qr": f"{self.base_url}/qr/{invoice.invoice_id}.png",
            "emv_qr": f"00020101021232590015qr.example.test0108{invoice.invoice_id}",
            "emv_qr_img": f"{self.base_url}/qr/{invoice.invoice_id}.png",
            "qr_url": page,
            "link_app": page,
            "site_pay": page,
            "paylink_url": page,
        }

    def _execute(self, cmd: str, data: dict[str, Any]) -> dict[str, Any]:
        if cmd in self.behaviour.fail:
            raise ApiError(self.behaviour.fail[cmd], "refused by control")
        match cmd:
            case "createInvoice":
                return self._links(self.books.create(data))
            case "statusPayment":
                return self.books.status(data)
            case "invoiceCancel":
                return self.books.cancel(data)
            case "voidPayment":
                return self.books.void(data)
            case "refundPaymentToEwallet":
                return self.books.refund(data)
        raise ApiError("unknown_command", cmd)

    async def _api(self, request: web.Request) -> web.Response:
        cmd = ""
        try:
            cmd, data = wire.read_request(await request.read(), self.merchant_id, self.password)
            self.requests.append((cmd, data))
            answered = self._execute(cmd, data)
            self._save()
        except ApiError as error:
            answered = {"error": error.code, "desc": error.text}
        if cmd in self.behaviour.hang:
            await asyncio.sleep(3600)
        await asyncio.sleep(self.behaviour.api_delay_s)
        if self.behaviour.http_status != 200:
            return web.Response(status=self.behaviour.http_status, text="<html>error</html>", content_type="text/html")
        body = wire.answer(cmd, self.merchant_id, self.password, answered)
        return web.Response(body=body, content_type="application/json")

    def _requested(self, request: web.Request) -> Invoice:
        try:
            return self.books.find({"invoice_id": request.match_info["invoice_id"]})
        except ApiError as error:
            raise web.HTTPNotFound(text="no such invoice") from error

    async def _page(self, request: web.Request) -> web.Response:
        invoice = self._requested(request)
        state = "paid" if invoice.paid else "canceled" if invoice.canceled else "waiting"
        if state == "waiting" and invoice.expired(datetime.now(UTC)):
            state = "expired"
        members = {
            "invoice_id": invoice.invoice_id,
            "amount": f"{invoice.amount / 100:.2f}",
            "description": invoice.description,
            "state": state,
            "disabled": "" if state == "waiting" else "disabled",
        }
        text = _PAGE
        for name, value in members.items():
            text = text.replace("{{" + name + "}}", html.escape(value))
        return web.Response(text=text, content_type="text/html")

    async def _qr(self, request: web.Request) -> web.Response:
        invoice = self._requested(request)
        image = io.BytesIO()
        segno.make(f"{self.base_url}/page/{invoice.invoice_id}").save(image, kind="png", scale=6)
        return web.Response(body=image.getvalue(), content_type="image/png")

    async def _pay(self, request: web.Request) -> web.Response:
        """Pay: ``amount`` (tyiyn), ``times`` and ``force`` as JSON for tests, an empty form from the page."""
        invoice = self._requested(request)
        is_json = request.content_type == "application/json"
        options: dict[str, Any] = await request.json() if is_json else {}
        try:
            payments = self.pay(
                invoice.invoice_id,
                amount=options.get("amount"),
                times=int(options.get("times", 1)),
                force=bool(options.get("force")),
            )
        except ApiError as error:
            return web.json_response({"error": error.code, "desc": error.text}, status=409)
        if not is_json:
            raise web.HTTPSeeOther(f"/page/{invoice.invoice_id}")
        return web.json_response({"success": True, "trans_ids": [payment.trans_id for payment in payments]})

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "healthy"})

    async def _show_control(self, _: web.Request) -> web.Response:
        return web.json_response({item.name: getattr(self.behaviour, item.name) for item in fields(Behaviour)})

    async def _control(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        known = {item.name for item in fields(Behaviour)}
        if not isinstance(wanted, dict) or not wanted.keys() <= known:
            return web.json_response({"error": "unknown member", "known": sorted(known)}, status=400)
        for name, value in wanted.items():
            setattr(self.behaviour, name, value)
        return await self._show_control(request)

    async def _reset_control(self, request: web.Request) -> web.Response:
        self.behaviour = Behaviour()
        return await self._show_control(request)

    async def _invoices(self, _: web.Request) -> web.Response:
        return web.json_response(self.books.dump())
