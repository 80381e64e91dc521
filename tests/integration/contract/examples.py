"""Examples for the OpenAPI document: a recorded answer and body of each route, with what is secret or random put aside.

``EVPOWER_WRITE_EXAMPLES=1 ./dev test integration tests/integration/contract`` writes functions/api/examples.json anew.
"""

import re
from pathlib import Path
from typing import Any

import httpx

from tests.integration.contract.expected import ROUTES

FILE = Path("functions/api/examples.json")
_FIXED = {
    "access_token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjbGllbnQtMSJ9.c2lnbmF0dXJl",
    "refresh_token": "example-refresh-token",
    "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    "public_key": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    "code": "123456",
    "phone": "+996700000001",
}
# Members whose form is the message's that they hold.
_FREE = frozenset({"payload", "response"})
# The only times in bodies that are recorded: an example must be good whenever somebody tries it.
LONG_AGO, FAR_AHEAD = "2026-01-15T00:00:00Z", "2099-12-31T00:00:00Z"
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_RANDOM = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9A-Z]{26}")


def _plain(value: Any, name: str = "", *, moment: str | None = "2026-01-15T06:00:00.000Z") -> Any:
    """``moment`` stands for every time, where times are what happened to be when the answer was recorded."""
    if isinstance(value, dict):
        return {key: _plain(item, key, moment=moment) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, name, moment=moment) for item in value[:2]]
    if not isinstance(value, str):
        return value
    if name in _FIXED:
        return _FIXED[name]
    value = _MOMENT.sub(moment, value) if moment else value
    value = re.sub(r"127\.0\.0\.1:\d+", "pay.example", value)
    return _RANDOM.sub("0f8fad5bd9cb469fa16570867728950e", value)


def made(answers: dict[str, list[httpx.Response]], bodies: dict[str, Any]) -> dict[str, Any]:
    """By ``METHOD /path``: the fullest answer of the route, and the body that was sent to it."""
    found: dict[str, Any] = {}
    for row, method, path, _ in ROUTES:
        fullest = max(answers[row], key=lambda answer: len(answer.content))
        found[f"{method} {path}"] = {"answer": _plain(fullest.json())}
        if row in bodies:
            found[f"{method} {path}"]["body"] = _plain(bodies[row], moment=None)
    return found


def alike(kept: Any, made: Any) -> bool:
    """Whether two examples have the same form, whatever their values; what is null in one may be anything."""
    if kept is None or made is None:
        return True
    if isinstance(kept, dict) and isinstance(made, dict):
        return kept.keys() == made.keys() and all(alike(kept[name], made[name]) for name in kept if name not in _FREE)
    if isinstance(kept, list) and isinstance(made, list):
        return not kept or not made or alike(kept[0], made[0])
    return isinstance(kept, int | float) == isinstance(made, int | float) and isinstance(kept, str) == isinstance(
        made, str
    )
