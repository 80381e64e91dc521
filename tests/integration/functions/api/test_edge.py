"""The edge over real Redis and PostgreSQL: credentials, rate limits, idempotency, audit, Redis away."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest

from evpower.auth import hmac_signature
from evpower.auth.models import AuthRequest
from evpower.db import PooledDatabase
from tests.integration.functions.api.conftest import CLIENT, OTHER, SERIAL, STATION, Api, token

START, STOP, TOPUP = "/api/v1/charging/start", "/api/v1/charging/stop", "/api/v1/balance/topup-qr"
NO_REDIS = "redis://127.0.0.1:1/0"


def key(value: str) -> dict[str, str]:
    return {"Idempotency-Key": value}


# --- Credentials --------------------------------------------------------------------------------------------------


async def test_tokens_of_every_kind(api: Api) -> None:
    async def status(bearer: str) -> int:
        answer = await api.call("GET", "/api/v1/profile", client=None, headers={"Authorization": bearer})
        return answer.status_code

    assert await status(f"Bearer {token(CLIENT)}") == 200
    assert await status(f"bearer {token(CLIENT)}") == 200
    for bad in (
        "Bearer demo.access.token",
        "Bearer",
        f"Basic {token(CLIENT)}",
        f"Bearer {token(CLIENT, exp=int(time.time()) - 60)}",
        f"Bearer {token(CLIENT, iss='https://elsewhere.example/auth/v1')}",
        f"Bearer {token(CLIENT, role='service_role')}",
        f"Bearer {token('')}",
    ):
        assert await status(bad) == 401


def signed(method: str, path: str, body: bytes, *, offset_ms: int = 0) -> dict[str, str]:
    timestamp = int(time.time() * 1000) + offset_ms
    request = AuthRequest(method, path, "", {}, body)
    return {
        "Content-Type": "application/json",
        "X-Client-Id": CLIENT,
        "X-Client-Timestamp": str(timestamp),
        "X-Client-Signature": hmac_signature.sign(
            "test-hmac-secret", request, client_id=CLIENT, timestamp_ms=timestamp
        ),
    }


async def test_a_signed_request_works_once(api: Api) -> None:
    body = b'{"amount": 100}'
    headers = signed("POST", TOPUP, body)
    assert (await api.http.post(TOPUP, content=body, headers=headers)).status_code == 200
    replayed = await api.http.post(TOPUP, content=body, headers=headers)
    assert (replayed.status_code, replayed.json()["error_code"]) == (401, "unauthorized")
    changed = await api.http.post(TOPUP, content=b'{"amount": 900}', headers=signed("POST", TOPUP, body))
    assert changed.status_code == 401
    drifted = await api.http.post(TOPUP, content=body, headers=signed("POST", TOPUP, body, offset_ms=-420_000))
    assert drifted.status_code == 401
    assert await api.one("SELECT count(*) FROM balance_topups") == 1


async def test_concurrent_replays_have_one_winner(api: Api) -> None:
    headers = signed("GET", "/api/v1/profile", b"")
    answers = await asyncio.gather(*(api.http.get("/api/v1/profile", headers=headers) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401, 401, 401]


async def test_the_master_key_is_nobody(api: Api) -> None:
    headers = {"X-API-Key": "test-master-key"}
    await api.fails("GET", "/api/v1/profile", client=None, headers=headers, status=403, code="forbidden")
    await api.fails(
        "GET", "/api/v1/profile", client=None, headers={"X-API-Key": "guess"}, status=401, code="unauthorized"
    )
    await api.ok("GET", "/api/v1/locations", client=None, headers=headers)


async def test_row_security_stands_behind_the_routes(api: Api) -> None:
    """Even a wrong query of ours shows a client its own rows only."""
    await api.start()
    for subject, visible in ((CLIENT, 1), (OTHER, 0)):
        async with api.deps.database.transaction(claims={"sub": subject, "role": "authenticated"}) as conn:
            for table in ("charging_sessions", "payment_transactions_odengi WHERE transaction_type = 'charge_reserve'"):
                row = await (await conn.execute(f"SELECT count(*) AS n FROM {table}")).fetchone()
                assert row is not None
                assert row["n"] == visible
            row = await (await conn.execute("SELECT array_agg(id) AS ids FROM clients")).fetchone()
            assert row is not None
            assert row["ids"] == [subject]
    async with api.deps.database.transaction(claims={"role": "anon"}) as conn:
        row = await (await conn.execute("SELECT count(*) AS n FROM clients")).fetchone()
        assert row is not None
        assert row["n"] == 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with api.deps.database.transaction(claims={"sub": CLIENT, "role": "authenticated"}) as conn:
            await conn.execute("UPDATE payment_transactions_odengi SET amount = 1")


# --- Rate limits --------------------------------------------------------------------------------------------------


async def test_critical_routes_have_their_own_limit_per_client(make_api: Callable[..., Any], api: Api) -> None:
    limited: Api = await make_api(rate_limit_critical_per_minute=3)
    body = {"station_id": "none", "connector_id": 1}
    for _ in range(3):
        await limited.fails("POST", START, body, status=404, code="station_not_found")
    answer = await limited.call("POST", START, body)
    assert (answer.status_code, answer.json()["error_code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(answer.headers["retry-after"]) == answer.json()["retry_after_seconds"] <= 120
    await limited.fails("POST", TOPUP, {"amount": 100}, status=429, code="rate_limit_exceeded")
    await limited.fails("POST", START, body, client=OTHER, status=404, code="station_not_found")
    await limited.ok("GET", "/api/v1/balance/current")
    limited.deps.clock.advance(timedelta(seconds=120))  # type: ignore[attr-defined]
    await limited.fails("POST", START, body, status=404, code="station_not_found")


async def test_stops_share_a_bucket_with_nothing(make_api: Callable[..., Any], api: Api) -> None:
    """A driver who tried to top up ten times must still be able to end the charge, and the other way round."""
    limited: Api = await make_api(rate_limit_critical_per_minute=3, rate_limit_default_per_minute=3)
    for path in ("/api/v1/locations", "/api/v1/balance/current"):
        for _ in range(4):
            await limited.call("GET", path)
    for _ in range(4):
        await limited.call("POST", TOPUP, {"amount": 1})
    await limited.fails("POST", TOPUP, {"amount": 100}, status=429, code="rate_limit_exceeded")
    await limited.fails("GET", "/api/v1/balance/current", status=429, code="rate_limit_exceeded")
    for path in (STOP, STOP, "/api/charging/stop"):
        assert (await limited.call("POST", path, {"session_id": "none"})).status_code == 404
    stopped = await limited.fails("POST", STOP, {"session_id": "none"}, status=429, code="rate_limit_exceeded")
    assert stopped["retry_after_seconds"] >= 1
    other = {"station_id": "none", "connector_id": 1}
    for _ in range(4):
        await limited.call("POST", STOP, {"session_id": "none"}, client=OTHER)
    await limited.fails("POST", START, other, client=OTHER, status=404, code="station_not_found")


async def test_without_a_token_the_address_counts(make_api: Callable[..., Any], api: Api) -> None:
    limited: Api = await make_api(rate_limit_public_per_minute=3)
    one, two = {"X-Forwarded-For": "198.51.100.1"}, {"X-Forwarded-For": "203.0.113.9, 198.51.100.2"}
    for _ in range(3):
        await limited.ok("GET", "/api/v1/locations", client=None, headers=one)
    await limited.fails("GET", "/api/v1/locations", client=None, headers=one, status=429, code="rate_limit_exceeded")
    spoofed = {"X-Forwarded-For": "203.0.113.77, 198.51.100.1"}
    await limited.fails(
        "GET", "/api/v1/locations", client=None, headers=spoofed, status=429, code="rate_limit_exceeded"
    )
    await limited.ok("GET", "/api/v1/locations", client=None, headers=two)
    await limited.ok("GET", "/api/v1/locations", client=CLIENT, headers=one)
    await limited.ok("GET", "/health", client=None, headers=one)


async def test_two_processes_share_the_limit(make_api: Callable[..., Any], api: Api) -> None:
    first: Api = await make_api(rate_limit_critical_per_minute=4)
    second: Api = await make_api(rate_limit_critical_per_minute=4)
    second.deps.clock.current = first.deps.clock.now()  # type: ignore[attr-defined]
    calls = [process.call("POST", STOP, {"session_id": "none"}) for process in (first, second) for _ in range(5)]
    statuses = [answer.status_code for answer in await asyncio.gather(*calls)]
    assert (statuses.count(404), statuses.count(429)) == (4, 6)


# --- Idempotency --------------------------------------------------------------------------------------------------


async def test_a_repeated_key_gets_the_first_answer(api: Api) -> None:
    body = {"station_id": SERIAL, "connector_id": 1, "amount_som": 100}
    first = await api.call("POST", START, body, headers=key("k-1"))
    assert first.status_code == 200
    again = await api.call("POST", START, body, headers=key("k-1"))
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["idempotency-key"] == "k-1"
    assert again.headers["content-type"] == "application/json"
    assert "idempotency-replayed" not in first.headers
    assert await api.one("SELECT count(*) FROM charging_sessions") == 1
    assert await api.balance() == 900
    await api.fails("POST", START, {**body, "amount_som": 200}, headers=key("k-1"), status=409, code="invalid_request")
    await api.fails("POST", TOPUP, body, headers=key("k-1"), status=409, code="invalid_request")


async def test_the_key_of_a_delete_counts_too(api: Api) -> None:
    """The app sends one with every DELETE (mobile-api.md §1.8)."""
    path = "/api/v1/favorites/loc-1"
    await api.ok("POST", "/api/v1/favorites", {"location_id": "loc-1"})
    first = await api.call("DELETE", path, headers=key("k"))
    again = await api.call("DELETE", path, headers=key("k"))
    assert (first.status_code, first.headers["idempotency-key"]) == (200, "k")
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    await api.fails("DELETE", "/api/v1/favorites/loc-2", headers=key("k"), status=409, code="invalid_request")


async def test_keys_are_scoped_by_client(api: Api) -> None:
    first = await api.call("POST", TOPUP, {"amount": 100}, headers=key("same"))
    second = await api.call("POST", TOPUP, {"amount": 100}, client=OTHER, headers=key("same"))
    assert first.json()["client_id"] == CLIENT
    assert second.json()["client_id"] == OTHER


async def test_business_refusals_are_kept_and_transient_ones_are_not(api: Api) -> None:
    body = {"station_id": "unknown", "connector_id": 1}
    await api.fails("POST", START, body, headers=key("kept"), status=404, code="station_not_found")
    await api.add_station("unknown")
    await api.fails("POST", START, body, headers=key("kept"), status=404, code="station_not_found")
    api.standin.behaviour.fail = {"createInvoice": 99}
    await api.fails("POST", TOPUP, {"amount": 100}, headers=key("retry"), status=502, code="provider_error")
    api.standin.behaviour.fail = {}
    await api.ok("POST", TOPUP, {"amount": 100}, headers=key("retry"))


async def test_nobodys_key_protects_nothing(api: Api) -> None:
    await api.fails("POST", TOPUP, {"amount": 100}, client=None, headers=key("k"), status=401, code="unauthorized")
    await api.ok("POST", TOPUP, {"amount": 100}, headers=key("k"))


async def test_one_request_of_a_key_at_a_time(api: Api) -> None:
    api.standin.behaviour.api_delay_s = 0.5
    answers = await asyncio.gather(*(api.call("POST", TOPUP, {"amount": 100}, headers=key("k")) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    assert await api.one("SELECT count(*) FROM balance_topups") == 1
    assert (await api.call("POST", TOPUP, {"amount": 100}, headers=key("k"))).headers["idempotency-replayed"] == "true"


async def test_a_crash_frees_the_key(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def crash(*args: object, **options: object) -> None:
        raise RuntimeError("lost")

    with monkeypatch.context() as patched:
        patched.setattr("evpower.payments.flows.create_topup", crash)
        await api.fails("POST", TOPUP, {"amount": 100}, headers=key("k"), status=500, code="internal_error")
    await api.ok("POST", TOPUP, {"amount": 100}, headers=key("k"))


# --- Audit --------------------------------------------------------------------------------------------------------


async def test_payment_and_charging_requests_are_audited(api: Api) -> None:
    headers = {"X-Forwarded-For": "198.51.100.7", "X-Correlation-ID": "phone-1"}
    await api.ok("POST", TOPUP, {"amount": 500}, headers=headers)
    session = await api.start()
    await api.fails("POST", STOP, {"session_id": "none"}, status=404, code="session_not_found")
    await api.fails("POST", STOP, {"session_id": "none"}, client=None, status=401, code="unauthorized")
    await api.ok("GET", f"/api/v1/charging/status/{session['session_id']}")
    await api.fails("GET", "/api/v1/payment/status/nope", status=404, code="payment_not_found")
    await api.ok("GET", "/api/v1/locations")
    rows = await api.sql("SELECT * FROM audit_logs ORDER BY id")
    assert [(row["operation"], row["client_id"], row["status"], row["error_code"]) for row in rows] == [
        ("balance.topup_qr", CLIENT, 200, None),
        ("charging.start", CLIENT, 200, None),
        ("charging.stop", CLIENT, 404, "session_not_found"),
        ("charging.stop", None, 401, "unauthorized"),
        ("payment.read", CLIENT, 404, "payment_not_found"),
    ]
    topup, start = rows[0], rows[1]
    assert (topup["amount_masked"], topup["client_ip"], topup["correlation_id"]) == ("5**", "198.51.100.7", "phone-1")
    assert start["amount_masked"] == "2**", "without a limit: what was reserved"
    assert start["details"] == {"station_id": STATION, "connector_id": 1, "session_id": session["session_id"]}
    assert start["actor_role"] == "supabase"


async def test_a_flood_is_logged_but_fills_no_table(make_api: Callable[..., Any], api: Api) -> None:
    limited: Api = await make_api(rate_limit_critical_per_minute=1)
    await limited.fails("POST", STOP, {"session_id": "none"}, status=404, code="session_not_found")
    for _ in range(5):
        await limited.fails("POST", STOP, {"session_id": "none"}, status=429, code="rate_limit_exceeded")
    assert await api.one("SELECT count(*) FROM audit_logs") == 1


# --- Redis away ---------------------------------------------------------------------------------------------------


async def test_without_redis_money_still_moves_once(make_api: Callable[..., Any], api: Api) -> None:
    away: Api = await make_api(redis_url=NO_REDIS, rate_limit_critical_per_minute=4)
    body = {"station_id": SERIAL, "connector_id": 1, "amount_som": 100}
    first = await away.call("POST", START, body, headers=key("k"))
    assert first.status_code == 200
    again = await away.call("POST", START, body, headers=key("k"))
    assert (again.status_code, again.json()["error_code"]) == (409, "session_already_active")
    assert await api.balance() == 900
    assert (await away.fails("GET", "/health", client=None, status=503, code="service_unavailable"))["redis"] is False


async def test_without_redis_critical_limits_are_shared_through_the_database(
    make_api: Callable[..., Any], api: Api
) -> None:
    first: Api = await make_api(redis_url=NO_REDIS, rate_limit_critical_per_minute=4, rate_limit_public_per_minute=2)
    second: Api = await make_api(redis_url=NO_REDIS, rate_limit_critical_per_minute=4)
    second.deps.clock.current = first.deps.clock.now()  # type: ignore[attr-defined]
    calls = [process.call("POST", STOP, {"session_id": "none"}) for process in (first, second) for _ in range(4)]
    statuses = [answer.status_code for answer in await asyncio.gather(*calls)]
    assert (statuses.count(404), statuses.count(429)) == (4, 4)
    reads = [(await first.call("GET", "/api/v1/locations", client=None)).status_code for _ in range(3)]
    assert reads == [200, 200, 429], "the rest is counted per process"


async def test_limits_work_in_cluster_mode(make_api: Callable[..., Any], api: Api, redis_cluster_url: str) -> None:
    cluster: Api = await make_api(redis_url=redis_cluster_url, redis_cluster=True, rate_limit_critical_per_minute=2)
    first = await cluster.call("POST", TOPUP, {"amount": 100}, headers=key("k"))
    again = await cluster.call("POST", TOPUP, {"amount": 100}, headers=key("k"))
    assert (first.status_code, again.headers.get("idempotency-replayed")) == (200, "true")
    assert (await cluster.call("POST", TOPUP, {"amount": 100})).status_code == 429
    assert (await cluster.ok("GET", "/health", client=None))["redis"] is True


async def test_the_database_away_is_503(make_api: Callable[..., Any], api: Api) -> None:
    away: Api = await make_api()
    assert isinstance(away.deps.database, PooledDatabase)
    await away.deps.database.close()
    answer: httpx.Response = await away.call("GET", "/api/v1/balance/current")
    assert (answer.status_code, answer.json()["error_code"]) == (503, "service_unavailable")
