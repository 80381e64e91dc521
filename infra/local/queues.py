"""The product's queues at an SQS endpoint: what CDK creates in AWS, created locally with the same attributes."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.queues import DEAD_LETTER_RETENTION_S, QUEUES

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

REGION = "eu-central-1"
LOCAL_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",  # the endpoint does not check it
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True, slots=True)
class SqsEndpoint:
    """A running endpoint with the queues created."""

    endpoint_url: str
    urls: dict[str, str]  # queue name -> URL, dead-letter queues included

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables by which the product finds endpoint and queues."""
        queues = {queue.setting: self.urls[queue.name] for queue in QUEUES}
        return {"AWS_ENDPOINT_URL": self.endpoint_url, **LOCAL_CREDENTIALS, **queues}

    def client(self) -> "SQSClient":
        """A boto3 client of this endpoint."""
        return sqs_client(self.endpoint_url)


def sqs_client(endpoint_url: str) -> "SQSClient":
    import boto3
    from botocore.config import Config

    session = boto3.session.Session(
        aws_access_key_id=LOCAL_CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=LOCAL_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
    )
    config = Config(retries={"max_attempts": 3}, connect_timeout=5, read_timeout=30)
    return session.client("sqs", endpoint_url=endpoint_url, config=config)


def create_queues(endpoint_url: str) -> SqsEndpoint:
    """Create every queue that does not exist yet; returns their URLs."""
    client = sqs_client(endpoint_url)
    urls: dict[str, str] = {}
    for queue in QUEUES:
        attributes: dict[Any, str] = {"FifoQueue": "true"} if queue.fifo else {}
        dead = client.create_queue(
            QueueName=queue.dead_letter_name,
            Attributes=attributes | {"MessageRetentionPeriod": str(DEAD_LETTER_RETENTION_S)},
        )["QueueUrl"]
        arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        redrive = {"deadLetterTargetArn": arn, "maxReceiveCount": queue.max_receive_count}
        urls[queue.dead_letter_name] = dead
        urls[queue.name] = client.create_queue(
            QueueName=queue.name,
            Attributes=attributes
            | {"VisibilityTimeout": str(queue.visibility_timeout_s), "RedrivePolicy": json.dumps(redrive)},
        )["QueueUrl"]
    return SqsEndpoint(endpoint_url, urls)


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m infra.local.queues --endpoint URL``: create the queues and print their URLs."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.queues", description=__doc__)
    parser.add_argument("--endpoint", required=True, help="SQS endpoint, such as http://127.0.0.1:4566")
    for name, url in create_queues(parser.parse_args(arguments).endpoint).urls.items():
        print(f"{name}\t{url}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
