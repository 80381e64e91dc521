"""Asking the provider what became of top-ups: by queue message, by callback, by sweep, by route.

All of them may run at once. The provider is asked outside any transaction; what its answer means is written in one,
under the client's lock, and money moves once by the ledger's unique key.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

from evpower import metrics
from evpower.db import Claims
from evpower.logging import get_logger
from evpower.payments import repository, service
from evpower.payments.deps import PaymentDeps
from evpower.payments.models import InboxEntry, TopUp, TopUpStatus
from evpower.payments.provider import Outcome, Refused
from evpower.payments.queue import CheckMessage
from evpower.payments.service import Checked

T = TypeVar("T")

_log = get_logger(__name__)
# Longer than a check can take, so that a crashed one is repeated and a running one is not.
_LEASE = timedelta(seconds=45)
# A message may arrive a moment before the database's own time of the check.
_SLACK = timedelta(seconds=2)
_BATCH = 40
_PARALLEL = 8
_CALLBACK_RETRY = timedelta(seconds=15)
_CALLBACK_RETRY_MAX = timedelta(hours=1)
_CALLBACK_ATTEMPTS = 12


async def check_topup(deps: PaymentDeps, topup: TopUp, claims: Claims | None = None) -> tuple[Checked, Outcome[object]]:
    """Send a pending invoiceCancel, ask for the status, write what follows, queue the next question."""
    if topup.cancel_requested and topup.invoice_id:
        await send_cancel(deps, topup, topup.invoice_id, claims)
    outcome = await deps.provider_of(topup).payment_status(topup.order_id, topup.invoice_id)
    now = deps.clock.now()
    checked = await deps.db.run(
        lambda conn: service.apply_status(conn, topup.id, outcome, deps.settings, now), claims=claims
    )
    if checked.credited:
        metrics.emit({"TopUpsCredited": 1})
        _log.info(
            "top-up credited",
            extra={"order_id": topup.order_id, "late": topup.status is not TopUpStatus.PROCESSING},
        )
    if not checked.answered:
        metrics.emit({"ProviderNotAnswering": 1}, Provider=deps.provider_of(topup).name)
    await queue_next(deps, checked.topup, now)
    return checked, outcome


async def send_cancel(deps: PaymentDeps, topup: TopUp, invoice_id: str, claims: Claims | None = None) -> bool:
    """invoiceCancel once; whether the provider says that the invoice is paid already."""
    provider = deps.provider_of(topup)
    outcome = await provider.cancel_invoice(invoice_id)
    paid = isinstance(outcome, Refused) and provider.already_paid(outcome)
    await deps.db.run(lambda conn: service.record_cancel(conn, topup, outcome, paid=paid), claims=claims)
    return paid


async def queue_next(deps: PaymentDeps, topup: TopUp, now: datetime) -> None:
    """Queue the next question while the top-up is live; later ones are left to the sweep."""
    if topup.next_check_at is None:
        return
    delay = topup.next_check_at - now
    if delay <= timedelta(seconds=deps.settings.payment_check_interval_s):
        await deps.queue.send(CheckMessage(topup_id=topup.id, correlation_id=topup.correlation_id), delay)


async def handle_message(deps: PaymentDeps, message: CheckMessage) -> str:
    """Work on one message of the queue; a word about what came of it.

    A message about a top-up that is not due (a repeat, or another worker was faster) does nothing, so that repeats
    do not multiply.
    """
    if message.inbox_id is not None:
        inbox_id = message.inbox_id
        entry = await deps.db.run(lambda conn: repository.get_callback(conn, inbox_id))
        if entry is None or entry.state != "received":
            return "callback_done"
        return await process_callback(deps, entry)
    assert message.topup_id is not None
    topup_id, now = message.topup_id, deps.clock.now()
    topup = await deps.db.run(lambda conn: repository.claim_topup(conn, topup_id, now + _SLACK, now + _LEASE))
    if topup is None:
        return "not_due"
    checked, _ = await check_topup(deps, topup)
    return checked.topup.status.value


async def process_callback(deps: PaymentDeps, entry: InboxEntry) -> str:
    """Turn one signed hint into a question to the provider.

    A hint stays open until the provider answered and agrees: a callback may be faster than its own provider's status.
    """
    topup = await deps.db.run(lambda conn: service.topup_of_callback(conn, entry))
    now = deps.clock.now()
    if topup is None:
        # Use case: money was paid for an order that we do not know. Nobody but an operator can sort that out.
        _log.error("signed callback for an unknown order", extra={"inbox_id": entry.id, "order_id": entry.order_id})
        metrics.emit({"UnknownOrderCallbacks": 1})
        await _close_callback(deps, entry, "unknown_order", "unknown order", now)
        return "unknown_order"
    checked, _ = await check_topup(deps, topup)
    now = deps.clock.now()
    if not checked.answered:
        await _postpone_callback(deps, entry, "provider does not answer", now, counted=False)
        return "postponed"
    if entry.status_pay == "3" and not await _is_booked(deps, checked.topup, entry):
        if entry.attempts + 1 >= _CALLBACK_ATTEMPTS:
            _log.error("provider never confirmed a callback", extra={"inbox_id": entry.id, "order_id": entry.order_id})
            metrics.emit({"UnconfirmedCallbacks": 1})
            await _close_callback(deps, entry, "failed", "never confirmed by the provider", now)
            return "failed"
        await _postpone_callback(deps, entry, f"provider says {checked.topup.status}", now, counted=True)
        return "postponed"
    await _close_callback(deps, entry, "processed", checked.topup.status.value, now)
    return "processed"


async def _is_booked(deps: PaymentDeps, topup: TopUp, entry: InboxEntry) -> bool:
    if topup.credited_earlier:
        return True
    booked = await deps.db.run(lambda conn: repository.credited_amounts(conn, topup))
    return entry.trans_id in booked if entry.trans_id else bool(booked)


async def _close_callback(deps: PaymentDeps, entry: InboxEntry, state: str, outcome: str, now: datetime) -> None:
    await deps.db.run(lambda conn: repository.close_callback(conn, entry.id, state, outcome, now))


async def _postpone_callback(
    deps: PaymentDeps, entry: InboxEntry, outcome: str, now: datetime, *, counted: bool
) -> None:
    delay = min(_CALLBACK_RETRY * 2 ** min(entry.attempts, 10), _CALLBACK_RETRY_MAX)
    await deps.db.run(lambda conn: repository.postpone_callback(conn, entry.id, outcome, now + delay, counted=counted))


async def sweep_checks(deps: PaymentDeps, *, budget: timedelta = timedelta(seconds=40)) -> dict[str, int]:
    """Backstop of the queue: due callbacks, then due top-ups, in batches, until none is left or time is up."""
    deadline = time.monotonic() + budget.total_seconds()
    counts = {"callbacks": 0, "topups": 0, "failures": 0}
    while time.monotonic() < deadline:
        now = deps.clock.now()
        callbacks = await deps.db.run(lambda conn: repository.claim_due_callbacks(conn, now, now + _LEASE, _BATCH))  # noqa: B023 - run before the next round
        topups = await deps.db.run(lambda conn: repository.claim_due_topups(conn, now, now + _LEASE, _BATCH))  # noqa: B023 - run before the next round
        if not callbacks and not topups:
            break
        counts["callbacks"] += len(callbacks)
        counts["topups"] += len(topups)
        counts["failures"] += await each_guarded(callbacks, lambda entry: process_callback(deps, entry))
        counts["failures"] += await each_guarded(topups, lambda topup: check_topup(deps, topup))
    return counts


async def each_guarded(items: list[T], work: Callable[[T], Awaitable[object]]) -> int:
    """Work on items a few at a time; one that fails is logged and left to the next sweep. Number of failures."""
    slots = asyncio.Semaphore(_PARALLEL)

    async def guarded(item: T) -> bool:
        async with slots:
            try:
                await work(item)
            except Exception:
                _log.exception("payment work failed")
                return False
            return True

    return (await asyncio.gather(*(guarded(item) for item in items))).count(False)


async def sweep_cleanup(deps: PaymentDeps) -> dict[str, int]:
    """Hourly: close what is long over (its late money is still credited), give forgotten rows a time."""
    now = deps.clock.now()
    overdue = now - timedelta(seconds=deps.settings.invoice_grace_s)
    expired = 0
    while (closed := await deps.db.run(lambda conn: repository.expire_overdue(conn, overdue, now, _BATCH))) > 0:
        expired += closed
    scheduled = await deps.db.run(lambda conn: repository.schedule_forgotten(conn, now))
    return {"expired": expired, "scheduled": scheduled}
