"""How many clients a run of the audit looks at, so that all have their turn within a day."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from evpower.db import ledger_audit as questions
from infra.schedules import SCHEDULES

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def wanted(known_clients: float) -> int:
    return questions.Progress(0, "", NOW, 0, NOW, [], [], 0, NOW, known_clients).clients_wanted


@given(st.floats(-1, 360_000))
def test_up_to_a_third_of_a_million_clients_each_run_is_the_same(clients: float) -> None:
    assert wanted(clients) == questions.CLIENTS_PER_RUN


@given(st.integers(0, 10**9))
def test_a_lap_is_over_within_its_runs(clients: int) -> None:
    assert wanted(clients) * questions.RUNS_PER_LAP >= clients


def test_the_schedule_is_what_a_lap_counts_with() -> None:
    (schedule,) = (schedule for schedule in SCHEDULES if schedule.name == "ledger_audit")
    assert schedule.expression == "rate(1 minute)"
    assert timedelta(minutes=questions.RUNS_PER_LAP) < questions.LAP_AT_MOST
