"""The gateway in front of real function processes and a real WebSocket server."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from infra.local.gateway import Gateway
from infra.local.lambda_pool import FunctionDefinition, LambdaFunction, base_environment
from infra.local.processes import LocalSystemError, free_port

_HERE = Path(__file__).parent


class _SocketTier:
    """A WebSocket server that records what reaches it and does what the path says."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.closed: list[tuple[int | None, str | None]] = []
        self.port = free_port()

    def process_request(self, connection: ServerConnection, request: Any) -> Any:
        self.headers = dict(request.headers.raw_items())
        if "unknown" in request.path:
            return connection.respond(404, "unknown station\n")
        if "secret" in request.path:
            response = connection.respond(401, "password needed\n")
            response.headers["WWW-Authenticate"] = "Basic"
            return response
        return None

    async def handler(self, ws: ServerConnection) -> None:
        assert ws.request is not None
        try:
            if "replaced" in ws.request.path:
                await ws.close(4001, "replaced by a newer connection")
            elif "cut" in ws.request.path:
                ws.transport.abort()
            async for message in ws:
                await ws.send(message)
        except websockets.ConnectionClosedError:
            pass
        self.closed.append((ws.close_code, ws.close_reason))


@pytest.fixture
async def tier() -> AsyncIterator[_SocketTier]:
    tier = _SocketTier()
    async with serve(
        tier.handler,
        "127.0.0.1",
        tier.port,
        subprotocols=["ocpp1.6"],  # type: ignore[list-item]
        select_subprotocol=lambda connection, offered: offered[0] if offered else None,
        process_request=tier.process_request,
        max_size=None,
    ):
        yield tier


@pytest.fixture
async def gateway(tier: _SocketTier, tmp_path: Path) -> AsyncIterator[Gateway]:
    environment = {**base_environment(), "PYTHONPATH": str(_HERE)}
    functions = [
        LambdaFunction(
            FunctionDefinition(name, "sample_functions.proxy", 1.0, environment={"WHO": name}), environment, tmp_path
        )
        for name in ("api", "payment_webhook")
    ]
    await asyncio.gather(*(function.start() for function in functions))
    gateway = Gateway(
        free_port(), api=functions[0], payment_webhook=functions[1], socket_tier_ports=[free_port(), tier.port]
    )
    await gateway.start()
    yield gateway
    await gateway.stop()
    await asyncio.gather(*(function.stop() for function in functions))


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}", timeout=10) as client:
        yield client


async def test_requests_become_events(http: httpx.AsyncClient) -> None:
    response = await http.post(
        "/api/v1/x?a=1&a=2", json={"b": "Ош"}, headers={"Authorization": "Bearer t", "X-Forwarded-For": "10.1.1.1"}
    )
    assert response.headers["content-type"] == "application/json"
    event = response.json()["event"]
    assert event["httpMethod"] == "POST"
    assert json.loads(event["body"]) == {"b": "Ош"}
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"]}
    assert event["headers"]["Authorization"] == "Bearer t"
    assert event["headers"]["X-Forwarded-For"] == "10.1.1.1, 127.0.0.1"


@pytest.mark.parametrize(
    ("method", "path", "function"),
    [
        ("POST", "/api/v1/payment/webhook", "payment_webhook"),
        ("POST", "/api/payment/webhook", "payment_webhook"),
        ("GET", "/api/v1/payment/webhook", "api"),
        ("OPTIONS", "/api/v1/payment/webhook", "api"),
        ("POST", "/api/v1/balance/topup-qr", "api"),
        ("GET", "/health", "api"),
        ("GET", "/", "api"),
    ],
)
async def test_each_path_reaches_its_function(http: httpx.AsyncClient, method: str, path: str, function: str) -> None:
    assert (await http.request(method, path)).headers["x-who"] == function


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("/slow", 504, "timeout"), ("/crash", 502, "internal_error"), ("/malformed", 502, "internal_error")],
)
async def test_failures_have_the_envelope_and_cors(http: httpx.AsyncClient, path: str, status: int, code: str) -> None:
    response = await http.get(path, headers={"Origin": "capacitor://localhost"})
    assert response.status_code == status
    assert response.json()["error_code"] == code
    assert response.json()["success"] is False
    assert response.headers["access-control-allow-origin"] == "*"


