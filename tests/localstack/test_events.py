"""What happens without a caller: rules that fire, workers that are fed, messages that nobody can work on, alarms."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from infra.local.cloud_system import CloudSystem
from infra.local.demo_data import CLIENT_ID
from infra.queues import QUEUES

PUSH = next(queue for queue in QUEUES if queue.name == "push")


async def until(ask: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    """The first true answer; ``ask`` may block."""
    deadline = time.monotonic() + timeout_s
    while not (answer := await asyncio.to_thread(ask)):
        assert time.monotonic() < deadline, f"{what}: not so after {timeout_s:.0f} s"
        await asyncio.sleep(0.2)
    return answer


@dataclass
class Phone:
    """A phone whose notifications come from rows of the outbox."""

    cloud: CloudSystem
    token: str

    def outbox_row(self, *, due_since: str = "-1 hour") -> int:
        """A notification that no message in the queue speaks of yet; the sweep leaves it alone until it is due."""
        payload = json.dumps({"session_id": secrets.token_hex(4), "energy_kwh": "1.000", "amount": "10.00"})
        with psycopg.connect(self.cloud.database_url) as conn:
            row = conn.execute(
                "INSERT INTO push_outbox (user_id, event, payload, dedup_key, next_attempt_at)"
                " VALUES (%s, 'charging_completed', %s, %s, now() - %s::interval) RETURNING id",
                (CLIENT_ID, payload, secrets.token_hex(8), due_since),
            ).fetchone()
        assert row is not None
        return int(row[0])

    def state(self, outbox_id: int) -> tuple[str, int]:
        with psycopg.connect(self.cloud.database_url) as conn:
            row = conn.execute("SELECT state, attempts FROM push_outbox WHERE id = %s", (outbox_id,)).fetchone()
        assert row is not None
        return str(row[0]), int(row[1])

    @property
    def shown(self) -> int:
        return len(self.cloud.push.shown(self.token))


@pytest_asyncio.fixture(loop_scope="session")
async def phone(cloud: CloudSystem) -> AsyncIterator[Phone]:
    token = f"phone:{secrets.token_urlsafe(32)}"
    with psycopg.connect(cloud.database_url) as conn:
        conn.execute(
            "INSERT INTO devices (client_id, fcm_token, platform, app_version) VALUES (%s, %s, 'android', '1.1.4')",
            (CLIENT_ID, token),
        )
    yield Phone(cloud, token)
    with psycopg.connect(cloud.database_url) as conn:
        conn.execute("DELETE FROM devices WHERE fcm_token = %s", (token,))


def log_events(cloud: CloudSystem, function: str, text: str) -> list[dict[str, Any]]:
    """JSON lines of a function's log with ``text`` in them, oldest first."""
    logs = cloud.client("logs")
    try:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{cloud.name(function)}")
        lines = [event["message"] for page in pages for event in page["events"]]
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [json.loads(line) for line in lines if text in line and line.startswith("{")]


