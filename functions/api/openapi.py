"""The OpenAPI document: what FastAPI finds in the routes, with credentials, headers and each route's error answers.

``python -m functions.api.openapi FILE`` writes it.
"""

import json
import sys
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from functions.api.routes import routers
from functions.api.routing import depends_on, require_client
from functions.api.staff import require_staff

DESCRIPTION = """The back end of a prepaid EV-charging network: balance, top-ups, charging sessions, stations, staff.

Money is Kyrgyz som with 2 decimals, energy kWh with 3, date-times are UTC and end in `Z`. A member that is not
described as nullable is left out rather than null. Every failure has the body `ErrorBody`; decide by `error_code`.
Paths under `/api/v1` are the API; those under `/api/` without a version are the earlier client's names for it, and
their `error` holds the machine code."""

_CREDENTIALS: dict[str, dict[str, str]] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "Own access token (POST /api/v1/auth/verify-otp) or a Supabase session token.",
    },
    "masterKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "Operators' tools."},
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Client-Signature",
        "description": "`v2=<hex>` with X-Client-Id and X-Client-Timestamp; see docs/api/README.md. Good once.",
    },
}
# HTTP status: what it means here, error_code and sentence of the example.
_ERRORS: dict[str, tuple[str, str, str]] = {
    "400": ("The body cannot be read as JSON.", "invalid_request", "Некорректный запрос."),
    "401": ("No credential, or one that does not verify.", "unauthorized", "Требуется вход в аккаунт."),
    "402": ("The balance is too small.", "insufficient_balance", "Недостаточно средств на балансе."),
    "403": ("Somebody else's, or a closed account.", "forbidden", "Нет доступа."),
    "404": ("There is no such thing.", "not_found", "Не найдено."),
    "405": ("Another method.", "invalid_request", "Некорректный запрос."),
    "409": ("Not in this state, or the Idempotency-Key is taken.", "invalid_request", "Некорректный запрос."),
    "413": ("The body is larger than 1 MB.", "invalid_request", "Некорректный запрос."),
    "415": ("The body is not `application/json`.", "invalid_request", "Некорректный запрос."),
    "422": ("A member is missing or wrong; `field` names it.", "validation_error", "Проверьте данные: amount"),
    "429": ("Too many requests; see Retry-After.", "rate_limit_exceeded", "Слишком много запросов."),
    "500": ("A fault of ours; quote `correlation_id`.", "internal_error", "Внутренняя ошибка сервера."),
    "502": ("The payment or message provider refused.", "provider_error", "Ошибка платёжной системы."),
    "503": ("A dependency is away, or this is switched off.", "service_unavailable", "Сервис недоступен."),
    "504": ("The provider did not answer in time.", "provider_timeout", "Платёжная система не отвечает."),
}
_ALWAYS = ("429", "500", "503")
_WITH_BODY = ("400", "413", "415", "422")
_CORRELATION_ID = "2f0c1d4e5b6a47988776655443322110"
_PROVIDER_PATHS = ("/topup", "/payment/", "-payment", "otp/send", "/send-otp")
# Answers recorded from real flows by the contract tests (which also say when they are out of date), and bodies.
_EXAMPLES = Path(__file__).with_name("examples.json")
_HEADERS: dict[str, dict[str, Any]] = {
    "CorrelationId": {
        "name": "X-Correlation-ID",
        "in": "header",
        "description": "Follows the request into logs and the charger's messages; echoed.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"},
    },
    "AcceptLanguage": {
        "name": "Accept-Language",
        "in": "header",
        "description": "Language of the sentences: `ru` (default), `ky`, `en`.",
        "schema": {"type": "string"},
        "example": "ru",
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "A fresh one per action; for 24 h a repetition gets the first answer.",
        "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"},
        "example": "0f8fad5b-d9cb-469f-a165-70867728950e",
    },
}


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document; made once per process."""
    if app.openapi_schema is None:
        app.description = DESCRIPTION
        _complete(FastAPI.openapi(app))  # keeps what it made in openapi_schema
    assert app.openapi_schema is not None
    return app.openapi_schema


def _complete(made: dict[str, Any]) -> None:
    components = made.setdefault("components", {})
    components["securitySchemes"] = _CREDENTIALS
    components["responses"] = {f"Error{status}": _error(status) for status in _ERRORS}
    components["parameters"] = _HEADERS
    examples = json.loads(_EXAMPLES.read_text(encoding="utf-8"))
    for route in _routes():
        for method in sorted(route.methods or ()):
            operation = made["paths"][route.path_format][method.lower()]
            _describe(operation, route, method)
            _illustrate(operation, examples.get(f"{method} {route.path_format}", {}))


def _routes() -> list[APIRoute]:
    return [route for router in routers() for route in router.routes if isinstance(route, APIRoute)]


def _describe(operation: dict[str, Any], route: APIRoute, method: str) -> None:
    is_protected = any(depends_on(route.dependant, asked) for asked in (require_client, require_staff))
    operation["operationId"] = _operation_id(route, method)
    operation["security"] = [{name: []} for name in _CREDENTIALS] if is_protected else []
    answers = operation["responses"]
    for status in ("4XX", "5XX"):
        answers.pop(status, None)
    for status in _statuses(route, method, is_protected=is_protected):
        answers[status] = {"$ref": f"#/components/responses/Error{status}"}
    parameters = operation.setdefault("parameters", [])
    parameters[:] = [item for item in parameters if item.get("name") != "Idempotency-Key"]
    names = ["CorrelationId", "AcceptLanguage"]
    if method in ("POST", "PUT", "DELETE") and "/auth/" not in route.path:
        names.append("IdempotencyKey")
    parameters += [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _illustrate(operation: dict[str, Any], example: dict[str, Any]) -> None:
    if "answer" in example:
        success = operation["responses"].get("200") or operation["responses"]["202"]
        success["content"]["application/json"]["example"] = example["answer"]
    if "body" in example and "requestBody" in operation:
        operation["requestBody"]["content"]["application/json"]["example"] = example["body"]


def _operation_id(route: APIRoute, method: str) -> str:
    """The path in words, which stays when a function is renamed."""
    words = [word.strip("{}").replace("-", "_") for word in route.path.split("/") if word]
    return "_".join([method.lower(), *words]) if words else "root"


def _statuses(route: APIRoute, method: str, *, is_protected: bool) -> list[str]:
    """Statuses of the failures that this route can answer."""
    found = set(_ALWAYS)
    if is_protected:
        found |= {"401", "403", "404"}
    if depends_on(route.dependant, require_staff):
        found.add("422")  # a name in the query that the route does not read
    if route.dependant.path_params:
        found |= {"404", "422"}
    if route.dependant.query_params or route.dependant.header_params:
        found.add("422")
    if route.body_field is not None:
        found |= set(_WITH_BODY)
    if method not in ("GET", "HEAD"):
        found |= {"400", "409", "413"}
    if "/auth/" in route.path:
        found |= {"401", "403"}
    if any(part in route.path for part in _PROVIDER_PATHS):
        found |= {"402", "422", "502", "504"}
    if route.path.endswith(("/charging/start", "/balance", "/adjust")):
        found |= {"402", "422"}
    return sorted(found)


def _error(status: str) -> dict[str, Any]:
    meaning, code, sentence = _ERRORS[status]
    example = {
        "success": False,
        "error_code": code,
        "error": sentence,
        "message": sentence,
        "correlation_id": _CORRELATION_ID,
    }
    if status == "422":
        example |= {
            "field": "amount",
            "fields": [{"field": "amount", "problem": "missing", "detail": "Field required"}],
        }
    if status == "429":
        example["retry_after_seconds"] = 17
    if status == "402":
        example |= {"current_balance": 5, "required_amount": 10}
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}, "example": example}}
    return {"description": meaning, "content": content}


def main(arguments: list[str]) -> int:
    """Write the document to the file that is named, and validate it."""
    from evpower.config import Settings
    from functions.api.app import create_api
    from functions.api.deps import build_deps

    target = Path(arguments[0])
    made = document(create_api(build_deps(Settings.model_validate({"environment": "test"}))))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(made, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    from openapi_spec_validator import validate  # a developer's tool

    validate(made)
    sys.stdout.write(
        f"{target}: {sum(len(item) for item in made['paths'].values())} operations, valid OpenAPI {made['openapi']}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
