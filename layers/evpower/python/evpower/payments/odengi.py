"""O!Dengi as a payment provider: the HTTP client of payments.md §1 behind the port of provider.py."""

import asyncio
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from evpower.clock import BISHKEK, Clock, SystemClock
from evpower.errors import H2HNotSupported, TokenNotSupported
from evpower.money import CURRENCY, from_tyiyn, tyiyn
from evpower.outside import http as outgoing
from evpower.outside import measured
from evpower.payments.odengi_callback import OdengiKeys, parse_odengi_callback
from evpower.payments.odengi_signature import signed_request
from evpower.payments.provider import (
    Callback,
    CardChallenge,
    CardPayment,
    CardToken,
    Done,
    Invoice,
    InvoiceRequest,
    InvoiceStatus,
    Outcome,
    PaymentState,
    ProviderPayment,
    RawCallback,
    Refused,
    TokenPayment,
    Unknown,
    Unreachable,
)

if TYPE_CHECKING:
    import httpx

ERROR_ALREADY_PAID = "45"
ERROR_NO_TRANSACTIONS = "63"
_MAX_ANSWER_BYTES = 1024 * 1024
_MAX_DESCRIPTION = 1000
_TIME_FORMAT = "%Y-%m-%d %H:%M:%S"  # provider's local time, UTC+6
_TEXT_CHARS = 500


