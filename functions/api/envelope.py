"""The flat error envelope of mobile-api.md §0.1: the only form in which a v1 route reports a failure."""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from starlette.responses import JSONResponse

from evpower.clock import iso_z
from evpower.errors import EvPowerError
from evpower.money import number
from functions.api.context import RequestContext

# What is wrong with a request is told to its developer in English, whatever the driver's language. Not where it would
# help somebody who tries credentials, and not for faults of ours.
_EXPLAINED = frozenset(range(400, 500)) - {401, 403}


class JsonResponse(JSONResponse):
    """JSON by orjson; a Decimal or naive date-time that slipped through fails loudly instead of changing its form."""

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, default=_encode, option=orjson.OPT_PASSTHROUGH_DATETIME)


def _encode(value: Any) -> Any:
    if isinstance(value, Decimal):
        return number(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return iso_z(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def body_of(error: EvPowerError, context: RequestContext) -> dict[str, Any]:
    """Members of the envelope; ``details`` of None are left out (mobile-api.md §1.4).

    Legacy routes carry the code in ``error`` (§0.1).
    """
    message = error.message(context.language)
    if (field := error.details.get("field")) and not re.search(rf"\b{re.escape(str(field))}\b", message):
        message = f"{field}: {message}" if message == error.reason else f"{message.rstrip('.')}: {field}"
    details = {name: value for name, value in error.details.items() if value is not None}
    if error.reason and error.http_status in _EXPLAINED:
        details["reason"] = error.reason
    return {
        **details,
        "success": False,
        "error_code": error.code,
        "error": error.code if context.is_legacy else message,
        "message": message,
        "correlation_id": context.correlation_id,
    }


def respond(error: EvPowerError, context: RequestContext, headers: Mapping[str, str] | None = None) -> JsonResponse:
    """The HTTP answer for a failure."""
    extra = dict(headers or {})
    if error.http_status == 401:
        extra["WWW-Authenticate"] = 'Bearer realm="evpower"'  # RFC 9110 §15.5.2 wants one
    retry_after = error.details.get("retry_after_seconds")
    if retry_after is not None:
        extra["Retry-After"] = str(retry_after)
    return JsonResponse(body_of(error, context), status_code=error.http_status, headers=extra)
