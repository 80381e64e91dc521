"""Every route of the contract answers in the shape that its clients read (mobile-api.md §3-7)."""

import json
import os
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from functions.api.routes import routers
from infra.local.services import Valkey
from tests.integration.api_network import in_own_loop, network
from tests.integration.contract import examples
from tests.integration.contract.expected import NEVER_FILLED, ROUTES, VARIANTS
from tests.integration.contract.recorder import record, record_cards
from tests.integration.contract.shapes import members, problems, seen, spoiled

SHAPES: dict[str, Any] = {row: shape for row, _, _, shape in ROUTES} | VARIANTS
# Shapes with members to spoil (S4 has no described member).
SPOILABLE = sorted(label for label, shape in SHAPES.items() if isinstance(shape, dict))


Recorded = tuple[dict[str, list[httpx.Response]], dict[str, Any]]


@pytest.fixture(scope="module")
def recorded(postgres: str, _template: str, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """All answers of one story, by label, and the last body that was sent."""

    async def story() -> Recorded:
        async with network(postgres, _template, valkey.url, git_commit="abc1234", build_time="2026-01-15") as api:
            plain = await record(api)
        async with network(postgres, _template, valkey.url, tmp_path_factory.mktemp("bank")) as api:
            cards = await record_cards(api)
            await api.deps.payments.provider.close()  # type: ignore[attr-defined]
        return {**plain.answers, **cards.answers}, {**plain.bodies, **cards.bodies}

    return in_own_loop(story)


@pytest.fixture(scope="module")
def answers(recorded: Recorded) -> dict[str, list[httpx.Response]]:
    return recorded[0]


def test_the_index_is_what_is_served() -> None:
    served = {
        (method, route.path)
        for router in routers()
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    assert served == {(method, path) for _, method, path, _ in ROUTES}


@pytest.mark.parametrize("label", SHAPES)
def test_answers_have_the_shape(answers: dict[str, list[httpx.Response]], label: str) -> None:
    assert answers[label], "no flow reaches this route"
    for answer in answers[label]:
        assert answer.headers["content-type"] == "application/json"
        assert list(problems(answer.json(), SHAPES[label])) == []


@pytest.mark.parametrize("label", SHAPES)
def test_every_member_was_seen_with_a_value(answers: dict[str, list[httpx.Response]], label: str) -> None:
    """Or the check of its type says nothing, and a renamed optional member would pass. ``error`` is for failures."""
    shape = SHAPES[label]
    found = {path for answer in answers[label] for path in seen(answer.json(), shape)}
    assert {path for path in members(shape) if path not in found} - NEVER_FILLED.get(label, set()) <= {".error"}


@pytest.mark.parametrize("label", SPOILABLE)
def test_a_renamed_or_null_member_would_fail(answers: dict[str, list[httpx.Response]], label: str) -> None:
    spoils = [spoil for answer in answers[label][-1:] for spoil in spoiled(answer.json(), SHAPES[label])]
    assert spoils
    for what, spoil in spoils:
        assert list(problems(spoil, SHAPES[label])) != [], what


def test_refusals_use_the_envelope_of_their_route_and_no_null(answers: dict[str, list[httpx.Response]]) -> None:
    """Shapes above are of successes: no recorded answer may be a failure in disguise."""
    for label, found in answers.items():
        for answer in found:
            assert answer.json().get("success", True) is True, label


def test_examples_of_the_openapi_document_are_real(recorded: Recorded) -> None:
    """The document's examples have the members that the routes really answer with."""
    made = examples.made(*recorded)
    if os.environ.get("EVPOWER_WRITE_EXAMPLES"):
        examples.FILE.write_text(json.dumps(made, ensure_ascii=False, indent=1, sort_keys=True) + "\n")
    kept = json.loads(examples.FILE.read_text())
    assert kept.keys() == made.keys()
    for route in made:
        assert examples.alike(kept[route], made[route]), (route, kept[route], made[route])