class OdengiProvider:
    """Client of the merchant API, version 1005.

    Every call has one total time budget, and returns an outcome instead of raising (provider.py). Answers are not
    verified by their ``hash``: how the provider serialises them is not documented, and TLS names the other side.
    """

    name = "ODENGI"

    def __init__(  # a plain list of configuration
        self,
        *,
        api_url: str,
        keys: OdengiKeys,
        result_url: str = "",
        timeout_s: float = 7.0,
        test_mode: bool = False,
        clock: Clock | None = None,
        http: "Callable[[], httpx.AsyncClient] | None" = None,
    ) -> None:
        self._api_url = api_url
        self._keys = keys
        self._result_url = result_url
        self._timeout_s = timeout_s
        self._test_mode = test_mode
        self._clock = clock or SystemClock()
        self._make_http = http or self._new_http
        self._http: httpx.AsyncClient | None = None

    def _new_http(self) -> "httpx.AsyncClient":
        return outgoing.client(timeout_s=self._timeout_s, fixed=[self._api_url], max_answer_bytes=_MAX_ANSWER_BYTES)

    async def close(self) -> None:
        """Release connections; the provider may be used again afterwards."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def create_invoice(self, request: InvoiceRequest) -> Outcome[Invoice]:
        data: dict[str, Any] = {
            "order_id": request.order_id,
            "desc": request.description[:_MAX_DESCRIPTION],
            "amount": tyiyn(request.amount),
            "currency": CURRENCY,
            "test": int(self._test_mode),
            "long_term": 0,
            "date_life": request.expires_at.astimezone(BISHKEK).strftime(_TIME_FORMAT),
        }
        if self._result_url:
            data["result_url"] = self._result_url
        outcome = await self._call("createInvoice", data)
        if not isinstance(outcome, Done):
            return outcome
        answer = outcome.value
        invoice_id = _text(answer.get("invoice_id"))
        if not invoice_id:
            return Unknown("createInvoice answered without invoice_id")
        return Done(
            Invoice(
                invoice_id=invoice_id,
                qr_image_url=_text(answer.get("qr")) or _text(answer.get("emv_qr_img")),
                qr_payload=_text(answer.get("emv_qr")),
                app_link=_text(answer.get("link_app")) or _text(answer.get("qr_url")),
                pay_url=_text(answer.get("site_pay")) or _text(answer.get("paylink_url")),
            )
        )

    async def payment_status(self, order_id: str, invoice_id: str | None = None) -> Outcome[InvoiceStatus]:
        data = {"order_id": order_id} | ({"invoice_id": invoice_id} if invoice_id else {})
        outcome = await self._call("statusPayment", data)
        if isinstance(outcome, Refused) and outcome.code == ERROR_NO_TRANSACTIONS:
            return Done(InvoiceStatus(PaymentState.PROCESSING))
        if not isinstance(outcome, Done):
            return outcome
        try:
            return Done(_invoice_status(outcome.value))
        except ValueError as error:
            return Unknown(f"statusPayment answer cannot be read: {error}")

    async def cancel_invoice(self, invoice_id: str) -> Outcome[None]:
        return _confirmed(await self._call("invoiceCancel", {"invoice_id": invoice_id}))

    def already_paid(self, refusal: Refused) -> bool:
        return refusal.code == ERROR_ALREADY_PAID

    async def refund(self, trans_id: str, amount: Decimal, *, full: bool) -> Outcome[None]:
        if full:
            return _confirmed(await self._call("voidPayment", {"trans_id": trans_id}))
        data = {"trans_id": trans_id, "amount": tyiyn(amount)}
        return _confirmed(await self._call("refundPaymentToEwallet", data))

    async def create_card_payment(self, payment: CardPayment) -> Outcome[CardChallenge]:
        raise H2HNotSupported

    async def create_card_token(self, days: int) -> Outcome[CardToken]:
        raise TokenNotSupported

    async def pay_by_token(self, payment: TokenPayment) -> Outcome[CardChallenge]:
        raise TokenNotSupported

    def parse_callback(self, raw: RawCallback, now: datetime) -> Callback:
        return parse_odengi_callback(raw, self._keys, now)

    @measured("ODENGI")
    async def _call(self, cmd: str, data: dict[str, Any]) -> Outcome[dict[str, Any]]:
        import httpx

        body = signed_request(
            cmd=cmd,
            merchant_id=self._keys.merchant_id,
            password=self._keys.password,
            mktime=str(int(self._clock.now().timestamp() * 1000)),
            data=data,
        )
        if self._http is None:
            self._http = self._make_http()
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._http.post(
                    self._api_url, content=body, headers={"Content-Type": "application/json"}
                )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
            return Unreachable(f"{cmd}: {type(error).__name__}")
        except (httpx.HTTPError, TimeoutError) as error:
            return Unknown(f"{cmd}: {type(error).__name__}")
        if response.status_code != httpx.codes.OK:
            # Errors of the API come with HTTP 200: anything else is a proxy or a crash, and says nothing.
            return Unknown(f"{cmd}: HTTP {response.status_code}")
        return _answer(cmd, response.content)


def _answer(cmd: str, content: bytes) -> Outcome[dict[str, Any]]:
    """Outcome of one HTTP 200 answer: ``data`` of the envelope, or the error that it carries."""
    if len(content) > _MAX_ANSWER_BYTES:
        return Unknown(f"{cmd}: answer too large")
    try:
        envelope = json.loads(content)
    except (ValueError, RecursionError):
        return Unknown(f"{cmd}: answer is not JSON")
    data = envelope.get("data") if isinstance(envelope, dict) else None
    if not isinstance(data, dict):
        return Unknown(f"{cmd}: answer without data")
    error = _text(data.get("error"))
    if error not in {"", "0"}:
        return Refused(error[:_TEXT_CHARS], _text(data.get("desc"))[:_TEXT_CHARS])
    return Done(data)


def _confirmed(outcome: Outcome[dict[str, Any]]) -> Outcome[None]:
    """``success: true`` is the only yes to invoiceCancel and the refunds."""
    if not isinstance(outcome, Done):
        return outcome
    success = outcome.value.get("success")
    if success is True or _text(success).lower() in {"1", "true"}:
        return Done(None)
    return Unknown("answer without success")


def _text(value: object) -> str:
    """Text of a scalar member; the provider mixes numbers and strings."""
    if isinstance(value, bool):
        return "1" if value else ""
    return str(value).strip() if isinstance(value, str | int) else ""


def _state(word: object) -> PaymentState:
    # `waitingauthcomplete` and words that we do not know count as processing (payments.md §1).
    return {"approved": PaymentState.APPROVED, "canceled": PaymentState.CANCELED}.get(
        _text(word).lower(), PaymentState.PROCESSING
    )


def _invoice_status(data: dict[str, Any]) -> InvoiceStatus:
    listed = data.get("payments")
    # PHP writes a list with gaps as an object.
    entries: Iterable[Any] = listed.values() if isinstance(listed, dict) else listed if isinstance(listed, list) else ()
    payments = tuple(_payment(entry) for entry in entries if isinstance(entry, dict))
    states = {payment.state for payment in payments}
    if PaymentState.APPROVED in states:
        return InvoiceStatus(PaymentState.APPROVED, payments)
    if payments:
        return InvoiceStatus(
            PaymentState.CANCELED if states == {PaymentState.CANCELED} else PaymentState.PROCESSING, payments
        )
    word = _state(data.get("status"))
    # "Approved" without a payment names no amount to credit: wait for the list.
    return InvoiceStatus(PaymentState.PROCESSING if word is PaymentState.APPROVED else word)


def _payment(entry: dict[str, Any]) -> ProviderPayment:
    return ProviderPayment(
        trans_id=_text(entry.get("trans_id")) or _text(entry.get("payment_id")),
        state=_state(entry.get("status")),
        amount=from_tyiyn(_text(entry.get("amount")) or "0"),
        test=_text(entry.get("test")) not in {"", "0"},
        paid_at=_provider_time(_text(entry.get("date_pay"))),
    )


def _provider_time(text: str) -> datetime | None:
    """Aware UTC of the provider's local time; None when it is missing or in another form."""
    try:
        return datetime.strptime(text, _TIME_FORMAT).replace(tzinfo=BISHKEK).astimezone(UTC)
    except ValueError:
        return None