def waiting(cloud: CloudSystem, queue: str) -> int:
    """Messages in a queue, those in work included."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = cloud.client("sqs").get_queue_attributes(QueueUrl=cloud.queue_url(queue), AttributeNames=names)
    return sum(int(value) for value in answer["Attributes"].values())


@asynccontextmanager
async def quick_retries(cloud: CloudSystem, queue: str) -> AsyncIterator[None]:
    """A failed message comes again after two seconds instead of minutes; nothing else is changed."""
    sqs, url = cloud.client("sqs"), cloud.queue_url(queue)
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "2"})
    try:
        yield
    finally:
        sqs.set_queue_attributes(QueueUrl=url, Attributes=before)


@asynccontextmanager
async def paused_source(cloud: CloudSystem, function: str) -> AsyncIterator[None]:
    """The worker gets nothing meanwhile, so that what is sent comes to it as one batch afterwards."""
    client = cloud.client("lambda")
    (source,) = client.list_event_source_mappings(FunctionName=cloud.name(function))["EventSourceMappings"]

    async def switch(*, enabled: bool) -> None:
        client.update_event_source_mapping(UUID=source["UUID"], Enabled=enabled)
        wanted = "Enabled" if enabled else "Disabled"
        await until(lambda: client.get_event_source_mapping(UUID=source["UUID"])["State"] == wanted, wanted)

    await switch(enabled=False)
    try:
        yield
    finally:
        await switch(enabled=True)


@pytest.mark.timeout(240)
async def test_a_rule_fires_by_itself_and_its_sweep_repairs_what_was_lost(cloud: CloudSystem, phone: Phone) -> None:
    """A notification whose message was lost: rule -> sweeps -> SQS -> push -> the phone shows it."""
    outbox_id = phone.outbox_row(due_since="2 minutes")
    await until(lambda: phone.state(outbox_id)[0] == "done", "delivered by the sweep", 150)
    assert phone.shown == 1
    runs = await until(lambda: log_events(cloud, "sweeps", '"sweep done"'), "a line of the sweep")
    assert "push_outbox" in {run["sweep"] for run in runs}


@pytest.mark.timeout(240)
async def test_every_sweep_of_a_minute_runs_without_a_fault(cloud: CloudSystem) -> None:
    wanted = {"payment_checks", "hanging_sessions", "command_redelivery", "push_outbox"}

    def have_run() -> bool:
        return wanted <= {run["sweep"] for run in log_events(cloud, "sweeps", '"sweep done"')}

    await until(have_run, "every sweep", 150)
    assert log_events(cloud, "sweeps", '"sweep failed"') == []


@pytest.mark.timeout(240)
async def test_one_bad_message_of_a_batch_is_retried_alone_and_ends_in_the_dead_letter_queue(
    cloud: CloudSystem, phone: Phone
) -> None:
    sqs, url = cloud.client("sqs"), cloud.queue_url("push")
    await until(lambda: waiting(cloud, "push") == 0, "an empty queue")
    sqs.purge_queue(QueueUrl=cloud.queue_url(PUSH.dead_letter_name))
    rows = [phone.outbox_row() for _ in range(3)]
    bodies = [json.dumps({"outbox_id": row}) for row in rows]
    bodies.insert(1, "not one of ours")
    async with quick_retries(cloud, "push"):
        async with paused_source(cloud, "push"):
            entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
            sent = sqs.send_message_batch(QueueUrl=url, Entries=entries)["Successful"]
            bad = next(entry["MessageId"] for entry in sent if entry["Id"] == "1")
        await until(lambda: waiting(cloud, PUSH.dead_letter_name) == 1, "the bad message is put aside")
    assert [phone.state(row) for row in rows] == [("done", 1)] * 3, "each good one was worked on once"
    assert phone.shown == 3
    assert waiting(cloud, "push") == 0
    faults = await until(
        lambda: [event for event in log_events(cloud, "push", '"push failed"') if event["message_id"] == bad] or None,
        "lines about the bad message",
    )
    assert len(faults) == PUSH.max_receive_count
    requests = [event["function_request_id"] for event in faults]
    assert len(set(requests)) == PUSH.max_receive_count, "each time in an invocation of its own"
    good = {event["function_request_id"] for event in log_events(cloud, "push", '"outcome":"done"')}
    assert good & set(requests) == {requests[0]}, "the good ones were with it the first time only"


@pytest.mark.timeout(240)
async def test_a_dead_letter_raises_the_alarm_and_a_redrive_ends_it(cloud: CloudSystem, phone: Phone) -> None:
    """SQS metric -> CloudWatch alarm -> SNS -> an operator's subscription; then StartMessageMoveTask ends it."""
    sqs, dead = cloud.client("sqs"), cloud.queue_url(PUSH.dead_letter_name)
    sqs.purge_queue(QueueUrl=dead)
    async with alarm_inbox(cloud, "dead-letters-push") as news:
        row = phone.outbox_row()
        async with paused_source(cloud, "push"):
            url = cloud.queue_url("push")
            sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"outbox_id": row}))

            def died_too_often() -> bool:
                """A worker that dies each time: takes the message and never answers."""
                sqs.receive_message(QueueUrl=url, VisibilityTimeout=0, WaitTimeSeconds=1)
                return waiting(cloud, PUSH.dead_letter_name) == 1

            await until(died_too_often, "a dead letter")
        alarm = await until(lambda: news("ALARM"), "the alarm", 90)
        assert alarm["AlarmName"] == cloud.name("dead-letters-push")
        assert "docs/operations/runbooks/dead-letters.md" in alarm["AlarmDescription"]
        assert phone.shown == 0
        arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sqs.start_message_move_task(SourceArn=arn)
        await until(lambda: phone.state(row)[0] == "done", "delivered after the redrive")
        assert phone.shown == 1
        await until(lambda: waiting(cloud, PUSH.dead_letter_name) == 0, "an empty dead-letter queue")
        await until(lambda: news("OK"), "the end of the alarm", 90)


@asynccontextmanager
async def alarm_inbox(cloud: CloudSystem, short: str) -> AsyncIterator[Callable[[str], dict[str, Any] | None]]:
    """A subscription to the alarms' topic, and one alarm in the plain form that LocalStack can judge.

    The same metric, threshold and actions; it looks every ten seconds instead of every five minutes.
    """
    sqs, sns, cloudwatch = cloud.client("sqs"), cloud.client("sns"), cloud.client("cloudwatch")
    (topic,) = cloud.ids("AWS::SNS::Topic")
    url = sqs.create_queue(QueueName="operators")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    subscription = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True)
    (deployed,) = cloudwatch.describe_alarms(AlarmNames=[cloud.name(short)])["MetricAlarms"]
    definition = {key: value for key, value in deployed.items() if key in _ALARM_KEYS}
    (watched,) = deployed["Metrics"]
    plain = {**watched["MetricStat"]["Metric"], "Statistic": watched["MetricStat"]["Stat"], "Period": 10}
    cloudwatch.put_metric_alarm(**definition, **plain)
    received: list[dict[str, Any]] = []

    def news(state: str) -> dict[str, Any] | None:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            received.append(json.loads(json.loads(message["Body"])["Message"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        mine = [one for one in received if one["AlarmName"] == cloud.name(short)]
        return next((one for one in mine if one["NewStateValue"] == state), None)

    try:
        yield news
    finally:
        cloudwatch.put_metric_alarm(**definition, Metrics=deployed["Metrics"])
        sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
        sqs.delete_queue(QueueUrl=url)


_ALARM_KEYS = frozenset(
    {
        "AlarmName",
        "AlarmDescription",
        "ActionsEnabled",
        "OKActions",
        "AlarmActions",
        "EvaluationPeriods",
        "DatapointsToAlarm",
        "Threshold",
        "ComparisonOperator",
        "TreatMissingData",
    }
)
