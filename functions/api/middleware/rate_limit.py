"""Rate limits of mobile-api.md §1.9: by client where authenticated, because many phones share a carrier's address."""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from evpower.auth.rate_limit import RateLimiter
from evpower.config import Settings
from evpower.errors import RateLimitExceeded
from functions.api.context import RequestContext, context_of

# The last line are other names of the card top-up: nobody should try stolen card numbers quickly.
_CRITICAL = re.compile(
    r"/api/(?:v1/)?(?:charging/(?:start|stop)|balance/topup[^/]*"
    r"|balance/(?:h2h|token)-payment|payment/(?:h2h-create|h2h-payment|token|token-payment))"
)
_EXEMPT = frozenset({"/health", "/readyz"})


class RateLimitMiddleware:
    """Critical routes (start, stop, top-up) have their own, smaller limit; the rest share the default one."""

    def __init__(self, app: ASGIApp, *, limiter: RateLimiter, settings: Settings) -> None:
        self._app = app
        self._limiter = limiter
        self._default = settings.rate_limit_default_per_minute
        self._critical = settings.rate_limit_critical_per_minute

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _EXEMPT:
            is_critical = scope["method"] == "POST" and _CRITICAL.fullmatch(scope["path"]) is not None
            retry_after = await self._limiter.hit(
                f"{'critical' if is_critical else 'default'}:{_identity(context_of(scope))}",
                self._critical if is_critical else self._default,
                durable=is_critical,
            )
            if retry_after is not None:
                raise RateLimitExceeded(retry_after_seconds=retry_after)
        await self._app(scope, receive, send)


def _identity(context: RequestContext) -> str:
    if context.principal is not None:
        return f"{context.principal.method}:{context.principal.subject}"
    return f"address:{context.client_address}"
