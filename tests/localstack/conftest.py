"""One LocalStack for the whole run, and on it one deployment of the whole app."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import boto3
import pytest
import pytest_asyncio

from infra.local.cloud_system import CloudSystem
from infra.local.localstack import LocalStack
from infra.local.queues import LOCAL_CREDENTIALS, REGION, SqsEndpoint, create_queues


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """The deployment's stand-ins live in one event loop, so its tests run in the same."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and isinstance(item, pytest.Function) and iscoroutinefunction(item.obj):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def localstack_server() -> Iterator[LocalStack]:
    server = LocalStack()
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def localstack(localstack_server: LocalStack) -> str:
    """Its address."""
    return localstack_server.url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cloud(localstack_server: LocalStack) -> AsyncIterator[CloudSystem]:
    """The deployed product with two connected chargers."""
    async with CloudSystem(localstack_server) as running:
        yield running


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
