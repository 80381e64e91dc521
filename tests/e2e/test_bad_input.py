"""Nonsense at both front doors of the running system: always the right refusal, never a crash, never silence."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.e2e.world import World


async def socket_of(world: World, station_id: str | None = None, protocol: str = "ocpp1.6") -> ClientConnection:
    identifier = station_id or f"id-{await world.station()}"
    connecting = connect(f"{world.place.ocpp_url}/{identifier}", subprotocols=[protocol], proxy=None)  # type: ignore[list-item]
    return await world.stack.enter_async_context(connecting)


async def ask(socket: ClientConnection, text: str) -> list[Any]:
    await socket.send(text)
    answer: list[Any] = json.loads(await socket.recv())
    return answer


BOOT = {"chargePointVendor": "V", "chargePointModel": "M"}

FRAMES = [
    ("no json at all", None, "FormationViolation"),
    ("{}", None, "FormationViolation"),
    ("[]", None, "FormationViolation"),
    ('[2,"1"]', "1", "FormationViolation"),
    ('[2,"1","MakeCoffee",{}]', "1", "NotImplemented"),
    ('[2,"1","Authorize",{}]', "1", "OccurenceConstraintViolation"),
    ('[2,"1","Authorize",{"idTag":{"a":[1]}}]', "1", "TypeConstraintViolation"),
    ('[2,"1","StatusNotification",{"connectorId":101,"errorCode":"NoError","status":"Available"}]', "1",
     "PropertyConstraintViolation"),
    ('[2,"1","Heartbeat","now"]', "1", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "identifier", "code"), FRAMES)
async def test_a_bad_frame_is_answered_and_the_socket_goes_on(
    world: World, text: str, identifier: str | None, code: str | None
) -> None:
    socket = await socket_of(world)
    assert (await ask(socket, json.dumps([2, "b", "BootNotification", BOOT])))[2]["status"] == "Accepted"
    await skip_commands(socket, text)
    answer = await next_answer(socket)
    assert answer[0] == 4
    assert answer[1] == (identifier or "-1")
    if code is not None:
        assert answer[2] == code
    await skip_commands(socket, '[2,"after","Heartbeat",{}]')
    assert (await next_answer(socket))[:2] == [3, "after"]


@pytest.mark.parametrize(
    "text",
    [
        '[2,"1","Heartbeat"]',
        '[2,"1","Heartbeat",[]]',
        '[2,"1","BootNotification",{"chargePointVendor":5,"chargePointModel":"M"}]',
        '[2,"1","StatusNotification",{"connectorId":"1","status":"Asleep"}]',
    ],
)
async def test_what_can_be_read_is_answered(world: World, text: str) -> None:
    socket = await socket_of(world)
    await skip_commands(socket, text)
    assert (await next_answer(socket))[:2] == [3, "1"]


async def skip_commands(socket: ClientConnection, text: str) -> None:
    await socket.send(text)


async def next_answer(socket: ClientConnection) -> list[Any]:
    """The next answer; commands that the server sends after the boot (configuration) are refused meanwhile."""
    while True:
        frame: list[Any] = json.loads(await socket.recv())
        if frame[0] != 2:
            return frame
        await socket.send(json.dumps([4, frame[1], "NotSupported", "", {}]))


async def test_an_oversized_frame_closes_with_1009(world: World) -> None:
    socket = await socket_of(world)
    await socket.send(json.dumps([2, "1", "DataTransfer", {"vendorId": "x", "data": "y" * 1_100_000}]))
    async for _ in socket_until_closed(socket):
        pass
    assert socket.close_code == 1009


async def socket_until_closed(socket: ClientConnection) -> AsyncIterator[str | bytes]:
    with suppress(ConnectionClosed):
        while True:
            yield await socket.recv()


@pytest.mark.parametrize(
    ("path", "protocol", "status"),
    [("no-such-station", "ocpp1.6", 404), ("a/b", "ocpp1.6", 404), (None, "ocpp1.5", 400), (None, "ocpp2.0.1", 400)],
)
async def test_refusals_before_the_upgrade(world: World, path: str | None, protocol: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await socket_of(world, path, protocol)
    assert caught.value.response.status_code == status


async def test_an_inactive_station_is_refused(world: World) -> None:
    serial = await world.station()
    await world.conn.execute("UPDATE stations SET status = 'inactive' WHERE serial_number = %s", [serial])
    with pytest.raises(InvalidStatus) as caught:
        await socket_of(world, f"id-{serial}")
    assert caught.value.response.status_code == 403


BODIES: list[tuple[str, bytes, dict[str, str], set[int]]] = [
    ("not JSON", b"{", {}, {400, 422}),
    ("an array", b"[1]", {}, {400, 422}),
    ("a number as text", b'{"station_id": 5, "connector_id": 1}', {}, {400, 422}),
    ("a missing member", b'{"connector_id": 1}', {}, {400, 422}),
    ("a negative amount", b'{"station_id": "A", "connector_id": 1, "amount_som": -1}', {}, {400, 422}),
    ("NaN", b'{"station_id": "A", "connector_id": 1, "amount_som": NaN}', {}, {400, 422}),
    ("not UTF-8", b'{"station_id": "\xff"}', {}, {400, 422}),
    ("a NUL", b'{"station_id": "A\\u0000", "connector_id": 1}', {}, {400, 404, 422}),
    ("deep", b"[" * 50_000 + b"]" * 50_000, {}, {400, 413, 422}),
    ("huge", b'{"station_id": "' + b"x" * 2_000_000 + b'"}', {}, {413}),
    ("another content type", b"<a/>", {"Content-Type": "text/xml"}, {400, 415, 422}),
]


@pytest.mark.parametrize(("body", "headers", "statuses"), [b[1:] for b in BODIES], ids=[b[0] for b in BODIES])
async def test_a_bad_body_gets_the_envelope(
    world: World, body: bytes, headers: dict[str, str], statuses: set[int]
) -> None:
    token = world.token(await world.client(100))
    async with httpx.AsyncClient(base_url=world.place.base_url, trust_env=False) as http:
        response = await http.post(
            "/api/v1/charging/start",
            content=body,
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {token}", **headers},
        )
    assert response.status_code in statuses, response.text
    check_envelope(response)


def check_envelope(response: httpx.Response) -> None:
    """mobile-api.md §0.1: flat, readable, with CORS headers."""
    answer = response.json()
    assert answer["success"] is False
    assert answer["error_code"]
    assert answer["error"] == answer["message"]
    assert response.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/balance/current", 401, "unauthorized"),
        ("POST", "/api/v1/charging/start", 401, "unauthorized"),
        ("GET", "/api/v1/nothing/here", 404, "not_found"),
        ("GET", "/api/v1/station/status/no-such-station", 404, "station_not_found"),
        ("DELETE", "/api/v1/locations", 405, None),
    ],
)
async def test_refusals_carry_the_envelope_and_cors(
    world: World, method: str, path: str, status: int, code: str | None
) -> None:
    async with httpx.AsyncClient(base_url=world.place.base_url, trust_env=False) as http:
        response = await http.request(method, path, headers={"Origin": "capacitor://localhost"})
    assert response.status_code == status, response.text
    check_envelope(response)
    if code is not None:
        assert response.json()["error_code"] == code
    assert response.headers["access-control-allow-origin"] == "capacitor://localhost"


async def test_an_unusable_bearer_does_not_break_public_reads(world: World) -> None:
    async with httpx.AsyncClient(base_url=world.place.base_url, trust_env=False) as http:
        response = await http.get("/api/v1/locations", headers={"Authorization": "Bearer a.b.c"})
    assert response.status_code == 200
    assert response.json()["success"]
