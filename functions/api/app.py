"""The application: routes inside, middlewares around them.

Order of effect, outermost first; each layer sees what the layers before it found out:

1. request context: correlation id, language, caller's address, access log
2. security headers, on every answer
3. CORS, on every answer; answers preflights
4. crash barrier: every failure below becomes the envelope
5. payment audit: knows who asked and how it ended, refusals included
6. body limit: reads the body once
7. authentication: who is calling (routes refuse, not this layer)
8. rate limit: by client, else by address
9. idempotency: replays by client
10. the routes, with their exception handlers

A rate limit therefore sees the client, and a replay is served only to the client whose answer it is.
"""

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

import evpower
from evpower.errors import NotFound
from functions.api.deps import Deps
from functions.api.envelope import JsonResponse
from functions.api.middleware import errors
from functions.api.middleware.authentication import AuthenticationMiddleware
from functions.api.middleware.body_limit import BodyLimitMiddleware
from functions.api.middleware.idempotency import IdempotencyMiddleware
from functions.api.middleware.payment_audit import PaymentAuditMiddleware
from functions.api.middleware.rate_limit import RateLimitMiddleware
from functions.api.middleware.request_context import RequestContextMiddleware
from functions.api.middleware.security_headers import SecurityHeadersMiddleware
from functions.api.routes import DRIVER_MODULES, MODULES, STAFF_PATH, routers
from functions.api.schemas.base import ErrorBody

API_PREFIX = "/api/v1"
CORS_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
CORS_REQUEST_HEADERS = [
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "X-CSRF-Token",
    "X-Client-Id",
    "X-Client-Timestamp",
    "X-Client-Signature",
    "X-Correlation-ID",
]
CORS_RESPONSE_HEADERS = ["X-Correlation-ID", "Idempotency-Key", "Retry-After", "ETag"]
CORS_MAX_AGE_S = 86400


_DOCUMENTATION = ("/docs", "/openapi.json")


def create_api(deps: Deps, modules: Iterable[str] = MODULES) -> FastAPI:
    """The routes of ``modules`` and their exception handlers, without the middlewares."""
    swagger = deps.settings.enable_swagger
    app = FastAPI(
        title="EvPower API",
        version=evpower.__version__,
        docs_url=None,
        openapi_url="/openapi.json" if swagger else None,
        redoc_url=None,
        default_response_class=JsonResponse,
        redirect_slashes=False,  # a redirect has no JSON body, and the app's POST would lose its own
        strict_content_type=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
        responses={"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}},
    )
    app.state.deps = deps
    errors.install(app)
    for routes in routers(modules):
        app.include_router(routes)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    from functions.api import openapi  # only who reads the document needs what describes it

    return openapi.document(app)


class ApiInStages:
    """Drivers' routes from the start, all others with the first request for one of them.

    Use case: somebody opens the app and waits for a cold process. The routes of the staff are half of all, and no
    driver ever calls them.
    """

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._drivers = create_api(deps, DRIVER_MODULES)
        self._whole: FastAPI | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._drivers
        # A pattern's "$" also stands before a closing line break: "/charging/start\n" would reach the route, past every
        # rule that reads the path to its end (rate limits, idempotency).
        if scope["type"] == "http" and "\n" in scope["path"]:
            raise NotFound
        if scope["type"] == "http" and (STAFF_PATH.match(scope["path"]) or scope["path"].startswith(_DOCUMENTATION)):
            if self._whole is None:
                self._whole = self._create_whole()
            app = self._whole
        await app(scope, receive, send)

    def _create_whole(self) -> FastAPI:
        whole = create_api(self._deps)
        if self._deps.settings.enable_swagger:
            from functions.api import documentation  # for people who read, not for the first driver

            documentation.install(whole)
        return whole


def create_app(deps: Deps) -> ASGIApp:
    """The whole application, ready for Mangum or any ASGI server."""
    app: ASGIApp = ApiInStages(deps)
    app = IdempotencyMiddleware(app, redis=deps.redis, secret=deps.settings.auth_token_secret.get_secret_value())
    app = RateLimitMiddleware(app, limiter=deps.rate_limiter, settings=deps.settings)
    app = AuthenticationMiddleware(app, authenticator=deps.authenticator)
    app = BodyLimitMiddleware(app)
    app = PaymentAuditMiddleware(app, database=deps.database)
    app = errors.CrashBarrierMiddleware(app)
    app = CORSMiddleware(
        app,
        allow_origins=deps.settings.cors_origin_list,
        allow_methods=CORS_METHODS,
        allow_headers=CORS_REQUEST_HEADERS,
        expose_headers=CORS_RESPONSE_HEADERS,
        max_age=CORS_MAX_AGE_S,
    )
    app = SecurityHeadersMiddleware(app)
    return RequestContextMiddleware(app, trusted_hops=deps.settings.trusted_proxy_hops)
