"""SQS worker of the queue ``payment-checks``: ask the provider, credit, queue the next question."""

import asyncio
from collections.abc import Mapping
from typing import Any

from evpower.clock import SystemClock
from evpower.config import get_settings
from evpower.db import SingleConnectionDatabase
from evpower.ids import accept_correlation_id, correlation_id
from evpower.logging import configure_logging, get_logger
from evpower.payments.checks import handle_message
from evpower.payments.deps import PaymentDeps, payment_deps
from evpower.payments.queue import CheckMessage

_settings = get_settings()
configure_logging("payment_checks", _settings.log_level)
_log = get_logger(__name__)
# One loop and one connection for the life of the process.
_runner = asyncio.Runner()
_deps = payment_deps(SingleConnectionDatabase(_settings), _settings, SystemClock())


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Work on a batch of messages; those that failed are reported and come again (partial batch response)."""
    return _runner.run(work(_deps, event))


async def work(deps: PaymentDeps, event: Mapping[str, Any]) -> dict[str, Any]:
    """The batch, all messages at once: they wait for the provider, not for each other."""
    records = event.get("Records") or []
    done = await asyncio.gather(*(_one(deps, record) for record in records))
    failed = [record["messageId"] for record, ok in zip(records, done, strict=True) if not ok]
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


async def _one(deps: PaymentDeps, record: Mapping[str, Any]) -> bool:
    try:
        message = CheckMessage.parse(record["body"])
        correlation_id.set(accept_correlation_id(message.correlation_id))
        outcome = await handle_message(deps, message)
    except Exception:
        # Also an unreadable one: after its receives are used up it stands in the dead-letter queue for an operator.
        _log.exception("payment check failed", extra={"message_id": record.get("messageId")})
        return False
    _log.info("payment check", extra={"outcome": outcome, "topup_id": message.topup_id, "inbox_id": message.inbox_id})
    return True
