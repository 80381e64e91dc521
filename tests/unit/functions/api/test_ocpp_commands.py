"""The typed bodies of commands: what passes them passes the schema that the socket tier checks before it writes."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from functions.api import strict_json
from functions.api.schemas.ocpp_commands import CommandBody
from socket_tier.ocpp16.commands import COMMANDS
from socket_tier.schemas import SchemaSet
from tests.fakes.json_values import values
from tests.fakes.ocpp16_commands import CASES

BODY: TypeAdapter[Any] = TypeAdapter(CommandBody)
SCHEMAS = SchemaSet("v16")
_DESCRIBED = BODY.json_schema()["$defs"]


def test_every_command_of_the_socket_tier_has_a_body() -> None:
    described = BODY.json_schema()["discriminator"]["mapping"]
    assert set(described) == set(COMMANDS) == set(CASES)


@pytest.mark.parametrize("action", sorted(CASES))
def test_a_request_of_the_specification_goes_out_as_it_came(action: str) -> None:
    sent = json.dumps({"action": action, **CASES[action].request}).encode()
    body = BODY.validate_python(strict_json.parse(sent))
    assert body.payload() == CASES[action].request
    assert json.loads(json.dumps(body.payload())) == CASES[action].request  # nothing that JSON does not have


@pytest.mark.parametrize("action", sorted(CASES))
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_a_body_lets_pass_the_schema_lets_pass(action: str, data: st.DataObject) -> None:
    drawn = data.draw(values(_DESCRIBED[action], _DESCRIBED))
    body = BODY.validate_python(strict_json.parse(json.dumps(drawn).encode()))
    SCHEMAS.require_request(action, body.payload())


@pytest.mark.parametrize("action", sorted(CASES))
def test_no_member_is_lost_by_a_slip_of_the_pen(action: str) -> None:
    request = {"action": action, **CASES[action].request}
    for name in CASES[action].request:
        slip = {key if key != name else f"{key}_": value for key, value in request.items()}
        with pytest.raises(ValidationError):
            BODY.validate_python(slip)
