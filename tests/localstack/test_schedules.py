"""Our schedules as EventBridge rules: accepted, and really firing."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from functions.sweeps.handler import sweep_of
from infra.schedules import SCHEDULES, Schedule


@pytest.fixture
def events(aws: Callable[[str], Any]) -> Any:
    return aws("events")


@pytest.fixture
def inbox(aws: Callable[[str], Any]) -> Iterator[tuple[str, str]]:
    sqs = aws("sqs")
    url = sqs.create_queue(QueueName="scheduled")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    yield url, arn
    sqs.delete_queue(QueueUrl=url)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
def test_every_schedule_is_accepted_as_a_rule(events: Any, schedule: Schedule) -> None:
    events.put_rule(Name=schedule.rule_name, ScheduleExpression=schedule.expression, Description=schedule.description)
    rule = events.describe_rule(Name=schedule.rule_name)
    assert rule["ScheduleExpression"] == schedule.expression
    assert rule["Arn"].endswith(f":rule/{schedule.rule_name}")
    events.delete_rule(Name=schedule.rule_name)


@pytest.mark.timeout(180)
def test_a_one_minute_rule_fires_an_event_that_names_its_sweep(
    aws: Callable[[str], Any], events: Any, inbox: tuple[str, str]
) -> None:
    schedule = next(s for s in SCHEDULES if s.expression == "rate(1 minute)")
    url, arn = inbox
    events.put_rule(Name=schedule.rule_name, ScheduleExpression=schedule.expression, State="ENABLED")
    events.put_targets(Rule=schedule.rule_name, Targets=[{"Id": "inbox", "Arn": arn}])
    sqs, deadline = aws("sqs"), time.monotonic() + 150
    while not (found := sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5).get("Messages")):
        assert time.monotonic() < deadline, "the rule did not fire"
    event = json.loads(found[0]["Body"])
    assert event["detail-type"] == "Scheduled Event"
    assert event["source"] == "aws.events"
    assert sweep_of(event) == schedule.name
    events.remove_targets(Rule=schedule.rule_name, Ids=["inbox"])
    events.delete_rule(Name=schedule.rule_name)
