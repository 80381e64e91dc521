"""Verifying an O!Dengi notification (payments.md §1 Callback, §2.1). Pure: the time is an argument."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from evpower.money import from_tyiyn
from evpower.payments.callback_body import read_members
from evpower.payments.odengi_signature import verify_body_signature, verify_callback_hash
from evpower.payments.provider import Callback, CallbackMalformed, CallbackRejected, PaymentState, RawCallback

SIGNATURE_HEADER = "x-o-dengi-signature"
TIMESTAMP_HEADER = "x-timestamp"
TIMESTAMP_TOLERANCE_S = 300

# Kept of a call. The payer's name, phone and e-mail are not ours to store; card members never occur here.
_KEPT_MEMBERS = (
    "trans_id",
    "transaction_id",
    "status_pay",
    "status",
    "site_id",
    "merchant_id",
    "order_id",
    "invoice_id",
    "amount",
    "paid_amount",
    "currency",
    "mktime",
    "timestamp",
    "test",
)
_KEPT_CHARS = 128
_MAX_AMOUNT_DIGITS = 15


@dataclass(frozen=True, slots=True)
class OdengiKeys:
    """Who we are to O!Dengi; an empty secret verifies nothing."""

    merchant_id: str
    password: str = field(repr=False)
    webhook_secret: str = field(default="", repr=False)


def parse_odengi_callback(raw: RawCallback, keys: OdengiKeys, now: datetime) -> Callback:
    """Verify one notification and read it.

    Two schemes prove its origin: ``hash`` inside the body (version 1005), or the older header over the raw body.

    Raises:
        CallbackRejected: neither scheme fits, the timestamp is off by more than 300 s, or it is another site's.
        CallbackMalformed: the header proves the origin, but the body cannot be read or names no order.
    """
    by_header = _header_proves(raw, keys, now)
    try:
        members = read_members(raw.body, raw.headers.get("content-type", ""))
    except CallbackMalformed as error:
        if by_header:
            raise
        raise CallbackRejected(f"unsigned and unreadable: {error}") from error
    by_hash = verify_callback_hash(keys.password, members)
    if not (by_hash or by_header):
        raise CallbackRejected("no valid signature")
    _check_site(members, keys, required=by_hash)
    return _callback(members, scheme="hash" if by_hash else "header")


def _header_proves(raw: RawCallback, keys: OdengiKeys, now: datetime) -> bool:
    signature = raw.headers.get(SIGNATURE_HEADER, "")
    if not signature or not verify_body_signature(keys.webhook_secret, raw.body, signature):
        return False
    stamp = raw.headers.get(TIMESTAMP_HEADER, "").strip()
    if not stamp:
        return True
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= _MAX_AMOUNT_DIGITS):
        raise CallbackRejected("X-Timestamp is not a number of seconds")
    if abs(now.timestamp() - int(stamp)) > TIMESTAMP_TOLERANCE_S:
        raise CallbackRejected("X-Timestamp is outside the tolerance")
    return True


def _check_site(members: Mapping[str, str], keys: OdengiKeys, *, required: bool) -> None:
    site = members.get("site_id") or members.get("merchant_id") or ""
    if not site and not required:
        return
    if site != keys.merchant_id:
        raise CallbackRejected("another merchant's site_id")


def _callback(members: Mapping[str, str], *, scheme: str) -> Callback:
    order_id, invoice_id = members.get("order_id", ""), members.get("invoice_id", "")
    if not order_id and not invoice_id:
        raise CallbackMalformed("neither order_id nor invoice_id")
    kept = {name: members[name][:_KEPT_CHARS].replace("\x00", "") for name in _KEPT_MEMBERS if name in members}
    return Callback(
        order_id=kept.get("order_id", ""),
        invoice_id=kept.get("invoice_id", ""),
        trans_id=kept.get("trans_id") or kept.get("transaction_id") or "",
        state=_state(members),
        amount=_amount(members.get("amount", "")),
        test=members.get("test", "") not in {"", "0", "false"},
        scheme=scheme,
        members=kept,
    )


def _state(members: Mapping[str, str]) -> PaymentState:
    # `status_pay` 1 pending, 2 canceled, 3 approved. The older scheme's `status` numbers contradict each other in
    # the field (mobile-api.md §4.6 Y1), so it says nothing: the provider is asked in any case.
    return {"3": PaymentState.APPROVED, "2": PaymentState.CANCELED}.get(
        members.get("status_pay", ""), PaymentState.PROCESSING
    )


def _amount(text: str) -> Decimal | None:
    plain = text.isascii() and text.isdigit() and len(text) <= _MAX_AMOUNT_DIGITS
    return from_tyiyn(text) if plain else None
