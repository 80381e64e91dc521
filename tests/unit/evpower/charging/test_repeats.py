"""When an equal StartTransaction is another charge (docs/decisions/0008)."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.charging import meter, repeats

NOW = datetime(2026, 1, 15, 6, 0, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Known:
    """The transaction with the same content."""

    status: str = "stopped"
    received_at: datetime = NOW
    started_at: datetime = EPOCH
    start_message_id: str | None = "a"
    stop_named_id: bool | None = True
    session_id: str | None = None
    id_tag_status: str = "Blocked"


def test_a_charge_after_a_finished_one_of_a_charger_without_a_clock_is_another() -> None:
    assert repeats.is_another_charge(Known(), "b")


@pytest.mark.parametrize(
    "known",
    [
        Known(status="active"),  # its answer was lost, or it goes on after a reboot
        Known(stop_named_id=False),  # stopped before it saw the answer: the start comes again
        Known(stop_named_id=None),  # stopped before that was noted
        Known(started_at=NOW - timedelta(days=29)),  # a queue of weeks
        Known(started_at=NOW + timedelta(hours=23)),  # local time sent as UTC, and more
        Known(start_message_id="b"),  # the very same message
    ],
)
def test_anything_less_is_the_same_start_again(known: Known) -> None:
    assert not repeats.is_another_charge(known, "b")


def test_a_refused_start_whose_end_never_came_may_come_again() -> None:
    assert repeats.may_be_another_attempt(Known(status="active"), "b")


@pytest.mark.parametrize(
    ("known", "message_id"),
    [
        (Known(status="stopped"), "b"),  # then it is another charge, or none
        (Known(status="active", id_tag_status="Accepted"), "b"),  # it goes on
        (Known(status="active", session_id="s"), "b"),  # it is billed
        (Known(status="active", started_at=NOW - timedelta(days=29)), "b"),  # a queue of weeks
        (Known(status="active"), "a"),  # the very same message
        (Known(status="active"), None),
    ],
)
def test_any_other_start_keeps_its_answer(known: Known, message_id: str | None) -> None:
    assert not repeats.may_be_another_attempt(known, message_id)


def test_a_start_of_which_the_message_is_not_known_is_the_same_again() -> None:
    assert not repeats.is_another_charge(Known(), None)


@given(
    behind=st.timedeltas(timedelta(hours=-24), timedelta(days=30)),
    later=st.timedeltas(timedelta(0), timedelta(days=365)),
    status=st.sampled_from(("active", "stopped", "ended_without_stop")),
    named=st.sampled_from((True, False, None)),
    message_id=st.one_of(st.none(), st.text(max_size=5)),
)
def test_with_a_believable_clock_equal_content_is_the_same_start_for_ever(
    behind: timedelta, later: timedelta, status: str, named: bool | None, message_id: str | None
) -> None:
    """However much later, after whatever end, with whatever message id."""
    known = Known(status=status, received_at=NOW + later, started_at=NOW + later - behind, stop_named_id=named)
    assert not repeats.is_another_charge(known, message_id)
    assert not repeats.is_another_charge(replace(known, start_message_id=None), message_id)
    assert not repeats.may_be_another_attempt(known, message_id)


@pytest.mark.parametrize("said", [EPOCH, datetime(2000, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)])
def test_dead_clocks(said: datetime) -> None:
    assert meter.clock_is_dead(said, NOW)


def test_what_takes_an_hour_is_not_delivered_in_a_second() -> None:
    power = Decimal(22_000)
    assert not repeats.could_deliver(Decimal(5000), NOW, NOW + timedelta(seconds=1), power)
    assert repeats.could_deliver(Decimal(5000), NOW, NOW + timedelta(minutes=20), power)
    assert not repeats.could_deliver(Decimal(1), NOW, NOW - timedelta(minutes=1), power)
