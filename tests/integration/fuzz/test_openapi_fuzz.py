"""Schemathesis over the OpenAPI document: generated requests per role, good and bad ones.

No 5xx but what is documented as switched off or away, no status outside the documented ones, no body outside its
schema. ``EVPOWER_FUZZ_EXAMPLES`` (default 1) is how many requests of each kind an operation gets from each role.
"""

import asyncio
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode

from functions.api import openapi
from functions.api.app import create_api
from infra.local.services import Valkey
from tests.integration.api_network import network
from tests.integration.contract.expected import ROUTES, VARIANTS
from tests.integration.contract.recorder import record, record_cards
from tests.integration.functions.api.conftest import CLIENT, STATION, Api, token
from tests.integration.functions.api.staff_world import FIRST, FIRST_OPERATOR, ROOT

EXAMPLES = int(os.environ.get("EVPOWER_FUZZ_EXAMPLES", "1"))
ROLES: dict[str, dict[str, str]] = {
    "nobody": {},
    "client": {"Authorization": f"Bearer {token(CLIENT)}"},
    "operator": {"Authorization": f"Bearer {token(FIRST_OPERATOR)}"},
    "superadmin": {"Authorization": f"Bearer {token(ROOT)}"},
}
OPERATIONS = [(method, path) for _, method, path, _ in ROUTES]
# Ends the account, or the login, that the other operations need.
_ENDS = {"/api/v1/auth/delete-account", "/api/v1/account/delete-request"}
_DOCUMENTED_5XX = {502, 503, 504}


@dataclass
class World:
    """The running application, its document, and the answers of real flows."""

    runner: asyncio.Runner
    api: Api
    schema: Any
    recorded: dict[str, list[httpx.Response]]
    known: dict[str, str]

    def send(self, role: str, method: str, url: str, **request: Any) -> httpx.Response:
        self.sent += 1
        headers = {**request.pop("headers", {}), **ROLES[role]}
        return self.runner.run(self.api.http.request(method, url, headers=headers, **request))

    sent: int = 0

    def judge(self, operation: Any, answer: httpx.Response) -> None:
        """Fails for a status or a body that the document does not describe."""
        documented = operation.definition.raw["responses"]
        assert str(answer.status_code) in documented, f"undocumented {answer.status_code}: {answer.text[:300]}"
        assert answer.status_code < 500 or answer.status_code in _DOCUMENTED_5XX, answer.text[:300]
        assert answer.headers["content-type"] == "application/json"
        operation.validate_response(answer)


