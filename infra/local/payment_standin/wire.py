"""What the stand-in puts on the wire: signatures of the API and the callback in its formats.

Written from the documentation and not from the product's codec, so that an error there cannot cancel itself out.
"""

import hashlib
import hmac
import json
import time
from typing import Any
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from infra.local.payment_standin.ledger import BAD_HASH, BAD_REQUEST, ApiError, Invoice, Payment


def _md5(password: str, text: str) -> str:
    return hmac.new(password.encode("utf-8"), text.encode("utf-8"), hashlib.md5).hexdigest()


def _encode(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def read_request(body: bytes, merchant_id: str, password: str) -> tuple[str, dict[str, Any]]:
    """Command and data of a request with a good hash.

    Raises:
        ApiError: unreadable, another merchant, wrong version or wrong hash.
    """
    try:
        envelope = json.loads(body)
    except ValueError as error:
        raise ApiError(BAD_REQUEST, "not JSON") from error
    if not isinstance(envelope, dict) or not isinstance(envelope.get("data"), dict):
        raise ApiError(BAD_REQUEST, "no envelope")
    given = str(envelope.pop("hash", ""))
    if not hmac.compare_digest(_md5(password, _encode(envelope)), given):
        raise ApiError(BAD_HASH, "wrong hash")
    if envelope.get("sid") != merchant_id or envelope.get("version") != 1005:
        raise ApiError(BAD_REQUEST, "sid or version")
    return str(envelope.get("cmd", "")), envelope["data"]


def answer(cmd: str, merchant_id: str, password: str, data: dict[str, Any]) -> bytes:
    """Signed answer envelope."""
    envelope = {
        "version": 1005,
        "mktime": str(int(time.time() * 1000)),
        "sid": merchant_id,
        "cmd": cmd,
        "data": data,
    }
    envelope["hash"] = _md5(password, _encode(envelope))
    return _encode(envelope).encode()


def callback(
    invoice: Invoice, payment: Payment, merchant_id: str, password: str, form: str = "json"
) -> tuple[bytes, str]:
    """Body and content type of the notification about one payment, as ``json``, ``xml`` or ``form``."""
    members: dict[str, Any] = {
        "trans_id": payment.trans_id,
        "status_pay": 3 if payment.status == "approved" else 2,
        "site_id": merchant_id,
        "order_id": invoice.order_id,
        "amount": payment.amount_old,
        "currency": invoice.currency,
        "mktime": str(int(time.time())),
        "test": invoice.test,
        "account_id": "1",
        "mobile": "996700000001",
        "fname": "Айбек",
        "lname": "Тестов",
        "email": "payer@example.com",
        "fields_other": invoice.fields_other,
        "fields_app": None,
    }
    signed = ("trans_id", "status_pay", "site_id", "order_id", "amount", "currency", "mktime", "test")
    members["hash"] = _md5(password, ":::".join(str(members[name]) for name in signed))
    if form == "json":
        return _encode(members).encode(), "application/json"
    flat = {name: "" if value is None else str(value) for name, value in members.items()}
    if form == "form":
        return urlencode(flat).encode(), "application/x-www-form-urlencoded"
    elements = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in flat.items())
    return f'<?xml version="1.0" encoding="UTF-8"?><payment>{elements}</payment>'.encode(), "application/xml"