async def test_a_body_over_ten_megabytes_is_refused(http: httpx.AsyncClient) -> None:
    response = await http.post("/api/v1/x", content=b"x" * (10 * 1024 * 1024 + 1))
    assert response.status_code == 413
    assert response.json()["error_code"] == "invalid_request"


async def test_websocket_passes_through_with_subprotocol_and_headers(gateway: Gateway, tier: _SocketTier) -> None:
    url = f"ws://127.0.0.1:{gateway.port}/ocpp/EVP%2D1"
    headers = {"Authorization": "Basic abc", "X-Forwarded-For": "10.9.9.9"}
    async with connect(url, subprotocols=["ocpp1.6"], additional_headers=headers) as ws:  # type: ignore[list-item]
        assert ws.subprotocol == "ocpp1.6"
        await ws.send("hello")
        assert await ws.recv() == "hello"
        big = "x" * 500_000
        await ws.send(big)
        assert await ws.recv() == big
        await (await ws.ping())
        await ws.close(4123, "bye")
    assert tier.headers["X-Forwarded-For"] == "10.9.9.9, 127.0.0.1"
    assert tier.headers["Authorization"] == "Basic abc"
    async with asyncio.timeout(5):
        while not tier.closed:
            await asyncio.sleep(0.01)
    assert tier.closed == [(4123, "bye")]


async def test_close_codes_of_the_server_arrive(gateway: Gateway) -> None:
    async with connect(f"ws://127.0.0.1:{gateway.port}/ws/replaced") as ws:
        with pytest.raises(websockets.ConnectionClosed):
            await ws.recv()
    assert (ws.close_code, ws.close_reason) == (4001, "replaced by a newer connection")


async def test_a_cut_connection_is_cut_on_the_other_side(gateway: Gateway, tier: _SocketTier) -> None:
    async with connect(f"ws://127.0.0.1:{gateway.port}/ws/cut") as ws:
        with pytest.raises(websockets.ConnectionClosedError):
            await ws.recv()
    assert ws.close_code == 1006
    ws = await connect(f"ws://127.0.0.1:{gateway.port}/ws/client-drops")
    tier.closed.clear()
    ws.transport.abort()
    async with asyncio.timeout(5):
        while not tier.closed:
            await asyncio.sleep(0.01)
    assert tier.closed[0][0] == 1006


@pytest.mark.parametrize(("path", "status", "text"), [("unknown", 404, "unknown station"), ("secret", 401, "password")])
async def test_refusals_before_the_upgrade_arrive(gateway: Gateway, path: str, status: int, text: str) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{gateway.port}/ocpp/{path}")
    assert refused.value.response.status_code == status
    assert text in (refused.value.response.body or b"").decode()


async def test_plain_requests_to_socket_paths_are_answered_by_the_socket_tier(http: httpx.AsyncClient) -> None:
    assert (await http.get("/ocpp/EVP-1")).status_code == 426


async def test_no_socket_tier_gives_503(gateway: Gateway, tier: _SocketTier, http: httpx.AsyncClient) -> None:
    gateway._socket_tiers.clear()
    response = await http.get("/ocpp/EVP-1")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert response.json()["error_code"] == "service_unavailable"


async def test_a_taken_port_is_said(gateway: Gateway) -> None:
    second = Gateway(gateway.port, api=gateway._api, payment_webhook=gateway._api, socket_tier_ports=[1])
    with pytest.raises(LocalSystemError, match="taken"):
        await second.start()
