"""The payment provider as the product sees it: a port, its typed outcomes and its values (payments.md §2.11).

Amounts are som (``Decimal``, two places); times are aware UTC. An adapter never raises for what the provider or the
network does: it returns one of four outcomes, so that a caller cannot forget that "no answer" is not "no".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Generic, Protocol, TypeAlias, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Done(Generic[T_co]):
    """The provider did it."""

    value: T_co


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider answered with an error; nothing happened there. ``code`` and ``text`` are kept as received."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The request never left this machine (name, route or TLS failure); nothing happened at the provider."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The request may have been executed: no answer in time, or one that cannot be read. Ask by our own key."""

    reason: str


Outcome: TypeAlias = Done[T] | Refused | Unreachable | Unknown


class PaymentState(StrEnum):
    """What the provider says about one payment; words that we do not know count as processing."""

    PROCESSING = "processing"
    APPROVED = "approved"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class InvoiceRequest:
    """What we ask for: ``order_id`` is ours, unique and at most 64 characters."""

    order_id: str
    amount: Decimal
    description: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Invoice:
    """A created invoice; links that the provider did not give are empty."""

    invoice_id: str
    qr_image_url: str
    qr_payload: str
    app_link: str
    pay_url: str


@dataclass(frozen=True, slots=True)
class ProviderPayment:
    """One attempt to pay an invoice. ``trans_id`` is empty when the provider named no transaction."""

    trans_id: str
    state: PaymentState
    amount: Decimal
    test: bool
    paid_at: datetime | None


@dataclass(frozen=True, slots=True)
class InvoiceStatus:
    """All attempts to pay one order; ``state`` is approved as soon as any of them is."""

    state: PaymentState
    payments: tuple[ProviderPayment, ...] = ()
    at_most_one: bool = False
    """The provider takes one payment for an order: a second transaction number is its mistake, not more money."""

    @property
    def approved(self) -> tuple[ProviderPayment, ...]:
        return tuple(payment for payment in self.payments if payment.state is PaymentState.APPROVED)


@dataclass(frozen=True, slots=True)
class RawCallback:
    """A provider's HTTP call as it came; ``headers`` have lower-case names, ``query`` is decoded."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Callback:
    """A verified notification: only a hint, the truth is asked for (payments.md §2.2).

    ``members`` holds what is kept of the call: names, phones and e-mail addresses of the payer are left out.
    """

    order_id: str
    invoice_id: str
    trans_id: str
    state: PaymentState
    amount: Decimal | None
    test: bool
    scheme: str
    members: Mapping[str, str]


class CallbackRejected(Exception):
    """The call has no valid signature or is for another merchant; the reason is for our log only."""


class CallbackMalformed(Exception):
    """The call is signed, but cannot be read."""


@dataclass(frozen=True, slots=True)
class CardPayment:
    """Card data of one host-to-host payment; lives only as long as the call, ``repr`` shows none of it."""

    order_id: str
    amount: Decimal
    description: str
    email: str
    pan: str = field(repr=False)
    holder: str = field(repr=False)
    cvv: str = field(repr=False)
    year: str = field(repr=False)
    month: str = field(repr=False)
    phone: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class TokenPayment:
    """Payment by a stored card's token."""

    order_id: str
    amount: Decimal
    description: str
    email: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CardChallenge:
    """Answer to a card payment: the 3-D Secure step, or a state at once."""

    transaction_id: str
    state: PaymentState
    acs_url: str = ""
    md: str = ""
    pa_req: str = ""
    term_url: str = ""


@dataclass(frozen=True, slots=True)
class CardToken:
    """Page on which the payer stores a card."""

    token_url: str
    expires_in_days: int


class PaymentProvider(Protocol):
    """What a provider can be asked. Card methods raise the matching ``*_not_supported`` / ``*_not_available``."""

    @property
    def name(self) -> str:
        """Literal that is stored with the top-up and shown by the app, e.g. ``ODENGI``."""
        ...

    async def create_invoice(self, request: InvoiceRequest) -> Outcome[Invoice]: ...

    async def payment_status(self, order_id: str, invoice_id: str | None = None) -> Outcome[InvoiceStatus]: ...

    async def cancel_invoice(self, invoice_id: str) -> Outcome[None]:
        """Close an unpaid invoice. ``Refused`` for a paid one has :meth:`already_paid` true."""
        ...

    def already_paid(self, refusal: Refused) -> bool:
        """Whether a refusal means that the invoice is paid, so that its status has to be asked."""
        ...

    async def refund(self, trans_id: str, amount: Decimal, *, full: bool) -> Outcome[None]:
        """Give money back to the payer; ``full`` undoes the whole payment."""
        ...

    async def create_card_payment(self, payment: CardPayment) -> Outcome[CardChallenge]: ...

    async def create_card_token(self, days: int) -> Outcome[CardToken]: ...

    async def pay_by_token(self, payment: TokenPayment) -> Outcome[CardChallenge]: ...

    def parse_callback(self, raw: RawCallback, now: datetime) -> Callback:
        """Verify and read a notification.

        Raises:
            CallbackRejected: no valid signature, or another merchant's.
            CallbackMalformed: signed, but unreadable.
        """
        ...
