"""One LocalStack for the whole run."""

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from infra.local.localstack import LocalStack
from infra.local.queues import LOCAL_CREDENTIALS, REGION, SqsEndpoint, create_queues


@pytest.fixture(scope="session")
def localstack() -> Iterator[str]:
    server = LocalStack()
    try:
        yield server.start().url
    finally:
        server.stop()


@pytest.fixture(scope="session")
def aws(localstack: str) -> Callable[[str], Any]:
    """A boto3 client by service name."""
    session = boto3.session.Session(
        aws_access_key_id=LOCAL_CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=LOCAL_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
    )

    def client(service: str) -> Any:
        return session.client(service, endpoint_url=localstack)  # type: ignore[call-overload]

    return client


@pytest.fixture(scope="session")
def queues(localstack: str) -> SqsEndpoint:
    return create_queues(localstack)
