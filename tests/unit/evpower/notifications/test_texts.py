"""Texts and data members of every event (mobile-api.md §6.3)."""

from datetime import UTC, datetime
from typing import Any

import pytest

from evpower.notifications import texts
from evpower.notifications.models import OutboxItem

# Transcribed from mobile-api.md §6.3: event -> its payload.
CONTRACT: dict[str, dict[str, Any]] = {
    "charging_started": {"session_id": "s", "station_id": "st", "connector_id": 2},
    "charging_completed": {"session_id": "s", "energy_kwh": 1.5, "amount": 20.25},
    "charging_error": {"session_id": "s", "error_code": "NO_CONNECTION"},
    "low_balance_warning": {"balance": 49.99, "threshold": 50},
    "payment_confirmed": {"amount": 500, "new_balance": 500},
    "new_session": {"session_id": "s", "station_id": "st", "location_id": "l"},
    "session_completed": {"session_id": "s", "energy_kwh": 1.5, "amount": 20.25},
    "station_offline": {"station_id": "st", "offline_since": "2026-01-15T06:00:00.000Z"},
}


def item(event: str, payload: dict[str, Any]) -> OutboxItem:
    return OutboxItem(7, "client", "c", event, payload, 1, datetime(2026, 1, 15, tzinfo=UTC), (), None)


@pytest.mark.parametrize("event", CONTRACT)
@pytest.mark.parametrize("language", ["ru", "ky", "en"])
def test_every_event_has_a_text_and_its_members_as_strings(event: str, language: str) -> None:
    push = texts.render(item(event, {**CONTRACT[event], "serial_number": "SN"}), language)
    assert push.title
    assert push.body
    assert "{" not in push.title + push.body
    assert "…" not in push.body
    assert set(push.data) >= {*CONTRACT[event], "type"}
    assert all(isinstance(value, str) for value in push.data.values())
    assert ("sessionId" in push.data) == ("session_id" in CONTRACT[event])
    assert push.data.get("sessionId") == push.data.get("session_id")


def test_the_languages_differ() -> None:
    for event, payload in CONTRACT.items():
        assert len({texts.render(item(event, payload), language).title for language in ("ru", "ky", "en")}) == 3


def test_the_type_is_the_word_that_the_app_knows() -> None:
    types = {event: texts.data(event, payload)["type"] for event, payload in CONTRACT.items()}
    assert types.pop("charging_completed") == "charging_complete"
    assert all(event == word for event, word in types.items())


def test_what_is_unknown_is_left_out_and_not_the_word_none() -> None:
    push = texts.render(item("new_session", {"session_id": "s", "station_id": "st", "location_id": None}), "xx")
    assert "location_id" not in push.data
    assert (push.title, push.body) == ("Новая зарядка", "Станция ….")


def test_the_collapse_id_suits_every_provider() -> None:
    longest = OutboxItem(2**63 - 1, "client", "c", "test", {}, 1, datetime(2026, 1, 15, tzinfo=UTC), (), None)
    collapse_id = texts.render(longest, "ru").collapse_id
    assert len(collapse_id) <= 32
    assert collapse_id.replace("-", "").isalnum()
