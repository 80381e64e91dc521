"""Dashboard and alarms in the real templates: they look where the product writes."""

import json
from collections.abc import Iterator
from typing import Any

from tests.aws.cloud import Cloud, text_of


def metrics_of(cloud: Cloud) -> Iterator[dict[str, Any]]:
    for alarm in cloud.properties("AWS::CloudWatch::Alarm").values():
        if "Namespace" in alarm:
            yield alarm
        for entry in alarm.get("Metrics", ()):
            if "MetricStat" in entry:
                yield entry["MetricStat"]["Metric"]


def test_alarms_look_into_the_namespace_that_the_parts_write_to(cloud: Cloud) -> None:
    watched = {metric["Namespace"] for metric in metrics_of(cloud)}
    (own,) = {name for name in watched if not name.startswith("AWS/")}
    for name, function in cloud.functions().items():
        if name != "migrate":
            assert function["Environment"]["Variables"]["POWERTOOLS_METRICS_NAMESPACE"] == own, name
            assert function["TracingConfig"] == {"Mode": "Active"}, name
    task = cloud.one("AWS::ECS::TaskDefinition")
    for container in task["ContainerDefinitions"]:
        environment = {pair["Name"]: pair["Value"] for pair in container["Environment"]}
        assert environment["POWERTOOLS_METRICS_NAMESPACE"] == own
        assert container["LogConfiguration"]["LogDriver"] == "awslogs"
        # A multi-line pattern would join our lines, and CloudWatch reads no metric from what it cannot parse.
        assert (
            not {"awslogs-datetime-format", "awslogs-multiline-pattern"}
            & container["LogConfiguration"]["Options"].keys()
        )


def test_the_webhooks_alarm_has_its_metrics(cloud: Cloud) -> None:
    """API Gateway writes metrics by resource and method only where a stage's method settings ask for them."""
    by_resource = {
        next(d["Value"] for d in metric["Dimensions"] if d["Name"] == "Resource")
        for metric in metrics_of(cloud)
        if metric["Namespace"] == "AWS/ApiGateway" and any(d["Name"] == "Resource" for d in metric["Dimensions"])
    }
    assert by_resource == {"/api/v1/payment/webhook", "/api/payment/webhook"}
    settings = {
        (setting["ResourcePath"], setting["HttpMethod"]): setting
        for stage in cloud.properties("AWS::ApiGateway::Stage").values()
        for setting in stage["MethodSettings"]
    }
    for resource in by_resource:
        found = settings.get((resource, "POST")) or settings[("/*", "*")]
        assert found["MetricsEnabled"] is True, resource


def test_there_is_one_dashboard_with_the_products_questions_first(cloud: Cloud) -> None:
    board = cloud.one("AWS::CloudWatch::Dashboard")
    body = text_of(board["DashboardBody"])
    assert "Are drivers charging? Is the money right?" in body
    assert len(json.dumps(body)) < 200_000
