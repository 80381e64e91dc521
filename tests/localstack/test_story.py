"""The whole story through the deployed product: API Gateway, Lambda, SQS, socket tier, charger, and the money."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from infra.local.cloud_system import CloudSystem
from infra.local.demo.driver import Driver
from infra.local.demo.login import sign_in
from infra.local.demo.phone import Phone
from infra.local.demo.story import Story
from infra.local.demo.transcript import Transcript
from infra.local.demo_data import CLIENT_ID, CLIENT_PHONE, SIMULATED_STATIONS
from tests.localstack.test_events import log_events, until, waiting


async def test_the_story_is_told_and_every_som_adds_up(cloud: CloudSystem) -> None:
    login = await sign_in(cloud.base_url, cloud.sms.outbox_url, CLIENT_PHONE)
    async with Driver(cloud.base_url, login["access_token"], timeout_s=30) as driver:
        first, second = SIMULATED_STATIONS
        story = Story(driver, (first, second), Transcript(), phone=Phone(cloud.push))
        assert await story.tell() == []
    await _money_came_by_the_callback(cloud)
    await _commands_went_through_the_queue(cloud)


def _rows(cloud: CloudSystem, query: str, *parameters: object) -> list[dict[str, Any]]:
    with psycopg.connect(cloud.database_url, row_factory=dict_row) as conn:
        return conn.execute(query.encode(), parameters).fetchall()


async def _money_came_by_the_callback(cloud: CloudSystem) -> None:
    """Provider -> gateway -> payment_webhook -> inbox and queue -> payment_checks -> provider -> ledger."""
    (stored,) = _rows(cloud, "SELECT * FROM payment_inbox")
    assert (stored["state"], stored["provider"]) == ("processed", "ODENGI")
    received = await until(lambda: log_events(cloud, "payment_webhook", '"inbox_id"'), "a line of the webhook")
    checks = await until(
        lambda: [line for line in log_events(cloud, "payment_checks", '"payment check"') if line.get("inbox_id")],
        "a check for the stored callback",
    )
    assert {line["inbox_id"] for line in (*received, *checks)} == {stored["id"]}
    assert [check["outcome"] for check in checks] == ["processed"]
    credits = _rows(
        cloud,
        "SELECT * FROM payment_transactions_odengi WHERE client_id = %s AND transaction_type = 'balance_topup'",
        CLIENT_ID,
    )
    assert [float(row["amount"]) for row in credits] == [500.0]


async def _commands_went_through_the_queue(cloud: CloudSystem) -> None:
    """Both starts and the driver's stop; the other stop is the socket tier's own."""
    commands = _rows(cloud, "SELECT action, status FROM station_commands ORDER BY created_at")
    remote = [(row["action"], row["status"]) for row in commands if row["action"].startswith("Remote")]
    start, stop = ("RemoteStartTransaction", "accepted"), ("RemoteStopTransaction", "accepted")
    assert remote == [start, stop, start, stop]
    await until(lambda: waiting(cloud, "commands.fifo") == 0, "an empty queue of commands")
    assert waiting(cloud, "commands-dlq.fifo") == 0
    await until(lambda: _deleted(cloud, "commands.fifo") == 3, "three commands taken from the queue")


def _deleted(cloud: CloudSystem, queue: str) -> int:
    """Messages that a consumer has taken and confirmed, by the queue's own metric."""
    now = datetime.now(UTC)
    answer = cloud.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName="NumberOfMessagesDeleted",
        Dimensions=[{"Name": "QueueName", "Value": cloud.name(queue)}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
        Period=3600,
        Statistics=["Sum"],
    )
    return round(sum(point["Sum"] for point in answer["Datapoints"]))
