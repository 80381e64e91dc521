"""The synthesised dashboard and alarms."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_sns as sns
from aws_cdk.assertions import Template

from infra import observability
from infra.schedules import SCHEDULES
from infra.stacks.monitored import MonitoredResources
from tests.fakes.monitored import monitored


def synthesised(resources: MonitoredResources) -> Template:
    stack = Stack(App(), "observability")
    observability.attach(stack, resources, sns.Topic(stack, "alarms"))
    return Template.from_stack(stack)


@pytest.fixture(scope="module")
def template() -> Template:
    return synthesised(monitored())


def alarms(template: Template) -> list[dict[str, Any]]:
    return [found["Properties"] for found in template.find_resources("AWS::CloudWatch::Alarm").values()]


def metrics_of(alarm: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "Metrics" not in alarm:
        yield alarm
    for entry in alarm.get("Metrics", ()):
        if "MetricStat" in entry:
            yield entry["MetricStat"]["Metric"]


def test_every_alarm_of_the_tables_is_there_and_tells_the_topic(template: Template) -> None:
    found = {alarm["AlarmName"]: alarm for alarm in alarms(template)}
    tables = observability.alarms(monitored())
    assert set(found) == {f"evpower-dev-{alarm.name}" for alarm in tables}
    assert len(found) == len(tables) > 60
    (topic,) = template.find_resources("AWS::SNS::Topic")
    for alarm in found.values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": topic}]
        assert ".md" in alarm["AlarmDescription"]


def test_alarms_keep_cloudwatchs_rules(template: Template) -> None:
    for alarm in alarms(template):
        period = alarm.get("Period") or next(m["MetricStat"]["Period"] for m in alarm["Metrics"] if "MetricStat" in m)
        assert period % 60 == 0
        longest = 7 * 86_400 if period >= 3600 else 86_400
        assert period * alarm["EvaluationPeriods"] <= longest, alarm["AlarmName"]
        assert alarm["DatapointsToAlarm"] <= alarm["EvaluationPeriods"]
        assert len(alarm["AlarmDescription"]) <= 1024
        assert sum("MetricStat" in entry for entry in alarm.get("Metrics", ())) <= 10


def test_what_must_always_be_there_alarms_when_it_is_missing(template: Template) -> None:
    breaching = {
        a["AlarmName"].removeprefix("evpower-dev-") for a in alarms(template) if a["TreatMissingData"] == "breaching"
    }
    sweeps = {name for name in breaching if name.startswith("sweep-not-running-")}
    assert len(sweeps) == len(SCHEDULES)
    assert breaching - sweeps == {"tasks-below-minimum", "socket-tier-silent"}


def test_own_metrics_are_in_the_stages_namespace(template: Template) -> None:
    spaces = {metric["Namespace"] for alarm in alarms(template) for metric in metrics_of(alarm)}
    assert {space for space in spaces if not space.startswith("AWS/")} == {"EvPower/dev"}


def test_the_dashboard_is_one_and_small_enough(template: Template) -> None:
    (board,) = template.find_resources("AWS::CloudWatch::Dashboard").values()
    body = board["Properties"]["DashboardBody"]
    text = body if isinstance(body, str) else "".join(p if isinstance(p, str) else "token" for p in body["Fn::Join"][1])
    widgets = json.loads(text)["widgets"]
    assert widgets[0]["properties"]["markdown"] == "## Are drivers charging? Is the money right?"
    assert len(widgets) <= 500
    for widget in widgets:
        assert widget["x"] + widget["width"] <= 24


def test_a_deployment_without_database_cache_and_containers_has_the_rest() -> None:
    whole = monitored()
    template = synthesised(replace(whole, database=None, cache=None, socket_tier=None))
    names = {alarm["AlarmName"] for alarm in alarms(template)}
    assert "evpower-dev-ledger-difference" in names
    assert not any(word in name for name in names for word in ("cache", "database-cpu", "load-balancer", "tasks"))
