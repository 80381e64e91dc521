"""Every resource of every stack is there: its own service says so, and says it as the definitions want it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from infra.functions import FUNCTIONS, MIGRATE
from infra.gateway_responses import GATEWAY_RESPONSES
from infra.local.cloud_system import STAGE, CloudSystem
from infra.paths import WEBHOOK_PATHS
from infra.queues import BATCH_SIZE, DEAD_LETTER_RETENTION_S, QUEUES
from infra.schedules import SCHEDULES
from infra.secrets import CACHE, DATABASE_LOGINS, DATABASE_OWNER, SECRETS
from tests.localstack.probes import NOT_ON_LOCALSTACK, PROBES, Found

Client = Callable[[str], Any]
ALL_FUNCTIONS = (*FUNCTIONS.values(), MIGRATE)


def resources(cloud: CloudSystem) -> list[tuple[str, str, str, Found]]:
    """Stack, logical id, type and what is known of each resource of the deployment."""
    found = []
    for stack, template in cloud.templates.items():
        deployed = cloud.stacks[stack].resources
        siblings = {logical: physical for logical, (_, physical) in deployed.items()}
        for logical, resource in template["Resources"].items():
            known = Found(cloud.client, siblings.get(logical, ""), resource.get("Properties", {}), siblings)
            found.append((stack, logical, resource["Type"], known))
    return found


async def test_its_own_service_knows_every_resource(cloud: CloudSystem) -> None:
    missing = []
    everything = resources(cloud)
    for stack, logical, kind, found in everything:
        if kind in NOT_ON_LOCALSTACK:
            continue
        try:
            is_there = PROBES[kind](found)
        except Exception as error:
            is_there = None
            logical = f"{logical}: {error!r}"
        if not is_there:
            missing.append(f"{stack} {kind} {logical}")
    assert missing == []
    assert len(everything) > 150
    assert {kind for _, _, kind, _ in everything} >= NOT_ON_LOCALSTACK, "an exception that is no longer needed"


async def test_what_localstack_leaves_out_is_still_left_out(cloud: CloudSystem) -> None:
    """The template has all of it (tests/aws) and CloudFormation reports success. The day one of these fails, this can
    be verified here: move it out of docs/operations/verification.md."""
    functions, logs = cloud.client("lambda"), cloud.client("logs")
    assert "ReservedConcurrentExecutions" not in functions.get_function_concurrency(FunctionName=cloud.name("api"))
    assert all("retentionInDays" not in group for group in logs.describe_log_groups()["logGroups"])
    assert _stage(cloud)["methodSettings"] == {}, "throttling"
    assert cloud.client("cloudwatch").list_dashboards()["DashboardEntries"] == []


def _stage(cloud: CloudSystem) -> dict[str, Any]:
    (api,) = cloud.ids("AWS::ApiGateway::RestApi")
    stage: dict[str, Any] = cloud.client("apigateway").get_stage(restApiId=api, stageName=STAGE)
    return stage


@pytest.mark.parametrize("spec", ALL_FUNCTIONS, ids=lambda spec: spec.name)
async def test_a_function_is_deployed_as_defined(cloud: CloudSystem, spec: Any) -> None:
    answer = cloud.client("lambda").get_function(FunctionName=cloud.name(spec.name))
    found = answer["Configuration"]
    assert (found["Runtime"], found["Architectures"], found["Handler"]) == ("python3.13", ["arm64"], spec.handler)
    assert (found["Timeout"], found["MemorySize"]) == (spec.timeout_s, spec.memory_mb)
    assert found["TracingConfig"] == {"Mode": "Active"}
    assert len(found["Layers"]) == 2
    variables = found["Environment"]["Variables"]
    assert variables["SECRET_IDS"].startswith("evpower/dev/")
    if spec is not MIGRATE:
        assert variables["DATABASE_ROLE"] == spec.database_role
    secret = [value for spec in SECRETS if spec.generated for value in cloud.secret(spec.name).values()]
    assert len(secret) == 4
    assert not any(value in json.dumps(variables) for value in secret)
    group = cloud.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{cloud.name(spec.name)}")
    assert len(group["logGroups"]) == 1


async def test_migrations_ran_before_the_other_functions_came(cloud: CloudSystem) -> None:
    order = list(cloud.stacks)
    for later in ("Api", "Sweeps"):
        assert order.index("EvPower-dev-Migrations") < order.index(f"EvPower-dev-{later}")
    assert cloud.migrated["applied"][:2] == ["0000", "0001"]
    assert cloud.invoke(MIGRATE.name)["applied"] == [], "a second call finds nothing to do"


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)
async def test_a_queue_has_its_dead_letter_queue_and_lets_nobody_in_without_tls(cloud: CloudSystem, queue: Any) -> None:
    sqs = cloud.client("sqs")

    def attributes(name: str) -> dict[str, str]:
        answer = sqs.get_queue_attributes(QueueUrl=cloud.queue_url(name), AttributeNames=["All"])
        found: dict[str, str] = answer["Attributes"]
        return found

    main, dead = attributes(queue.name), attributes(queue.dead_letter_name)
    redrive = json.loads(main["RedrivePolicy"])
    assert redrive["deadLetterTargetArn"] == dead["QueueArn"]
    assert int(redrive["maxReceiveCount"]) == queue.max_receive_count
    assert int(main["VisibilityTimeout"]) == queue.visibility_timeout_s
    assert int(dead["MessageRetentionPeriod"]) == DEAD_LETTER_RETENTION_S
    assert int(main["MessageRetentionPeriod"]) < DEAD_LETTER_RETENTION_S
    assert json.loads(dead["RedriveAllowPolicy"])["sourceQueueArns"] == [main["QueueArn"]]
    for one in (main, dead):
        assert one["SqsManagedSseEnabled"] == "true"
        assert one.get("FifoQueue", "false") == str(queue.fifo).lower()
        (statement,) = json.loads(one["Policy"])["Statement"]
        assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


@pytest.mark.parametrize("queue", [queue for queue in QUEUES if queue.function], ids=lambda queue: queue.name)
async def test_a_worker_is_fed_in_batches_and_reports_what_failed(cloud: CloudSystem, queue: Any) -> None:
    function = cloud.name(queue.function)
    (source,) = cloud.client("lambda").list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
    assert source["State"] == "Enabled"
    assert source["EventSourceArn"].endswith(f":{cloud.name(queue.name)}")
    assert source["BatchSize"] == BATCH_SIZE
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["ScalingConfig"] == {"MaximumConcurrency": FUNCTIONS[queue.function].event_source_concurrency}


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
async def test_a_rule_calls_the_sweeps(cloud: CloudSystem, schedule: Any) -> None:
    events, name = cloud.client("events"), cloud.name(schedule.name)
    rule = events.describe_rule(Name=name)
    assert (rule["ScheduleExpression"], rule["State"]) == (schedule.expression, "ENABLED")
    (target,) = events.list_targets_by_rule(Rule=name)["Targets"]
    assert target["Arn"].endswith(f":function:{cloud.name('sweeps')}")
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 300, "MaximumRetryAttempts": 2}
    policy = json.loads(cloud.client("lambda").get_policy(FunctionName=cloud.name("sweeps"))["Policy"])
    allowed = {statement["Condition"]["ArnLike"]["AWS:SourceArn"] for statement in policy["Statement"]}
    assert rule["Arn"] in allowed


async def test_the_gateway_gives_callbacks_to_their_own_function_and_the_rest_to_the_api(cloud: CloudSystem) -> None:
    gateway = cloud.client("apigateway")
    (api,) = cloud.ids("AWS::ApiGateway::RestApi")
    assert gateway.get_rest_api(restApiId=api)["binaryMediaTypes"] == ["*/*"]
    pages = gateway.get_paginator("get_resources").paginate(restApiId=api)
    found = {
        (resource["path"], verb): gateway.get_integration(restApiId=api, resourceId=resource["id"], httpMethod=verb)
        for page in pages
        for resource in page["items"]
        for verb in resource.get("resourceMethods", {})
    }
    for (path, verb), integration in found.items():
        function = "payment_webhook" if (path, verb) in {(one, "POST") for one in WEBHOOK_PATHS} else "api"
        assert integration["type"] == "AWS_PROXY", path
        assert f":function:{cloud.name(function)}/invocations" in integration["uri"], (path, verb)
    assert {(path, "POST") for path in WEBHOOK_PATHS} <= set(found)
    assert ("/{proxy+}", "ANY") in found


async def test_the_stage_is_traced(cloud: CloudSystem) -> None:
    assert _stage(cloud)["tracingEnabled"] is True


@pytest.mark.parametrize("kind", GATEWAY_RESPONSES)
async def test_the_gateways_own_answers_carry_the_envelope(cloud: CloudSystem, kind: str) -> None:
    (api,) = cloud.ids("AWS::ApiGateway::RestApi")
    found = cloud.client("apigateway").get_gateway_response(restApiId=api, responseType=kind)
    wanted = GATEWAY_RESPONSES[kind]
    assert found["statusCode"] == str(wanted.status)
    assert found["responseTemplates"] == {"application/json": wanted.body}
    headers = {f"gatewayresponse.header.{name}": f"'{value}'" for name, value in wanted.headers.items()}
    assert found["responseParameters"] == headers


async def test_secrets_are_made_and_the_generated_ones_have_values(cloud: CloudSystem) -> None:
    pages = cloud.client("secretsmanager").get_paginator("list_secrets").paginate()
    there = {secret["Name"] for page in pages for secret in page["SecretList"]}
    specs = (*SECRETS, CACHE)
    names = {spec.name for spec in specs} | set(DATABASE_LOGINS.values()) | {DATABASE_OWNER}
    assert there == {f"evpower/dev/{name}" for name in names}
    for spec in specs:
        if spec.generated and spec is not CACHE:
            assert len(cloud.secret(spec.name)[spec.generated]) == 48


async def test_every_alarm_tells_the_one_topic(cloud: CloudSystem) -> None:
    (topic,) = cloud.ids("AWS::SNS::Topic")
    pages = cloud.client("cloudwatch").get_paginator("describe_alarms").paginate()
    alarms = {alarm["AlarmName"]: alarm for page in pages for alarm in page["MetricAlarms"]}
    wanted = {
        resource["Properties"]["AlarmName"]: resource["Properties"]
        for template in cloud.templates.values()
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }
    assert len(wanted) > 50
    assert set(alarms) == set(wanted)
    for name, properties in wanted.items():
        alarm = alarms[name]
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic], name
        assert alarm["ActionsEnabled"] is True
        for key in ("Threshold", "EvaluationPeriods", "ComparisonOperator", "TreatMissingData"):
            assert alarm[key] == properties[key], (name, key)
        assert "docs/operations/runbooks/" in alarm["AlarmDescription"]
