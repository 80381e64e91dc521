"""OBANK as a payment provider for cards and stored cards (payments.md §3), behind the port of provider.py.

It makes no QR invoices, and no command to cancel or refund is documented: those are refused here. The payment's id at
the bank is our order id.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from evpower.clock import Clock, SystemClock
from evpower.logging import get_logger
from evpower.outside import http as outgoing
from evpower.outside import measured
from evpower.payments import obank_codec as codec
from evpower.payments.client_certificate import ClientCertificateError, client_context
from evpower.payments.obank_codec import Dialect, Result, Verdict
from evpower.payments.provider import (
    Callback,
    CallbackRejected,
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

_NOT_DOCUMENTED = Refused("not_supported", "OBANK documents no such command")
_MAX_SIGNED_CHARS = 64
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ObankAccess:
    """Where the bank is and who we are to it; secrets stay out of ``repr``."""

    api_url: str
    point: str
    service_id: str
    cert_path: str
    cert_password: str = field(repr=False)
    ca_path: str = ""
    timeout_s: float = 25.0
    notify_url: str = ""
    notify_secret: str = field(default="", repr=False)
    redirect_url: str = ""
    city: str = ""
    country_code: str = ""


class ObankProvider:
    """Client of the bank's XML interface over mutual TLS. Returns outcomes, never raises for what the bank does."""

    name = "OBANK"

    def __init__(self, access: ObankAccess, dialect: Dialect, clock: Clock | None = None) -> None:
        self._access = access
        self._dialect = dialect
        self._clock = clock or SystemClock()
        self._http: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """Release connections; the provider may be used again afterwards."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    # Card payments ------------------------------------------------------------------------------------------------

    async def create_card_payment(self, payment: CardPayment) -> Outcome[CardChallenge]:
        card = {
            "card_pan": payment.pan,
            "card_name": payment.holder,
            "card_cvv": payment.cvv,
            "card_year": payment.year,
            "card_month": payment.month,
            "email": payment.email,
            "phone_number": payment.phone,
            "city": self._access.city,
            "country_code": self._access.country_code,
        }
        return await self._pay(payment.order_id, payment.amount, card)

    async def pay_by_token(self, payment: TokenPayment) -> Outcome[CardChallenge]:
        return await self._pay(payment.order_id, payment.amount, {"email": payment.email, "card-token": payment.token})

    async def _pay(self, order_id: str, amount: Decimal, instrument: Mapping[str, str]) -> Outcome[CardChallenge]:
        attributes = {
            "amount_currency": codec.CURRENCY_NUMBER,
            "notify_url": self._notify_url(order_id),
            "redirect_url": self._access.redirect_url,
            **instrument,
        }
        units = codec.to_units(amount, self._dialect.units_per_som)
        body = codec.payment_request(
            self._access.point, self._access.service_id, order_id, units, self._clock.now(), attributes
        )
        outcome = await self._ask("payment", body, order_id)
        return self._challenge(outcome.value) if isinstance(outcome, Done) else outcome

    def _challenge(self, result: Result) -> Outcome[CardChallenge]:
        verdict = result.verdict(self._dialect)
        if verdict is Verdict.FAILURE:
            return Refused(result.code or f"state {result.state}", result.text)
        if verdict is Verdict.NO_SUCH_PAYMENT:
            return Unknown("the bank does not know the payment that it was just given")
        inputs = result.inputs
        return Done(
            CardChallenge(
                transaction_id=result.trans_id,
                state=PaymentState.APPROVED if verdict is Verdict.SUCCESS else PaymentState.PROCESSING,
                acs_url=inputs.get("acsurl", ""),
                md=inputs.get("md", ""),
                pa_req=inputs.get("pareq", ""),
                term_url=inputs.get("termurl", ""),
            )
        )

    async def create_card_token(self, days: int) -> Outcome[CardToken]:
        body = codec.token_request(self._access.point, self._access.service_id, days)
        outcome = await self._ask("stored-cards", body)
        if not isinstance(outcome, Done):
            return outcome
        result = outcome.value
        if result.verdict(self._dialect) in (Verdict.FAILURE, Verdict.NO_SUCH_PAYMENT):
            return Refused(result.code or f"state {result.state}", result.text)
        # The name of the member is not documented; it is the only address in the answer.
        url = next((value for value in result.inputs.values() if value.startswith("https://")), "")
        return Done(CardToken(url, days)) if url else Unknown("stored-cards: answer without an address")

    async def payment_status(self, order_id: str, invoice_id: str | None = None) -> Outcome[InvoiceStatus]:
        outcome = await self._ask("status", codec.status_request(self._access.point, order_id), order_id)
        if not isinstance(outcome, Done):
            return outcome
        result = outcome.value
        match result.verdict(self._dialect):
            case Verdict.NO_SUCH_PAYMENT:
                return Refused(f"state {result.state}", "the bank does not know the payment")
            case Verdict.FAILURE:
                return Done(InvoiceStatus(PaymentState.CANCELED))
            case Verdict.PENDING:
                return Done(InvoiceStatus(PaymentState.PROCESSING))
        try:
            amount = codec.from_units(result.units, self._dialect.units_per_som)
        except ValueError as error:
            return Unknown(f"status: {error}")
        paid = ProviderPayment(result.trans_id, PaymentState.APPROVED, amount, test=False, paid_at=None)
        return Done(InvoiceStatus(PaymentState.APPROVED, (paid,), at_most_one=True))

    # What it does not have ----------------------------------------------------------------------------------------

    async def create_invoice(self, request: InvoiceRequest) -> Outcome[Invoice]:
        return Unreachable("OBANK makes no QR invoices")

    async def cancel_invoice(self, invoice_id: str) -> Outcome[None]:
        return _NOT_DOCUMENTED

    def already_paid(self, refusal: Refused) -> bool:
        return False

    async def refund(self, trans_id: str, amount: Decimal, *, full: bool) -> Outcome[None]:
        return _NOT_DOCUMENTED

    # Notifications ------------------------------------------------------------------------------------------------

    def _notify_url(self, order_id: str) -> str:
        if not self._access.notify_url:
            return ""
        query = urlencode({"order_id": order_id, "signature": self._order_signature(order_id)})
        return f"{self._access.notify_url}?{query}"

    def _order_signature(self, order_id: str) -> str:
        return hmac.new(self._access.notify_secret.encode(), f"obank:{order_id}".encode(), hashlib.sha256).hexdigest()

    def parse_callback(self, raw: RawCallback, now: datetime) -> Callback:
        """Read a notification: the order that we signed into its address. Form and truth of the body are unknown, so
        nothing of it is kept but a hash that tells a new one from a repeat.

        Raises:
            CallbackRejected: the address does not bear our signature.
        """
        order_id, signature = raw.query.get("order_id", ""), raw.query.get("signature", "")
        if not self._access.notify_secret or not 0 < len(order_id) <= _MAX_SIGNED_CHARS:
            raise CallbackRejected("no order in the address")
        if not hmac.compare_digest(signature.encode(), self._order_signature(order_id).encode()):
            raise CallbackRejected("the address has no valid signature")
        return Callback(
            order_id=order_id,
            invoice_id="",
            trans_id="",
            state=PaymentState.PROCESSING,
            amount=None,
            test=False,
            scheme="address",
            members={"order_id": order_id, "status": f"body:{hashlib.sha256(raw.body).hexdigest()[:16]}"},
        )

    # Transport ----------------------------------------------------------------------------------------------------

    def _client(self) -> "httpx.AsyncClient":
        if self._http is None:
            access = self._access
            self._http = outgoing.client(
                timeout_s=access.timeout_s,
                fixed=[access.api_url],
                tls=client_context(access.cert_path, access.cert_password, access.ca_path),
            )
        return self._http

    @measured("OBANK")
    async def _ask(self, what: str, body: bytes, payment_id: str | None = None) -> Outcome[Result]:
        """One question; the request's bytes hold the card, so no error of this method repeats them."""
        import httpx

        try:
            http = self._client()
        except ClientCertificateError as error:
            _log.error("OBANK cannot be asked: %s", error)
            return Unreachable(f"{what}: {error}")
        try:
            async with asyncio.timeout(self._access.timeout_s):
                response = await http.post(
                    self._access.api_url, content=body, headers={"Content-Type": "application/xml"}
                )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
            return Unreachable(f"{what}: {type(error).__name__}")
        except (httpx.HTTPError, TimeoutError) as error:
            return Unknown(f"{what}: {type(error).__name__}")
        if response.status_code != httpx.codes.OK:
            return Unknown(f"{what}: HTTP {response.status_code}")
        try:
            return Done(codec.read_result(response.content, payment_id))
        except ValueError as error:
            return Unknown(f"{what}: {error}")
