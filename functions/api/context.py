"""What the middlewares know about one request. It travels in the ASGI scope, so every layer sees the same object."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evpower.auth.models import Principal
from evpower.errors import LANGUAGES, EvPowerError

SCOPE_KEY = "evpower.request"
_QUALITY = re.compile(r"q=([01](?:\.\d{1,3})?)")


@dataclass(slots=True)
class RequestContext:
    """Facts of one request, filled in from the outside inwards."""

    correlation_id: str
    client_address: str
    language: str
    is_legacy: bool = False  # a route of /api/* without a version: its failures carry the code in `error`
    body: bytes = b""
    principal: Principal | None = None
    expired_subject: str | None = None  # whose token ended a while ago; proves nothing but whom to count
    auth_failure: EvPowerError | None = None  # a credential that did not verify; protected routes raise it


def context_of(scope: Mapping[str, Any]) -> RequestContext:
    """The context that the outermost middleware put there."""
    context = scope[SCOPE_KEY]
    assert isinstance(context, RequestContext)
    return context


def is_legacy_path(path: str) -> bool:
    """Whether a path belongs to the routes of the earlier mobile client (mobile-api.md §4.10)."""
    return path.startswith("/api/") and not f"{path}/".startswith("/api/v1/")


def headers_of(scope: Mapping[str, Any]) -> dict[str, str]:
    """Request headers with lower-case names; a repeated header is joined by a comma (RFC 9110 §5.3)."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").lower()
        value = raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def language_of(accept_language: str) -> str:
    """Best of ``ru``, ``ky``, ``en`` for an Accept-Language header; ``ru`` when it names none of them."""
    best, best_quality = LANGUAGES[0], 0.0
    for part in accept_language[:256].split(","):
        tag, _, parameters = part.strip().partition(";")
        match = _QUALITY.search(parameters)
        quality = float(match[1]) if match else 1.0
        language = tag.strip().split("-")[0].lower()
        if language in LANGUAGES and quality > best_quality:
            best, best_quality = language, quality
    return best
