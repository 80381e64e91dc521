"""Wrong members are named as they are on the wire, and told in words that need no knowledge of our models."""

from typing import Annotated, Any

import httpx
import pytest
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError

from functions.api.routes import routers
from functions.api.schemas.admin_jobs import LogJobBody
from functions.api.schemas.ocpp_commands import CommandBody
from functions.api.schemas.patterns import words_of
from functions.api.schemas.staff import OperatorBody
from functions.api.wrong_members import field_names

MASTER = {"X-API-Key": "test-master-key"}


def told(annotation: Any, body: Any) -> list[dict[str, str]]:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(annotation).validate_python(body)
    errors = [{**error, "loc": ("body", *error["loc"])} for error in refused.value.errors()]
    return field_names(errors, annotation)


def test_a_command_without_an_action() -> None:
    (missing,) = told(CommandBody, {"type": "Soft"})
    assert (missing["field"], missing["problem"]) == ("action", "missing")
    assert missing["detail"].startswith("is missing; one of RemoteStartTransaction, ")
    assert missing["detail"].endswith("GetInstalledCertificateIds")


@pytest.mark.parametrize(
    ("action", "meant"), [("reset", "Reset"), ("TrigerMessage", "TriggerMessage"), ("Explode", None), (5, None)]
)
def test_a_command_with_another_action(action: Any, meant: str | None) -> None:
    (unknown,) = told(CommandBody, {"action": action})
    assert (unknown["field"], unknown["problem"]) == ("action", "literal_error")
    assert unknown["detail"].startswith("must be one of RemoteStartTransaction, ")
    assert unknown.get("did_you_mean") == meant


def test_a_misspelt_member_of_a_command() -> None:
    missing, unknown = told(CommandBody, {"action": "Reset", "typ": "Soft"})
    assert (missing["field"], missing["problem"]) == ("type", "missing")
    assert unknown == {
        "field": "typ",
        "problem": "extra_forbidden",
        "detail": "unknown member; known here: expires_in_s, action, type",
        "did_you_mean": "type",
    }


def test_a_member_with_the_name_of_an_action() -> None:
    (unknown,) = told(CommandBody, {"action": "Reset", "type": "Soft", "Reset": {"type": "Hard"}})
    assert (unknown["field"], unknown["problem"]) == ("Reset", "extra_forbidden")


def test_a_misspelt_member_deep_inside() -> None:
    body = {
        "action": "SendLocalList",
        "listVersion": 1,
        "updateType": "full",
        "localAuthorizationList": [{"idtag": "A"}],
    }
    found = {item["field"]: item for item in told(CommandBody, body)}
    assert found["localAuthorizationList.0.idtag"]["did_you_mean"] == "idTag"
    assert "idTag, idTagInfo" in found["localAuthorizationList.0.idtag"]["detail"]
    assert found["updateType"]["did_you_mean"] == "Full"


@pytest.mark.parametrize(
    ("annotation", "body", "field", "detail"),
    [
        (CommandBody, [], "body", "must be a JSON object"),
        (LogJobBody, "x", "body", "must be a JSON object"),
        (LogJobBody, {"type": "all"}, "type", "must be 'diagnostics', 'DiagnosticsLog' or 'SecurityLog'"),
        (LogJobBody, {"type": "diagnostics", "oldest": "soon"}, "oldest", "for example 2026-01-15T06:00:00Z"),
        (LogJobBody, {"type": "diagnostics", "oldest": "2026-01-15T06:00:00"}, "oldest", "Z, or an offset as +06:00"),
        (
            LogJobBody,
            {"type": "diagnostics", "location": "file:///etc/passwd"},
            "location",
            "must be a link that begins",
        ),
        (LogJobBody, {"type": "diagnostics", "retries": "3"}, "retries", "must be an integer"),
        (LogJobBody, {"type": "diagnostics", "retries": 101}, "retries", "must be less than or equal to 100"),
        (OperatorBody, {"phone": "+996"}, "phone", "must have at least 9 characters"),
        (CommandBody, {"action": "GetConfiguration", "key": []}, "key", "must have at least 1 item"),
    ],
)
def test_details_are_plain_words(annotation: Any, body: Any, field: str, detail: str) -> None:
    found = {item["field"]: item["detail"] for item in told(annotation, body)}
    assert detail in found[field]


def test_a_pattern_without_words_is_told_itself() -> None:
    assert words_of("^x$") == "of the form ^x$"


def test_every_pattern_of_a_request_has_words() -> None:
    routes = [route for one in routers() for route in one.routes if isinstance(route, APIRoute)]
    fields = [field for route in routes for field in (route.body_field, *route.dependant.query_params) if field]
    kinds = [Annotated[field.field_info.annotation, field.field_info] for field in fields]
    patterns = {pattern for kind in kinds for pattern in _patterns(TypeAdapter(kind).json_schema())}
    assert len(patterns) > 5
    assert [pattern for pattern in patterns if words_of(pattern).endswith(pattern)] == []


def _patterns(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {found for part in schema for found in _patterns(part)}
    if not isinstance(schema, dict):
        return set()
    own = {schema["pattern"]} if isinstance(schema.get("pattern"), str) else set()
    return own | {found for part in schema.values() for found in _patterns(part)}


async def test_a_query_parameter_that_was_sent_in_the_body(http: httpx.AsyncClient) -> None:
    answer = await http.put("/api/v1/admin/clients/c-1/status", json={"status": "blocked"}, headers=MASTER)
    (missing,) = answer.json()["fields"]
    assert (answer.status_code, missing["field"], missing["problem"]) == (422, "status", "missing")
    assert missing["detail"] == "required in the query (?status=...), not in the body"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("key=1", "unknown query parameter key; known here: none"),
        ("staus=blocked", "unknown query parameter staus, did you mean status?; known here: status"),
    ],
)
async def test_a_sentence_that_names_the_field_does_not_end_with_it(
    http: httpx.AsyncClient, query: str, sentence: str
) -> None:
    path = "/api/v1/admin/clients/c-1/status" if "staus" in query else "/api/v1/admin/clients/c-1"
    method = "PUT" if "staus" in query else "GET"
    answer = await http.request(method, f"{path}?{query}", headers={**MASTER, "Accept-Language": "en"})
    assert answer.json()["error"] == sentence
