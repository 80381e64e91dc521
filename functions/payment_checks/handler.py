"""SQS worker of the queue ``payment-checks``: ask the provider, credit, queue the next question."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from evpower import metrics
from evpower.clock import SystemClock
from evpower.config import get_settings
from evpower.db import SingleConnectionDatabase
from evpower.ids import accept_correlation_id, correlation_id
from evpower.lambda_runtime.batch import work_on_batch
from evpower.lambda_runtime.entry import observed
from evpower.logging import get_logger
from evpower.payments.checks import handle_message
from evpower.payments.deps import PaymentDeps, payment_deps
from evpower.payments.queue import CheckMessage

_settings = get_settings()
observe = observed("payment_checks", _settings.log_level)
_log = get_logger(__name__)
# One loop and one connection for the life of the process.
_runner = asyncio.Runner()
_deps = payment_deps(SingleConnectionDatabase(_settings), _settings, SystemClock())


@observe
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Work on a batch of messages; those that failed are reported and come again (partial batch response)."""
    return _runner.run(work(_deps, event))


async def work(deps: PaymentDeps, event: Mapping[str, Any]) -> dict[str, Any]:
    """The batch, all messages at once: they wait for the provider, not for each other."""
    return await work_on_batch(event, partial(_one, deps))


async def _one(deps: PaymentDeps, record: SQSRecord) -> None:
    try:
        message = CheckMessage.parse(record.body)
        correlation_id.set(accept_correlation_id(message.correlation_id))
        outcome = await handle_message(deps, message)
    except Exception:
        # Also an unreadable one: after its receives are used up it stands in the dead-letter queue for an operator.
        _log.exception("payment check failed", extra={"message_id": record.message_id})
        metrics.emit({"PaymentChecksFailed": 1})
        raise
    metrics.emit({"PaymentChecks": 1}, Outcome=outcome)
    _log.info("payment check", extra={"outcome": outcome, "topup_id": message.topup_id, "inbox_id": message.inbox_id})
