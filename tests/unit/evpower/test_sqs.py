"""Sending to SQS without boto3: the signature, and what happens to kept connections and refusals."""

import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from evpower.config import Settings
from evpower.sqs import Credentials, SqsError, SqsSender, signed_headers

NOW = datetime(2026, 1, 1, 12, 30, 59, tzinfo=UTC)
KEYS = st.text("ABCDEFabcdef0123456789+/", min_size=1, max_size=40)


@given(
    access=KEYS,
    secret=KEYS,
    token=st.one_of(st.just(""), KEYS),
    region=st.sampled_from(["eu-central-1", "us-east-1"]),
    host=st.sampled_from(["sqs.eu-central-1.amazonaws.com", "127.0.0.1:4566"]),
    body=st.binary(max_size=300),
)
def test_the_signature_is_the_one_of_botocore(
    access: str, secret: str, token: str, region: str, host: str, body: bytes
) -> None:
    headers = signed_headers(Credentials(access, secret, token), region, host, "AmazonSQS.SendMessage", body, NOW)
    ours = headers.pop("authorization")
    request = AWSRequest(method="POST", url=f"https://{host}/", data=body, headers=headers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: NOW)
        credentials = BotocoreCredentials(access, secret, token or None)  # type: ignore[no-untyped-call]
        botocore.auth.SigV4Auth(credentials, "sqs", region).add_auth(request)  # type: ignore[no-untyped-call]
    assert request.headers["Authorization"] == ours


class Queue(ThreadingHTTPServer):
    """Answers with what a test lines up, and notes the requests. ``hang_up``: end each connection after its answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, Any]] = []
        self.seen: list[dict[str, Any]] = []
        self.connections = 0
        self.hang_up = False


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Queue

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append({"target": self.headers["X-Amz-Target"], **json.loads(content)})
        status, answer = self.server.answers.pop(0) if self.server.answers else (200, {"MessageId": "m-1"})
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if self.server.hang_up:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)  # without a word, as a load balancer drops an idle connection
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = Queue()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def sender(queue: Queue, attempts: int = 2) -> SqsSender:
    settings = Settings(aws_endpoint_url=f"http://127.0.0.1:{queue.server_port}")
    return SqsSender(settings, timeout_s=5, attempts=attempts)


def test_messages_share_one_connection(queue: Queue) -> None:
    sqs = sender(queue)
    for number in range(3):
        assert sqs.call("SendMessage", {"QueueUrl": "q", "MessageBody": str(number)}) == {"MessageId": "m-1"}
    assert [message["MessageBody"] for message in queue.seen] == ["0", "1", "2"]
    assert queue.seen[0]["target"] == "AmazonSQS.SendMessage"
    assert queue.connections == 1


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_connection_that_was_closed_in_a_pause_is_opened_again(queue: Queue, attempts: int) -> None:
    queue.hang_up = True
    sqs = sender(queue, attempts)
    for number in range(3):
        sqs.call("SendMessage", {"MessageBody": str(number)})
    assert [message["MessageBody"] for message in queue.seen] == ["0", "1", "2"]


def test_a_failure_of_sqs_is_tried_again_and_then_told(queue: Queue) -> None:
    queue.answers = [(503, b"busy"), (200, {"MessageId": "m-2"})]
    assert sender(queue).call("SendMessage", {}) == {"MessageId": "m-2"}
    queue.answers = [(500, {"__type": "InternalError"}), (400, {"__type": "com.amazonaws.sqs#ThrottlingException"})]
    with pytest.raises(SqsError, match="ThrottlingException"):
        sender(queue).call("SendMessage", {})
    assert len(queue.seen) == 4


def test_a_refusal_is_told_at_once(queue: Queue) -> None:
    queue.answers = [(400, {"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no such queue"})]
    with pytest.raises(SqsError, match="QueueDoesNotExist: no such queue") as caught:
        sender(queue).call("SendMessage", {})
    assert caught.value.status == 400
    assert len(queue.seen) == 1


def test_an_endpoint_that_is_not_there_is_an_error(queue: Queue) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        settings = Settings(aws_endpoint_url=f"http://127.0.0.1:{free.getsockname()[1]}")
    with pytest.raises(ConnectionRefusedError):
        SqsSender(settings).call("SendMessage", {})


def test_without_keys_in_the_environment_boto3_finds_its_own(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use case: a container in ECS has its role from an endpoint, not from the environment."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    asked: list[dict[str, Any]] = []

    class Client:
        def send_message_batch(self, **members: Any) -> dict[str, Any]:
            asked.append(members)
            return {"Successful": []}

    sqs = sender(queue)
    monkeypatch.setattr("boto3.session.Session.client", lambda *_args, **_members: Client())
    assert sqs.call("SendMessageBatch", {"QueueUrl": "q", "Entries": []}) == {"Successful": []}
    assert asked == [{"QueueUrl": "q", "Entries": []}]
    assert queue.seen == []
