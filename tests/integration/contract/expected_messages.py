"""Expected answers about what was said to and by a charger."""

from typing import Any

from tests.integration.contract.expected_commands import STATION
from tests.integration.contract.expected_staff import data
from tests.integration.contract.shapes import FILLED, FLAG, MOMENT, NUMBER, nullable, one_of

ANY = lambda value: True  # noqa: E731 - what chargers send has any form
MESSAGE = {
    "at": MOMENT,
    "direction": one_of("in", "out", "event"),
    "action": nullable(FILLED),
    "message_id": nullable(FILLED),
    "request": nullable(ANY),
    "response": nullable(ANY),
    "error": nullable(FILLED),
    "latency_ms": nullable(NUMBER),
    "is_truncated": FLAG,
}

ROUTES: tuple[tuple[str, str, str, Any], ...] = (
    ("OM1", "GET", f"{STATION}/messages", data({"messages": [MESSAGE], "next_cursor": nullable(FILLED)})),
)

NEVER_FILLED: dict[str, set[str]] = {"OM1": {".message"}}
