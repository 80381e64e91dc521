"""Rate limits of mobile-api.md §1.9. Where a request counts: functions/api/rate_buckets.py."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evpower.auth.rate_limit import RateLimiter
from evpower.auth.rate_rules import Bucket
from evpower.config import Settings
from evpower.errors import EvPowerError, RateLimitExceeded
from functions.api.context import context_of
from functions.api.rate_buckets import Asked, counting_of


class RateLimitMiddleware:
    """Counts a request, or its failure, and answers 429 where there are too many."""

    def __init__(self, app: ASGIApp, *, limiter: RateLimiter, settings: Settings) -> None:
        self._app = app
        self._limiter = limiter
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = context_of(scope)
        asked = Asked(
            scope["method"], scope["path"], context.client_address, context.principal, context.expired_subject
        )
        counting = counting_of(asked, self._settings)
        if counting.bucket is not None:
            wait = await self._hit(counting.bucket, durable=counting.durable)
            if wait is not None:
                raise RateLimitExceeded(retry_after_seconds=wait)
        if counting.failures is None:
            await self._app(scope, receive, send)
        else:
            await self._answer(scope, receive, send, counting.failures)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, failures: Bucket) -> None:
        """Let the request be answered; an answer that is one failure too many becomes a 429.

        The request is heard first: a good token or code is never refused for somebody else's bad ones, and a flood of
        refusals fills neither the audit log nor the caller's knowledge.
        """
        wait: int | None = None

        async def watching_send(message: Message) -> None:
            nonlocal wait
            if message["type"] == "http.response.start" and _is_failure(message["status"]):
                wait = await self._hit(failures)
            if wait is None:
                await send(message)

        try:
            await self._app(scope, receive, watching_send)
        except EvPowerError as error:
            if wait is None and _is_failure(error.http_status):
                wait = await self._hit(failures)
            if wait is None:
                raise
        if wait is not None:
            raise RateLimitExceeded(retry_after_seconds=wait)

    async def _hit(self, bucket: Bucket, *, durable: bool = False) -> int | None:
        return await self._limiter.hit(bucket.name, bucket.limit, durable=durable)


def _is_failure(status: int) -> bool:
    """A refusal that the caller brought about; one for too many requests is counted already."""
    return 400 <= status < 500 and status != 429
