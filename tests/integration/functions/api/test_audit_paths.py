"""No path and no byte of a request keeps it out of the audit log."""

import random
from typing import Any
from urllib.parse import unquote

import pytest

from functions.api.app import create_app
from tests.integration.functions.api.conftest import CLIENT, Api, token

CANCEL, START, STOP = "/api/v1/payment/cancel/{}", "/api/v1/charging/start", "/api/v1/charging/stop"


async def test_a_cancel_with_a_nul_is_audited(api: Api) -> None:
    await api.fails("POST", "/api/v1/payment/cancel/%00", status=422, code="validation_error")
    (row,) = await api.sql("SELECT operation, client_id, path, status, error_code FROM audit_logs")
    assert row == {
        "operation": "payment.cancel",
        "client_id": CLIENT,
        "path": "/api/v1/payment/cancel/%00",
        "status": 422,
        "error_code": "validation_error",
    }


@pytest.mark.parametrize(
    "path",
    ["/api/v1/payment/%00", "/api/v1/payment/%0Acancel/5", "/api/v1/payment/cancel/5%0A", "/api/v1/payment/",
     "/api/v1/payment", "/api/charging/%0D%0A", "/api/v1/payment/cancel/%FF%FE", "/api/v1/payment/cancel/%ED%A0%80",
     "/api/v1/payment/cancel/%F0%9F%94%8C", "/api/v1/payment/cancel/%2e%2e/%2e%2e", "/api/v1/payment/cancel/%25%30%30",
     "/api/v1/balance/" + "x" * 3000, "/api/v1/payment/cancel/" + "%00" * 300, "/api/v1/charging/%E2%80%AEstop"],
)  # fmt: skip
async def test_odd_paths_leave_their_row(api: Api, path: str) -> None:
    answer = await api.call("POST", path)
    assert 400 <= answer.status_code < 500
    (row,) = await api.sql("SELECT path, status, operation FROM audit_logs")
    assert row["status"] == answer.status_code
    assert row["path"].isprintable()
    assert len(row["path"]) <= 256
    assert row["path"].startswith(unquote(path)[:12])


async def test_every_byte_and_random_bytes(api: Api) -> None:
    chance = random.Random(15)
    sequences = [bytes([byte]) for byte in range(256)]
    sequences += [chance.randbytes(chance.randint(1, 40)) for _ in range(60)]
    for sequence in sequences:
        await api.call("POST", CANCEL.format("".join(f"%{byte:02x}" for byte in sequence)))
    assert await api.one("SELECT count(*) FROM audit_logs") == len(sequences)


async def raw(api: Api, path: str) -> int:
    """The status of a POST whose path no client library would send, as an event of the gateway may hold it."""
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "https",
        "path": path, "raw_path": b"", "query_string": b"", "root_path": "", "client": ("192.0.2.9", 1),
        "server": ("api.example", 443), "headers": [(b"authorization", f"Bearer {token(CLIENT)}".encode())],
    }  # fmt: skip
    await create_app(api.deps)(scope, receive, send)
    (status,) = statuses
    return status


async def test_half_a_surrogate_pair(api: Api) -> None:
    assert await raw(api, "/api/v1/payment/cancel/\ud800") == 422
    assert await raw(api, "/api/v1/payment/\udfff\x00") == 404
    rows = await api.sql("SELECT path, operation FROM audit_logs ORDER BY id")
    assert [row["path"] for row in rows] == ["/api/v1/payment/cancel/%ED%A0%80", "/api/v1/payment/%ED%BF%BF%00"]
    assert rows[1]["operation"] == "payment.%ED%BF%BF%00"


async def test_a_line_break_leads_to_no_route(api: Api) -> None:
    """Routers compare up to a closing line break: `/charging/start%0A` was the route, past the rules for it."""
    body = {"station_id": "none", "connector_id": 1}
    for path in (START, STOP, "/api/v1/balance/topup-qr", "/api/v1/auth/refresh", "/health"):
        await api.fails("POST", f"{path}%0A", body, status=404, code="not_found")
    assert [row["operation"] for row in await api.sql("SELECT operation FROM audit_logs ORDER BY id")] == [
        "charging.start%0A",
        "charging.stop%0A",
        "balance.topup_qr%0A",
    ]
