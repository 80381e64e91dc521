"""The stand-in's own books: invoices, payments and the rules of the merchant API. No I/O."""

import secrets
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

PROVIDER_ZONE = timezone(timedelta(hours=6))
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"

USER_NOT_FOUND = 26
ALREADY_PAID = 45
NO_TRANSACTIONS = 63
# The provider's codes for these are not published; ours only have to be unlike the known ones.
BAD_HASH = "bad_hash"
BAD_REQUEST = "bad_request"
DUPLICATE_ORDER = "duplicate_order"
CLOSED = "closed"


class ApiError(Exception):
    """An error that the API answers inside HTTP 200."""

    def __init__(self, code: int | str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


@dataclass(slots=True)
class Payment:
    """One attempt; ``amount`` is what is left after refunds, ``amount_old`` what was paid (tyiyn)."""

    trans_id: str
    amount: int
    amount_old: int
    paid_at: str
    status: str = "approved"
    refunds: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Invoice:
    """What createInvoice made."""

    invoice_id: str
    order_id: str
    amount: int
    currency: str
    description: str
    result_url: str
    test: int
    date_life: str
    fields_other: Any = None
    canceled: bool = False
    payments: list[Payment] = field(default_factory=list)

    @property
    def paid(self) -> bool:
        return any(payment.status == "approved" for payment in self.payments)

    def expired(self, now: datetime) -> bool:
        return now >= datetime.strptime(self.date_life, TIME_FORMAT).replace(tzinfo=PROVIDER_ZONE)


class Books:
    """All invoices, by invoice id and by order id."""

    def __init__(self) -> None:
        self.invoices: dict[str, Invoice] = {}
        self._by_order: dict[str, Invoice] = {}

    def add(self, invoice: Invoice) -> None:
        self.invoices[invoice.invoice_id] = invoice
        self._by_order[invoice.order_id] = invoice

    def create(self, data: dict[str, Any]) -> Invoice:
        """createInvoice, with the bounds of payments.md §1."""
        order_id, amount = data.get("order_id"), data.get("amount")
        if not isinstance(order_id, str) or not 1 <= len(order_id) <= 64:
            raise ApiError(BAD_REQUEST, "order_id: 1 to 64 characters")
        if isinstance(amount, bool) or not isinstance(amount, int) or amount <= 0:
            raise ApiError(BAD_REQUEST, "amount: a positive integer of tyiyn")
        if data.get("currency") != "KGS":
            raise ApiError(BAD_REQUEST, "currency: KGS")
        description = data.get("desc")
        if not isinstance(description, str) or len(description) > 1000:
            raise ApiError(BAD_REQUEST, "desc: at most 1000 characters")
        if order_id in self._by_order:
            raise ApiError(DUPLICATE_ORDER, "order_id is taken")
        date_life = str(data.get("date_life", ""))
        try:
            datetime.strptime(date_life, TIME_FORMAT).replace(tzinfo=PROVIDER_ZONE)
        except ValueError as error:
            raise ApiError(BAD_REQUEST, f"date_life: {TIME_FORMAT}") from error
        invoice = Invoice(
            invoice_id=f"{secrets.randbelow(10**12):012d}",
            order_id=order_id,
            amount=amount,
            currency="KGS",
            description=description,
            result_url=str(data.get("result_url", "")),
            test=int(bool(data.get("test"))),
            date_life=date_life,
            fields_other=data.get("fields_other"),
        )
        self.add(invoice)
        return invoice

    def find(self, data: dict[str, Any]) -> Invoice:
        """Invoice by ``invoice_id`` and/or ``order_id``."""
        invoice = self.invoices.get(str(data.get("invoice_id", ""))) or self._by_order.get(
            str(data.get("order_id", ""))
        )
        if invoice is None or data.get("order_id") not in (None, invoice.order_id):
            raise ApiError(NO_TRANSACTIONS, "no transactions")
        return invoice

    def status(self, data: dict[str, Any]) -> dict[str, Any]:
        """statusPayment: a bare status until the first attempt, the list of attempts afterwards."""
        invoice = self.find(data)
        if not invoice.payments:
            return {"status": "canceled" if invoice.canceled else "processing"}
        return {
            "payments": [
                {
                    "trans_id": payment.trans_id,
                    "date_pay": payment.paid_at,
                    "amount": str(payment.amount),
                    "amount_old": str(payment.amount_old),
                    "status": payment.status,
                    "order_id": invoice.order_id,
                    "payment_id": payment.trans_id,
                    "test": invoice.test,
                    "mobile": "996700000001",
                }
                for payment in invoice.payments
            ]
        }

    def cancel(self, data: dict[str, Any]) -> dict[str, Any]:
        """invoiceCancel: only an unpaid invoice."""
        invoice = self.find(data)
        if invoice.paid:
            raise ApiError(ALREADY_PAID, "already paid")
        invoice.canceled = True
        return {"success": True}

    def pay(self, invoice_id: str, now: datetime, *, amount: int | None = None, force: bool = False) -> Payment:
        """A payer pays; ``force`` stands for a payment that was under way when the invoice was closed."""
        invoice = self.find({"invoice_id": invoice_id})
        if not force and (invoice.canceled or invoice.expired(now)):
            raise ApiError(CLOSED, "the invoice is closed")
        if not force and invoice.paid:
            raise ApiError(ALREADY_PAID, "already paid")
        paid = amount or invoice.amount
        payment = Payment(
            trans_id=f"{secrets.randbelow(10**12):012d}",
            amount=paid,
            amount_old=paid,
            paid_at=now.astimezone(PROVIDER_ZONE).strftime(TIME_FORMAT),
        )
        invoice.payments.append(payment)
        return payment

    def _payment(self, data: dict[str, Any]) -> Payment:
        for invoice in self.invoices.values():
            for payment in invoice.payments:
                if payment.trans_id == str(data.get("trans_id", "")) and payment.status == "approved":
                    return payment
        raise ApiError(NO_TRANSACTIONS, "no transactions")

    def void(self, data: dict[str, Any]) -> dict[str, Any]:
        """voidPayment: the whole payment goes back."""
        payment = self._payment(data)
        payment.refunds.append(payment.amount)
        payment.status = "canceled"
        return {"success": True}

    def refund(self, data: dict[str, Any]) -> dict[str, Any]:
        """refundPaymentToEwallet: a part of the payment goes back."""
        payment, amount = self._payment(data), data.get("amount")
        if isinstance(amount, bool) or not isinstance(amount, int) or not 0 < amount <= payment.amount:
            raise ApiError(BAD_REQUEST, "amount: within the payment")
        payment.refunds.append(amount)
        payment.amount -= amount
        if payment.amount == 0:
            payment.status = "canceled"
        return {"success": True}

    def dump(self) -> list[dict[str, Any]]:
        return [asdict(invoice) for invoice in self.invoices.values()]

    def load(self, dumped: list[dict[str, Any]]) -> None:
        for entry in dumped:
            payments = [Payment(**payment) for payment in entry.pop("payments")]
            self.add(Invoice(**entry, payments=payments))
