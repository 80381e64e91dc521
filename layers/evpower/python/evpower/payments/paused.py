"""A provider that is switched off: every command is refused before anything leaves this machine (payments.md §3)."""

from datetime import datetime
from decimal import Decimal

from evpower.errors import H2HNotAvailable, TokenNotAvailable
from evpower.payments.provider import (
    Callback,
    CallbackRejected,
    CardChallenge,
    CardPayment,
    CardToken,
    Invoice,
    InvoiceRequest,
    InvoiceStatus,
    Outcome,
    RawCallback,
    Refused,
    TokenPayment,
    Unreachable,
)


class PausedProvider:
    """Stands where a paused provider is selected: top-ups answer ``provider_unavailable``, cards ``not_available``."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._outcome = Unreachable(f"{name} is paused")

    @property
    def name(self) -> str:
        return self._name

    async def create_invoice(self, request: InvoiceRequest) -> Outcome[Invoice]:
        return self._outcome

    async def payment_status(self, order_id: str, invoice_id: str | None = None) -> Outcome[InvoiceStatus]:
        return self._outcome

    async def cancel_invoice(self, invoice_id: str) -> Outcome[None]:
        return self._outcome

    def already_paid(self, refusal: Refused) -> bool:
        return False

    async def refund(self, trans_id: str, amount: Decimal, *, full: bool) -> Outcome[None]:
        return self._outcome

    async def create_card_payment(self, payment: CardPayment) -> Outcome[CardChallenge]:
        raise H2HNotAvailable

    async def create_card_token(self, days: int) -> Outcome[CardToken]:
        raise TokenNotAvailable

    async def pay_by_token(self, payment: TokenPayment) -> Outcome[CardChallenge]:
        raise TokenNotAvailable

    def parse_callback(self, raw: RawCallback, now: datetime) -> Callback:
        raise CallbackRejected(f"{self._name} is paused")
