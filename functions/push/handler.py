"""SQS worker of the queue ``push``: deliver rows of the push outbox to FCM, APNs and browsers."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from evpower.clock import SystemClock
from evpower.config import get_settings
from evpower.db import SingleConnectionDatabase
from evpower.ids import accept_correlation_id, correlation_id
from evpower.lambda_runtime.batch import work_on_batch
from evpower.lambda_runtime.entry import observed
from evpower.logging import get_logger
from evpower.notifications.delivery import PushDeps, deliver, push_deps
from evpower.notifications.queue import PushMessage, SqsPushQueue

_settings = get_settings()
observe = observed("push", _settings.log_level)
_log = get_logger(__name__)
# One loop, one connection and one HTTP client for the life of the process.
_runner = asyncio.Runner()
_deps = push_deps(SingleConnectionDatabase(_settings), SqsPushQueue(_settings), _settings, SystemClock())


@observe
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Work on a batch of messages; those that failed are reported and come again (partial batch response)."""
    return _runner.run(work(_deps, event))


async def work(deps: PushDeps, event: Mapping[str, Any]) -> dict[str, Any]:
    """The batch, all messages at once: they wait for the providers, not for each other."""
    return await work_on_batch(event, partial(_one, deps))


async def _one(deps: PushDeps, record: SQSRecord) -> None:
    try:
        correlation_id.set(accept_correlation_id(None))
        message = PushMessage.parse(record.body)
        outcome = await deliver(deps, message.outbox_id)
    except Exception:
        # Also an unreadable one: after its receives are used up it stands in the dead-letter queue for an operator.
        _log.exception("push failed", extra={"message_id": record.message_id})
        raise
    _log.info("push", extra={"outcome": outcome, "outbox_id": message.outbox_id})
