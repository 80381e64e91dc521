"""A text message gateway for one machine: takes the messages of the product's HTTP adapter and shows them.

`POST /messages` is the gateway's interface (evpower/notifications/sms_http.py); `GET /outbox?to=PHONE` is where the
demo and the tests look, as a person looks at the phone. Loopback only.
"""

import hmac
import json
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Self

from aiohttp import web

from infra.local.processes import LOOPBACK

TOKEN = "local-sms-gateway-token"  # noqa: S105 - for loopback only
_KEPT = 1000


class SmsStandin:
    """Use as ``async with``, or :meth:`start` and :meth:`stop`. ``show`` gets a line for each message."""

    def __init__(self, show: Callable[[str], None] = lambda _line: None, *, port: int = 0, token: str = TOKEN) -> None:
        self._show = show
        self._port = port
        self._token = token
        self._messages: deque[dict[str, str]] = deque(maxlen=_KEPT)
        self._runner: web.AppRunner | None = None
        self.status = 202
        """Answer to a message with a good token; another status refuses it."""

    @property
    def base_url(self) -> str:
        return f"http://{LOOPBACK}:{self._port}"

    @property
    def gateway_url(self) -> str:
        """Value for SMS_GATEWAY_URL."""
        return f"{self.base_url}/messages"

    @property
    def outbox_url(self) -> str:
        """Where messages are read, oldest first; ``?to=`` one phone's."""
        return f"{self.base_url}/outbox"

    async def start(self) -> None:
        app = web.Application(client_max_size=64 * 1024)
        app.add_routes([web.post("/messages", self._take), web.get("/outbox", self._outbox)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, self._port).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _take(self, request: web.Request) -> web.Response:
        expected = f"Bearer {self._token}".encode()
        if not hmac.compare_digest(expected, request.headers.get("Authorization", "").encode()):
            return web.json_response({"error": "unauthorized"}, status=401)
        try:
            message: Any = json.loads(await request.text())
            to, text = message["to"], message["text"]
        except (ValueError, KeyError, TypeError):
            return web.json_response({"error": "to and text are needed"}, status=400)
        if self.status != 202:
            return web.json_response({"error": "refused"}, status=self.status)
        self._messages.append({"to": str(to), "text": str(text), "sent_at": datetime.now(UTC).isoformat()})
        self._show(f"SMS to {to}: {text}")
        return web.json_response({"accepted": True}, status=202)

    async def _outbox(self, request: web.Request) -> web.Response:
        to = request.query.get("to")
        return web.json_response({"messages": [m for m in self._messages if to in (None, m["to"])]})
