"""Cold starts: from a process that does not exist to its first answer, against the least code of the same kind.

Two functions that somebody waits for: ``api`` with an authenticated ``GET /api/v1/balance/current`` beside FastAPI +
Mangum + psycopg with one route, and ``payment_webhook`` with a signed callback beside Powertools + psycopg. All run
under AWS's runtime client against the local Runtime API, with compiled bytecode, one after the other in turn, so that
the machine's moods meet all four. What a sandbox costs before the process starts is AWS's part and not measured.
"""

import asyncio
import compileall
import json
import statistics
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import psycopg

from evpower.payments.odengi_signature import callback_hash
from infra.functions import FUNCTIONS
from infra.local import scratch
from infra.local.lambda_pool import FunctionDefinition, LambdaFunction, base_environment
from infra.local.processes import ROOT
from infra.local.queues import create_queues
from infra.local.rest_event import HttpRequest, proxy_event
from infra.local.services import SqsServer
from tests.load.harness import Backend, backend, cpu_seconds, machine, report

ROUNDS = 15
AIM = 1.3
CLIENT = "client-1"
SECRET = "a-secret-of-the-benchmark-of-32-characters"
MERCHANT, PASSWORD = "1234567890", "callback-password"

PAIRS = {"api": "tests.load.bare.fastapi_function", "payment_webhook": "tests.load.bare.powertools_function"}


def events() -> dict[str, dict[str, Any]]:
    """The first request of each function."""
    now = datetime.now(UTC)
    claims = {"iss": "https://auth.example/auth/v1", "aud": "authenticated", "sub": CLIENT}
    token = jwt.encode({**claims, "exp": int(time.time()) + 3600}, SECRET, "HS256")
    members = {
        "trans_id": "1",
        "status_pay": 3,
        "site_id": MERCHANT,
        "order_id": "evp-unknown",
        "amount": 50000,
        "currency": "KGS",
        "mktime": "1767225600",
        "test": 0,
    }
    signed = {**members, "hash": callback_hash(PASSWORD, {name: str(value) for name, value in members.items()})}
    headers = [("Host", "api.example"), ("Content-Type", "application/json")]
    trace = "Root=1-67890abc-0123456789abcdef01234567"
    balance = HttpRequest(
        "GET", "/api/v1/balance/current", [*headers, ("Authorization", f"Bearer {token}")], b"", "192.0.2.1", 443
    )
    callback = HttpRequest("POST", "/api/v1/payment/webhook", headers, json.dumps(signed).encode(), "192.0.2.1", 443)
    return {
        "api": proxy_event(balance, now, trace),
        "payment_webhook": proxy_event(callback, now, trace),
    }


def _seed(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("INSERT INTO clients (id, balance) VALUES (%s, 1000)", (CLIENT,))


async def first_answer(
    name: str, handler: str, event: Mapping[str, Any], environment: Mapping[str, str], logs: Path
) -> tuple[float, float]:
    """Milliseconds from the start of the process to its answer, and of CPU that it used."""
    spec = FUNCTIONS[name]
    settings = {**environment, "DATABASE_ROLE": spec.database_role}
    function = LambdaFunction(FunctionDefinition(name, handler, spec.timeout_s), settings, logs)
    began = time.perf_counter()
    await function.start()
    try:
        result = await function.invoke(event)
        elapsed = time.perf_counter() - began
        if result.function_error or result.payload["statusCode"] != 200:
            raise RuntimeError(f"{handler} answered {result.payload}")
        return elapsed * 1000, cpu_seconds(function.pids[0]) * 1000
    finally:
        await function.stop()


async def measure(of: Backend, queues: Mapping[str, str], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Every handler once per round; the first round, which fills the disk cache, does not count."""
    requests = events()
    environment = {
        **base_environment(),
        **of.environment(
            LOG_LEVEL="INFO",
            SUPABASE_URL="https://auth.example",
            SUPABASE_JWT_SECRET=SECRET,
            ODENGI_MERCHANT_ID=MERCHANT,
            ODENGI_PASSWORD=PASSWORD,
        ),
        **queues,
    }
    handlers = {name: FUNCTIONS[name].handler for name in PAIRS} | {
        f"{name} anchor": f"{module}.handler" for name, module in PAIRS.items()
    }
    found: dict[str, list[tuple[float, float]]] = {label: [] for label in handlers}
    with scratch.directory("evpower-bench") as logs:
        for turn in range(rounds + 1):
            for label, handler in handlers.items():
                name = label.partition(" ")[0]
                took = await first_answer(name, handler, requests[name], environment, logs)
                if turn:
                    found[label].append(took)
            sys.stderr.write(f"\r  round {turn} of {rounds}")
    sys.stderr.write("\n")
    return found


async def main(rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure and report."""
    for folder in ("layers/evpower/python/evpower", "functions", "tests/load/bare"):
        compileall.compile_dir(str(ROOT / folder), quiet=2)
    sqs = SqsServer()
    try:
        await asyncio.to_thread(sqs.start)
        queues = create_queues(sqs.url).environment
        async with backend() as of:
            _seed(of.database_url)
            found = await measure(of, queues, rounds)
    finally:
        sqs.stop()
    rows: list[list[object]] = [["cold start, median", "ms", "CPU ms", "ratio", "ratio of CPU"]]
    result: dict[str, Any] = {"bench": "coldstart", "rounds": rounds, "aim": AIM, **machine()}
    for name in PAIRS:
        own, anchor = ([statistics.median(column) for column in zip(*found[label], strict=True)]
                       for label in (name, f"{name} anchor"))  # fmt: skip
        ratios = [own[index] / anchor[index] for index in range(2)]
        rows.append([f"{name}: the least code", f"{anchor[0]:.0f}", f"{anchor[1]:.0f}", "1", "1"])
        rows.append([name, f"{own[0]:.0f}", f"{own[1]:.0f}", f"{ratios[0]:.2f}", f"{ratios[1]:.2f}"])
        result[name] = {"ms": own[0], "cpu_ms": own[1], "anchor_ms": anchor[0], "anchor_cpu_ms": anchor[1]}
        result[name] |= {"ratio": ratios[0], "cpu_ratio": ratios[1]}
    report(f"Cold start: process start to first answer ({rounds} rounds, aim {AIM})", rows, result)
    return result
