"""The one host name of the local system: HTTP becomes REST (v1) proxy events, WebSockets go to the socket tier."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime

from aiohttp import web

from infra.functions import GATEWAY_TIMEOUT_S
from infra.gateway_responses import GATEWAY_RESPONSES
from infra.local.lambda_pool import LambdaFunction
from infra.local.processes import LOOPBACK, LocalSystemError
from infra.local.rest_event import HttpRequest, MalformedProxyResponseError, http_response, proxy_event
from infra.local.runtime_api import Result, trace_header
from infra.local.websocket_tunnel import tunnel
from infra.paths import MAX_BODY_BYTES, WEBHOOK_PATHS, is_socket_path

_log = logging.getLogger(__name__)


def _gateway_answer(kind: str, extra: dict[str, str] | None = None) -> web.Response:
    response = GATEWAY_RESPONSES[kind]
    return web.Response(
        status=response.status,
        text=response.body,
        content_type="application/json",
        headers={**response.headers, **(extra or {})},
    )


class Gateway:
    """Serves one port; functions by name: ``api`` takes everything but the payment callback."""

    def __init__(
        self, port: int, *, api: LambdaFunction, payment_webhook: LambdaFunction, socket_tier_ports: Sequence[int]
    ) -> None:
        self.port = port
        self._api = api
        self._payment_webhook = payment_webhook
        self._socket_tiers = deque(socket_tier_ports)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on loopback; raises `LocalSystemError` when the port is taken."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, auto_decompress=False)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, LOOPBACK, self.port).start()
        except OSError as exc:
            await self.stop()
            raise LocalSystemError(
                f"port {self.port} (gateway) is taken: stop what listens there, or use --port"
            ) from exc

    async def stop(self) -> None:
        """Close the port and the connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        if is_socket_path(path):
            return await self._to_socket_tier(request)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _gateway_answer("REQUEST_TOO_LARGE")
        is_webhook = request.method == "POST" and path in WEBHOOK_PATHS
        function = self._payment_webhook if is_webhook else self._api
        wire = HttpRequest(
            request.method,
            request.raw_path,
            [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers],
            body,
            request.remote or LOOPBACK,
            self.port,
        )
        event = proxy_event(wire, datetime.now(UTC), trace_header())
        try:
            result = await asyncio.wait_for(function.invoke(event), GATEWAY_TIMEOUT_S)
        except TimeoutError:
            return _gateway_answer("INTEGRATION_TIMEOUT")
        return self._answer(function.definition.name, result)

    async def _to_socket_tier(self, request: web.Request) -> web.StreamResponse:
        """One instance after the other, as a load balancer does; an unreachable one is passed over."""
        for _ in range(len(self._socket_tiers)):
            port = self._socket_tiers[0]
            self._socket_tiers.rotate(-1)
            try:
                return await tunnel(request, port)
            except (OSError, TimeoutError):
                continue
        return _gateway_answer("DEFAULT_5XX", {"Retry-After": "1"})

    @staticmethod
    def _answer(function: str, result: Result) -> web.Response:
        if result.function_error:
            _log.warning("function %s failed: %s", function, result.payload)
            kinds = {"Sandbox.Timedout": "INTEGRATION_TIMEOUT", "Runtime.Shutdown": "DEFAULT_5XX"}
            return _gateway_answer(kinds.get(result.error_type, "INTEGRATION_FAILURE"))
        try:
            response = http_response(result.payload)
        except MalformedProxyResponseError as exc:
            _log.error("function %s: %s", function, exc)
            return _gateway_answer("INTEGRATION_FAILURE")
        answer = web.Response(status=response.status, body=response.body)
        answer.headers.popall("Content-Type", None)
        for name, value in response.headers:
            answer.headers.add(name, value)
        if "Content-Type" not in answer.headers:
            answer.headers["Content-Type"] = "application/json"  # API Gateway's default
        return answer
