"""Reads the request body once, within a bound, so that signatures and fingerprints can be computed over it."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evpower.errors import InvalidRequest, PayloadTooLarge
from functions.api.context import context_of, headers_of

MAX_BODY_BYTES = 1024 * 1024


class BodyLimitMiddleware:
    """Refuses bodies over 1 MB, announced or not, and replays the body to the layers inside."""

    def __init__(self, app: ASGIApp, *, max_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = headers_of(scope).get("content-length", "0").strip()
        if not announced.isdecimal():
            raise InvalidRequest("Content-Length is not a number")
        if int(announced[:16]) > self._max_bytes:
            raise PayloadTooLarge(limit_bytes=self._max_bytes)
        body = await self._read(receive)
        if body is None:
            return
        context_of(scope).body = body
        delivered = False

        async def replay() -> Message:
            nonlocal delivered
            if delivered:
                return await receive()
            delivered = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The whole body, or None when the caller went away."""
        chunks = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunks += message.get("body", b"")
            if len(chunks) > self._max_bytes:
                raise PayloadTooLarge(limit_bytes=self._max_bytes)
            if not message.get("more_body", False):
                return bytes(chunks)
