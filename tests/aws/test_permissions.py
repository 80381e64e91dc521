"""Least privilege: no action by wildcard, resources by name, alarms that somebody hears."""

from tests.aws.cloud import Cloud, listed, text_of

# What AWS gives no resource for; a policy can only say "*".
_WITHOUT_RESOURCE = {
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
    "ecr:GetAuthorizationToken",
    "elasticloadbalancing:DescribeTargetHealth",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}


def _allowed(cloud: Cloud) -> list[tuple[str, dict[str, object]]]:
    return [(where, s) for where, s in cloud.statements() if s["Effect"] == "Allow"]


def test_no_action_has_a_wildcard(cloud: Cloud) -> None:
    wild = [
        (where, action)
        for where, statement in _allowed(cloud)
        for action in listed(statement.get("Action", []))
        if "*" in action
    ]
    assert wild == []
    assert not [where for where, statement in _allowed(cloud) if "NotAction" in statement]


def test_every_resource_is_named_where_it_can_be(cloud: Cloud) -> None:
    unnamed = {
        action
        for where, statement in _allowed(cloud)
        if "*" in [resource for resource in listed(statement.get("Resource", [])) if isinstance(resource, str)]
        for action in listed(statement["Action"])
    }
    assert unnamed <= _WITHOUT_RESOURCE, unnamed - _WITHOUT_RESOURCE


def test_nobody_outside_the_account_is_let_in(cloud: Cloud) -> None:
    open_to_all = [
        where
        for where, statement in _allowed(cloud)
        if listed(statement.get("Principal", {})) == ["*"] or statement.get("Principal") == {"AWS": "*"}
        if "Condition" not in statement
    ]
    assert open_to_all == []


def test_text_messages_go_to_phones_only(cloud: Cloud) -> None:
    publishing = [
        (where, statement)
        for where, statement in _allowed(cloud)
        if "sns:Publish" in listed(statement.get("Action", [])) and where.startswith("Api/")
    ]
    assert [where.split("/")[1][:7] for where, _ in publishing] == ["apirole"]
    (_, statement) = publishing[0]
    assert ":sns:*:*:*" in text_of(statement["NotResource"])


def test_every_alarm_tells_the_operators(cloud: Cloud) -> None:
    alarms = cloud.properties("AWS::CloudWatch::Alarm")
    assert len(alarms) > 20
    for name, alarm in alarms.items():
        assert len(alarm["AlarmActions"]) == 1, name
        assert "Alarms" in text_of(alarm["AlarmActions"]), name
        assert alarm["OKActions"] == alarm["AlarmActions"], name
        assert alarm.get("ActionsEnabled", True) is True
        assert "docs/operations/runbooks/" in alarm["AlarmDescription"], name


def test_alarms_watch_functions_queues_and_rules_that_exist(cloud: Cloud) -> None:
    """Names, not references, tie the alarms to the resources: a renamed queue must not leave its alarm behind."""
    known = {p["FunctionName"] for p in cloud.functions().values()}
    known |= {p["QueueName"] for p in cloud.properties("AWS::SQS::Queue").values()}
    known |= {p["Name"] for p in cloud.properties("AWS::Events::Rule").values()}
    watched = {
        dimension["Value"]
        for alarm in cloud.properties("AWS::CloudWatch::Alarm").values()
        for metric in [alarm, *(m.get("MetricStat", {}).get("Metric", {}) for m in alarm.get("Metrics", []))]
        for dimension in metric.get("Dimensions", [])
        if dimension["Name"] in ("FunctionName", "QueueName", "RuleName")
    }
    assert watched
    assert watched <= known
