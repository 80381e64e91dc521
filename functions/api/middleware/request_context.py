"""Outermost layer: gives the request its context and correlation id, and writes one log line about it."""

import time

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evpower import ids, tracing
from evpower.client_address import client_address_of
from evpower.logging import get_logger
from evpower.text import printable
from functions.api.context import SCOPE_KEY, RequestContext, headers_of, is_legacy_path, language_of

_log = get_logger(__name__)

_LONGEST_PATH = 1000


class RequestContextMiddleware:
    """Accepts or makes ``X-Correlation-ID``, echoes it, and puts it into the context variable that logs read."""

    def __init__(self, app: ASGIApp, *, trusted_hops: int) -> None:
        self._app = app
        self._trusted_hops = trusted_hops

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = headers_of(scope)
        peer = scope["client"][0] if scope.get("client") else None
        context = RequestContext(
            correlation_id=ids.accept_correlation_id(headers.get("x-correlation-id")),
            client_address=client_address_of(headers, peer, self._trusted_hops),
            language=language_of(headers.get("accept-language", "")),
            is_legacy=is_legacy_path(scope["path"]),
        )
        scope[SCOPE_KEY] = context
        token = ids.correlation_id.set(context.correlation_id)
        tracing.annotate("correlation_id", context.correlation_id)
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                response_headers = MutableHeaders(scope=message)
                response_headers["X-Correlation-ID"] = context.correlation_id
                response_headers["Content-Language"] = context.language
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            path = printable(scope["path"], _LONGEST_PATH)
            _log.info(
                "%s %s %s",
                scope["method"],
                path,
                status,
                extra={
                    "http_method": scope["method"],
                    "http_path": path,
                    "http_status": status,
                    "duration_ms": round((time.perf_counter() - started) * 1000, 1),
                    "client_id": context.principal.subject if context.principal else None,
                    "client_address": context.client_address,
                },
            )
            ids.correlation_id.reset(token)
