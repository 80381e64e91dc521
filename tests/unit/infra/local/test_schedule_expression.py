"""EventBridge's schedule expressions."""

from datetime import UTC, datetime, timedelta

import pytest

from infra.local.schedule_expression import ScheduleError, next_time
from infra.local.scheduler import scheduled_event
from infra.schedules import SCHEDULES

_SUNDAY = datetime(2026, 11, 22, 9, 59, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("rate(1 minute)", _SUNDAY + timedelta(minutes=1)),
        ("rate(2 minutes)", _SUNDAY + timedelta(minutes=2)),
        ("rate(1 hour)", _SUNDAY + timedelta(hours=1)),
        ("rate(7 days)", _SUNDAY + timedelta(days=7)),
        ("cron(0 10 * * ? *)", datetime(2026, 11, 22, 10, 0, tzinfo=UTC)),
        ("cron(59 9 * * ? *)", datetime(2026, 11, 23, 9, 59, tzinfo=UTC)),
        ("cron(0/15 * * * ? *)", datetime(2026, 11, 22, 10, 0, tzinfo=UTC)),
        ("cron(10-12,40 9 * * ? *)", datetime(2026, 11, 23, 9, 10, tzinfo=UTC)),
        ("cron(0 8 1 * ? *)", datetime(2026, 12, 1, 8, 0, tzinfo=UTC)),
        ("cron(0 8 ? * MON-FRI *)", datetime(2026, 11, 23, 8, 0, tzinfo=UTC)),
        ("cron(0 8 ? * 1 *)", datetime(2026, 11, 29, 8, 0, tzinfo=UTC)),
        ("cron(0 0 29 FEB ? *)", datetime(2028, 2, 29, 0, 0, tzinfo=UTC)),
        ("cron(0 0 1 1 ? 2020)", None),
    ],
)
def test_the_next_firing(expression: str, expected: datetime | None) -> None:
    assert next_time(expression)(_SUNDAY) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "rate(0 minutes)",
        "rate(1 minutes)",
        "rate(2 minute)",
        "rate(5 seconds)",
        "cron(0 8 * * *)",
        "cron(0 8 * * * *)",
        "cron(0 8 ? * ? *)",
        "cron(60 8 * * ? *)",
        "cron(0 24 * * ? *)",
        "cron(0 8 L * ? *)",
        "cron(0/0 8 * * ? *)",
        "every minute",
    ],
)
def test_what_eventbridge_refuses_is_refused(expression: str) -> None:
    with pytest.raises(ScheduleError):
        next_time(expression)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
def test_our_schedules_are_valid_and_reach_their_module(schedule: object) -> None:
    import importlib

    from functions.sweeps.handler import sweep_of
    from infra.schedules import Schedule

    assert isinstance(schedule, Schedule)
    assert next_time(schedule.expression)(_SUNDAY) is not None
    assert sweep_of(scheduled_event(schedule, _SUNDAY)) == schedule.name
    assert callable(importlib.import_module(schedule.module).run)


def test_the_event_is_eventbridges() -> None:
    event = scheduled_event(SCHEDULES[0], _SUNDAY)
    assert event["detail-type"] == "Scheduled Event"
    assert event["source"] == "aws.events"
    assert event["time"] == "2026-11-22T09:59:30Z"
    assert event["resources"] == ["arn:aws:events:eu-central-1:123456789012:rule/evpower-payment_checks"]
