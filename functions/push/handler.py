"""SQS worker of the queue ``push``: deliver rows of the push outbox to FCM, APNs and browsers."""

import asyncio
from collections.abc import Mapping
from typing import Any

from evpower.clock import SystemClock
from evpower.config import get_settings
from evpower.db import SingleConnectionDatabase
from evpower.ids import accept_correlation_id, correlation_id
from evpower.logging import configure_logging, get_logger
from evpower.notifications.delivery import PushDeps, deliver, push_deps
from evpower.notifications.queue import PushMessage, SqsPushQueue

_settings = get_settings()
configure_logging("push", _settings.log_level)
_log = get_logger(__name__)
# One loop, one connection and one HTTP client for the life of the process.
_runner = asyncio.Runner()
_deps = push_deps(SingleConnectionDatabase(_settings), SqsPushQueue(_settings), _settings, SystemClock())


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Work on a batch of messages; those that failed are reported and come again (partial batch response)."""
    return _runner.run(work(_deps, event))


async def work(deps: PushDeps, event: Mapping[str, Any]) -> dict[str, Any]:
    """The batch, all messages at once: they wait for the providers, not for each other."""
    records = event.get("Records") or []
    done = await asyncio.gather(*(_one(deps, record) for record in records))
    failed = [record["messageId"] for record, ok in zip(records, done, strict=True) if not ok]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


async def _one(deps: PushDeps, record: Mapping[str, Any]) -> bool:
    try:
        correlation_id.set(accept_correlation_id(None))
        message = PushMessage.parse(record["body"])
        outcome = await deliver(deps, message.outbox_id)
    except Exception:
        # Also an unreadable one: after its receives are used up it stands in the dead-letter queue for an operator.
        _log.exception("push failed", extra={"message_id": record.get("messageId")})
        return False
    _log.info("push", extra={"outcome": outcome, "outbox_id": message.outbox_id})
    return True
