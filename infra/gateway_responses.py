"""Answers that the gateway itself gives (no function ran): the product's flat error envelope with CORS headers.

One definition for the local gateway and for API Gateway's GatewayResponses (mobile-api.md §0.1 and §1.7: an answer
without envelope or CORS headers reaches the app as "network error").
"""

import json
from dataclasses import dataclass

from evpower.errors import (
    EvPowerError,
    InvalidRequest,
    PayloadTooLarge,
    RateLimitExceeded,
    RequestTimeout,
    ServiceUnavailable,
)

# The app sends no cookies (mobile-api.md §1.2), so the wildcard is enough where no function can look at the origin.
HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Allow-Methods": "GET,POST,PUT,PATCH,DELETE,OPTIONS",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class GatewayResponse:
    """One of API Gateway's response types with the status and the error that we give it."""

    kind: str
    status: int
    error: type[EvPowerError]

    @property
    def body(self) -> str:
        """The envelope. The gateway cannot read Accept-Language, so the text is in the default language."""
        error = self.error()
        message = error.message("ru")
        envelope = {**error.details, "success": False, "error_code": error.code, "error": message, "message": message}
        return json.dumps(envelope, ensure_ascii=False)

    @property
    def headers(self) -> dict[str, str]:
        """Its headers; a 429 says when to come back."""
        wait = self.error().details.get("retry_after_seconds")
        if wait is None:
            return HEADERS
        return {**HEADERS, "Access-Control-Expose-Headers": "Retry-After", "Retry-After": str(wait)}


GATEWAY_RESPONSES = {
    response.kind: response
    for response in (
        GatewayResponse("BAD_REQUEST_BODY", 400, InvalidRequest),
        GatewayResponse("BAD_REQUEST_PARAMETERS", 400, InvalidRequest),
        GatewayResponse("REQUEST_TOO_LARGE", 413, PayloadTooLarge),
        GatewayResponse("THROTTLED", 429, RateLimitExceeded),
        GatewayResponse("INTEGRATION_FAILURE", 502, EvPowerError),
        GatewayResponse("INTEGRATION_TIMEOUT", 504, RequestTimeout),
        GatewayResponse("DEFAULT_4XX", 400, InvalidRequest),
        GatewayResponse("DEFAULT_5XX", 503, ServiceUnavailable),
    )
}