@pytest.fixture(scope="module")
def world(postgres: str, _template: str, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with asyncio.Runner() as runner:

        async def cards() -> dict[str, list[httpx.Response]]:
            async with network(postgres, _template, valkey.url, tmp_path_factory.mktemp("bank")) as banked:
                found = await record_cards(banked)
                await banked.deps.payments.provider.close()  # type: ignore[attr-defined]
                return dict(found.answers)

        recorded = runner.run(cards())
        context = network(postgres, _template, valkey.url)
        api = runner.run(context.__aenter__())
        try:
            recorded |= runner.run(record(api)).answers
            schema = schemathesis.openapi.from_dict(openapi.document(create_api(api.deps)))
            made = World(runner, api, schema, recorded, _known(recorded))
            yield made
            sys.stderr.write(f"{made.sent} generated requests\n")
        finally:
            runner.run(context.__aexit__(None, None, None))


def _known(recorded: dict[str, list[httpx.Response]]) -> dict[str, str]:
    """Ids that exist, so that half of the requests get past "not found"."""
    return {
        "station_id": STATION,
        "location_id": "loc-1",
        "client_id": CLIENT,
        "session_id": recorded["C1"][0].json()["session_id"],
        "invoice_id": recorded["B1"][0].json()["invoice_id"],
        "transaction_id": recorded["B1"][0].json()["order_id"],
        "operator_id": recorded["D13"][0].json()["id"],
        "user_id": FIRST,
        "command_id": recorded["OC1"][0].json()["data"]["command"]["id"],
        "job_id": recorded["OJ1"][0].json()["data"]["id"],
        "firmware_id": recorded["OF1"][0].json()["data"]["id"],
        "reservation_id": recorded["RV1"][0].json()["data"]["reservation_id"],
        "profile_id": recorded["SC1"][0].json()["data"]["profile_id"],
    }


def test_every_operation_answers_real_requests_as_documented(world: World) -> None:
    paths = {row: (method, path) for row, method, path, _ in ROUTES}
    for label, answers in world.recorded.items():
        method, path = paths[label.split()[0]]
        for answer in answers:
            assert answer.status_code in (200, 202)
            world.judge(world.schema[path][method], answer)
    assert {paths[label.split()[0]] for label in world.recorded} == set(OPERATIONS)
    assert world.recorded.keys() == paths.keys() | VARIANTS.keys()


def test_the_judge_sees_what_is_not_described(world: World) -> None:
    operation = world.schema["/api/v1/balance/current"]["GET"]
    good = world.recorded["B3"][0]
    world.judge(operation, good)
    body = {name: value for name, value in good.json().items() if name != "balance"}
    for status, answer in ((200, body), (200, {**good.json(), "balance": "1"}), (418, good.json()), (500, {})):
        tampered = httpx.Response(status, json=answer, request=good.request)
        tampered.elapsed = good.elapsed
        with pytest.raises((AssertionError, BaseExceptionGroup)):
            world.judge(operation, tampered)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_generated_requests(world: World, role: str, method: str, path: str) -> None:
    if path in _ENDS and role != "nobody":
        role = "nobody"
    operation = world.schema[path][method]
    fixed = {name: value for name, value in world.known.items() if f"{{{name}}}" in path} or None
    for mode, path_parameters in ((GenerationMode.POSITIVE, fixed), (GenerationMode.NEGATIVE, None)):
        strategy = operation.as_strategy(generation_mode=mode, path_parameters=path_parameters)
        _play(world, operation, role, strategy, mode)


def _play(world: World, operation: Any, role: str, strategy: Any, mode: GenerationMode) -> None:
    @seed(20260115)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def play(case: Any) -> None:
        asked = case.as_transport_kwargs(base_url="https://api.example")
        request = {name: asked[name] for name in ("params", "headers", "json") if asked.get(name) is not None}
        request["headers"] = _sendable(request.get("headers", {}))
        if isinstance(asked.get("data"), str | bytes):
            request["content"] = asked["data"]
        if "json" in request:
            request["content"] = json.dumps(request.pop("json")).encode()
        world.judge(operation, world.send(role, asked["method"], asked["url"], **request))

    play()


def _sendable(headers: Any) -> dict[str, str]:
    """Headers that HTTP can carry; the credential is the role's."""
    kept = {}
    for name, value in dict(headers).items():
        text = str(value)
        if name.lower() not in ("authorization", "x-api-key", "user-agent") and text.isascii() and text.isprintable():
            kept[name] = text
    return kept


BODIES: dict[str, tuple[bytes, int]] = {
    "over 1 MB": (b'{"a": "' + b"x" * (1024 * 1024) + b'"}', 413),
    "deep": (b"[" * 5000 + b"]" * 5000, 400),
    "deep within the parser's reach": (b'{"a":' * 40 + b"1" + b"}" * 40, 400),
    "duplicate names": (b'{"amount": 10, "amount": 20}', 400),
    "NaN": (b'{"amount": NaN}', 400),
    "infinity": (b'{"amount": 1e999}', 400),
    "huge integer": (b'{"amount": ' + b"9" * 5000 + b"}", 400),
    "not UTF-8": (b'{"amount": "\xff"}', 400),
    "NUL": (b'{"amount": "\\u0000"}', 400),
    "half a surrogate pair": (b'{"amount": "\\ud800"}', 400),
    "cut off": (b'{"amount": 1', 400),
    "no JSON": (b"amount=1", 400),
}
WITH_BODY = [(method, path) for method, path in OPERATIONS if method in ("POST", "PUT")]


@pytest.mark.parametrize(("body", "status"), BODIES.values(), ids=BODIES)
def test_bodies_that_nobody_should_send(world: World, body: bytes, status: int) -> None:
    """On every route with a body, for somebody who may call it; those without one ignore what was sent."""
    for method, path in WITH_BODY:
        operation = world.schema[path][method]
        if operation.definition.raw.get("requestBody") is None or path in _ENDS:
            continue
        url = path.format_map(defaultdict(lambda: "1", world.known))
        role = "superadmin" if "/admin/" in path else "client"
        headers = {"Content-Type": "application/json"}
        answer = world.send(role, method, url, content=body, headers=headers)
        assert answer.status_code == status, (path, answer.text[:200])
        world.judge(operation, answer)
        typed = world.send(role, method, url, content=b"{}", headers={"Content-Type": "text/xml"})
        assert typed.status_code == 415, path
        assert orjson.loads(typed.content)["error_code"] == "invalid_request"
