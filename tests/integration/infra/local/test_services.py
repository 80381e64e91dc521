"""The embedded services do what the rest of the tests builds on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from infra.local.processes import LocalSystemError, accepts_connections, free_port, require_port
from infra.local.queues import SqsEndpoint
from infra.local.services import Postgres, Valkey, ValkeyCluster
from infra.queues import QUEUES


def test_each_test_gets_a_migrated_database_of_its_own(database_url: str) -> None:
    with psycopg.connect(database_url) as conn:
        row = conn.execute("SELECT count(*) FROM schema_migrations").fetchone()
    assert row is not None
    assert row[0] > 0


def test_postgres_keeps_its_data_over_a_restart(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "pg").start()
    try:
        with psycopg.connect(server.dsn(), autocommit=True) as conn:
            conn.execute("CREATE TABLE kept (n int)")
    finally:
        server.stop()
    again = Postgres(tmp_path / "pg").start()
    try:
        with psycopg.connect(again.dsn()) as conn:
            conn.execute("SELECT n FROM kept")
    finally:
        again.stop()


def test_valkey_cluster_serves_all_slots(redis_cluster_url: str) -> None:
    from redis.cluster import RedisCluster

    with RedisCluster.from_url(redis_cluster_url) as client:
        for number in range(50):
            client.set(f"key:{number}", number)
        assert [int(client.get(f"key:{n}")) for n in range(50)] == list(range(50))  # type: ignore[arg-type]
        assert len(client.get_primaries()) == 3


def test_queues_have_dead_letter_queues_and_keep_group_order(sqs: SqsEndpoint) -> None:
    client = sqs.client()
    url = sqs.urls["commands.fifo"]
    for number in range(3):
        client.send_message(
            QueueUrl=url, MessageBody=str(number), MessageGroupId="station", MessageDeduplicationId=str(number % 2)
        )
    received = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert [message["Body"] for message in received] == ["0", "1"]
    for queue in QUEUES:
        attributes = client.get_queue_attributes(QueueUrl=sqs.urls[queue.name], AttributeNames=["All"])["Attributes"]
        assert queue.dead_letter_name in attributes["RedrivePolicy"]


def test_children_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from infra.local.services import Postgres, Valkey\n"
        "pg, kv = Postgres(durable=False).start(), Valkey().start()\n"
        "print(pg.port, kv.port, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "."}
    )
    assert parent.stdout is not None
    ports = [int(word) for word in parent.stdout.readline().split()]
    assert all(accepts_connections(port) for port in ports)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 20
    while any(accepts_connections(port) for port in ports):
        assert time.monotonic() < deadline, "a service outlived its parent"
        time.sleep(0.05)


def test_a_taken_port_is_named_in_a_plain_sentence() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LocalSystemError, match=rf"port {port} \(gateway\) is taken"):
            require_port(port, "gateway")
    require_port(free_port(), "gateway")
    for number in (-1, 0, 65_536):
        with pytest.raises(LocalSystemError, match=f"{number} is no port for the gateway"):
            require_port(number, "gateway")


def test_a_service_that_cannot_start_shows_its_log() -> None:
    first = Valkey().start()
    try:
        second = Valkey(port=first.port)
        second._answers = lambda: False  # type: ignore[method-assign]
        with pytest.raises(LocalSystemError, match="bind"):
            second.start()
    finally:
        first.stop()


def test_a_cluster_can_be_stopped() -> None:
    cluster = ValkeyCluster().start()
    ports = [node.port for node in cluster.nodes]
    cluster.stop()
    assert not any(accepts_connections(port) for port in ports)
