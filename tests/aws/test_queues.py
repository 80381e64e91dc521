"""Queues, their dead letters and what they feed."""

from typing import Any

from infra.functions import FUNCTIONS
from infra.queues import QUEUES
from tests.aws.cloud import Cloud, text_of
from tests.aws.conftest import Synthesise

VISIBILITY_FACTOR = 6  # AWS Lambda Developer Guide, "Configuring a queue to use with Lambda"


def _queues(cloud: Cloud) -> dict[str, Any]:
    return {q["QueueName"].split("-", 2)[2]: q for q in cloud.properties("AWS::SQS::Queue", "Queues").values()}


def test_every_queue_of_the_definition_has_its_dead_letter_queue(cloud: Cloud) -> None:
    queues = _queues(cloud)
    assert set(queues) == {name for q in QUEUES for name in (q.name, q.dead_letter_name)}
    for definition in QUEUES:
        queue = queues[definition.name]
        assert queue["RedrivePolicy"]["maxReceiveCount"] == definition.max_receive_count
        assert queue["VisibilityTimeout"] == definition.visibility_timeout_s
        assert bool(queue.get("FifoQueue")) is definition.fifo
        dead = queues[definition.dead_letter_name]
        assert bool(dead.get("FifoQueue")) is definition.fifo
        assert dead["MessageRetentionPeriod"] > queue["MessageRetentionPeriod"]
        assert dead["RedriveAllowPolicy"]["redrivePermission"] == "byQueue"
        (source,) = dead["RedriveAllowPolicy"]["sourceQueueArns"]
        assert text_of(source).endswith(f'{queue["QueueName"]}"]]}}')


def test_queues_are_encrypted_and_speak_tls_only(cloud: Cloud) -> None:
    queues = _queues(cloud)
    assert all(queue["SqsManagedSseEnabled"] is True for queue in queues.values())
    refusing = [
        where
        for where, statement in cloud.statements()
        if where.startswith("Queues/")
        and statement["Effect"] == "Deny"
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    ]
    assert len(refusing) == len(queues)


def test_a_message_stays_hidden_longer_than_its_function_may_take(cloud: Cloud) -> None:
    for definition in QUEUES:
        if definition.function is not None:
            timeout = FUNCTIONS[definition.function].timeout_s
            assert definition.visibility_timeout_s >= VISIBILITY_FACTOR * timeout, definition.name
            assert cloud.functions()[definition.function]["Timeout"] == timeout


def test_event_sources_report_single_failures(cloud: Cloud) -> None:
    sources = list(cloud.properties("AWS::Lambda::EventSourceMapping").values())
    assert len(sources) == len([q for q in QUEUES if q.function])
    for source in sources:
        assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert source["ScalingConfig"]["MaximumConcurrency"] <= 10


def test_the_queue_s_pollers_do_not_outrun_the_function(cloud: Cloud) -> None:
    """Above the reserved concurrency Lambda throttles, and throttled messages use up their receives."""
    functions = cloud.functions()
    for name, spec in FUNCTIONS.items():
        if spec.event_source_concurrency is not None:
            assert spec.event_source_concurrency <= functions[name]["ReservedConcurrentExecutions"]


def test_a_check_may_come_back_to_its_function_as_often_as_the_product_wants(cloud: Cloud) -> None:
    """Lambda ends what looks like an endless loop after about sixteen rounds; an open invoice has forty."""
    assert cloud.functions()["payment_checks"]["RecursiveLoop"] == "Allow"
    assert "RecursiveLoop" not in cloud.functions()["api"]


def test_commands_go_fast_for_many_stations(synthesise: Synthesise) -> None:
    commands = _queues(synthesise("prod"))["commands.fifo"]
    assert commands["DeduplicationScope"] == "messageGroup"
    assert commands["FifoThroughputLimit"] == "perMessageGroupId"
