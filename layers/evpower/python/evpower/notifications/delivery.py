"""Delivering one row of the outbox: claim, send to every address, note what became of it.

No transaction is open while a provider is called. A process that dies between sending and noting sends again: the
providers know the message by its collapse id and show it once.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from evpower import metrics, outside
from evpower.clock import Clock
from evpower.config import Settings
from evpower.db import Conn, Database
from evpower.ids import accept_correlation_id, correlation_id
from evpower.logging import get_logger
from evpower.notifications import repository, service, texts
from evpower.notifications.http import HttpClient, Sender
from evpower.notifications.models import (
    Address,
    Channel,
    Delivered,
    Gone,
    OutboxItem,
    Push,
    Refused,
    Result,
    TryLater,
)
from evpower.notifications.queue import PushQueue

LEASE = timedelta(seconds=120)
"""Longer than a process works on a batch, shorter than the queue's visibility time-out."""
BACKOFF_S = (10, 30, 120, 300, 600)
"""Waits between attempts; after the last the row has failed."""
MAX_ATTEMPTS = 12
"""Attempts of which nothing was noted count as well: a row that ends its process every time must not go on."""
SEND_BUDGET_S = 20.0
"""For all that one address takes, so that the function ends before its time-out and notes what it has done."""
_AT_ONCE = 50
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PushDeps:
    """What delivery needs. A channel that is missing from ``senders`` is not configured."""

    db: Database
    queue: PushQueue
    clock: Clock
    senders: Mapping[Channel, Sender]
    http: HttpClient


def push_deps(db: Database, queue: PushQueue, settings: Settings, clock: Clock) -> PushDeps:
    """The product's providers: those whose secret is set.

    Raises:
        ValueError: a provider's settings are wrong.
    """
    http = HttpClient(settings)
    senders: dict[Channel, Sender] = {}
    if settings.fcm_service_account.get_secret_value():
        from evpower.notifications.fcm import Fcm

        senders[Channel.FCM] = Fcm(settings, http, clock)
    if settings.apns_key.get_secret_value():
        from evpower.notifications.apns import Apns

        senders[Channel.APNS] = Apns(settings, http, clock)
    if settings.vapid_private_key.get_secret_value():
        from evpower.notifications.web_push import WebPush

        senders[Channel.WEB_PUSH] = WebPush(settings, http, clock)
    return PushDeps(db, queue, clock, senders, http)


async def deliver(deps: PushDeps, outbox_id: int) -> str:
    """Work on one row: ``done``, ``failed``, ``postponed``, or ``skipped`` when it is not to be delivered now."""
    now = deps.clock.now()

    async def take(conn: Conn) -> tuple[OutboxItem | None, list[Address]]:
        claimed = await repository.claim(conn, outbox_id, now=now, leased_until=now + LEASE)
        if claimed is None:
            return None, []
        return claimed, await service.addresses(conn, claimed.user_type, claimed.user_id, claimed.event)

    item, addresses = await deps.db.run(take)
    if item is None:
        return "skipped"
    if item.correlation_id:
        correlation_id.set(accept_correlation_id(item.correlation_id))
    # Use case: the function was out of order for a day. Nobody wants to hear then that the charge has started.
    is_old = now - item.created_at > timedelta(seconds=texts.TTL_S)
    if is_old or item.event not in texts.EVENTS or item.attempts > MAX_ATTEMPTS:
        _log.error("push given up", extra={"outbox_id": item.id, "event": item.event, "attempts": item.attempts})
        await deps.db.run(lambda conn: _give_up(conn, item, now))
        return "failed"
    waiting = [address for address in addresses if address.id not in item.delivered_to]
    results = await _send_all(deps, item, waiting)
    outcome = _outcome(item, results, deps.clock.now())
    await deps.db.run(lambda conn: _note(conn, item, results, outcome, deps.clock.now()))
    _report(item, results)
    if outcome.again_in_s is not None:
        # A second more than the row says: the message must not come before its time.
        await deps.queue.send([item.id], outcome.again_in_s + 1)
    return outcome.word


async def _send_all(deps: PushDeps, item: OutboxItem, addresses: Sequence[Address]) -> list[tuple[Address, Result]]:
    at_once = asyncio.Semaphore(_AT_ONCE)

    async def one(address: Address) -> Result:
        sender = deps.senders.get(address.channel)
        if sender is None:
            return Refused(f"{address.channel} is not configured")
        try:
            async with asyncio.timeout(SEND_BUDGET_S), at_once:
                with outside.call(address.channel.value, "push") as seen:
                    result = await sender.send(address, pushes[address.language])
                    seen.outcome = type(result).__name__
                return result
        except TimeoutError:
            return TryLater("no time left")

    pushes: dict[str, Push] = {address.language: texts.render(item, address.language) for address in addresses}
    return list(zip(addresses, await asyncio.gather(*map(one, addresses)), strict=True))


@dataclass(frozen=True, slots=True)
class _Outcome:
    word: str
    again_in_s: float | None = None


def _outcome(item: OutboxItem, results: Sequence[tuple[Address, Result]], now: datetime) -> _Outcome:
    """What becomes of the row. Pure."""
    kinds = [result for _, result in results]
    later = [result for result in kinds if isinstance(result, TryLater)]
    if later and item.attempts <= len(BACKOFF_S):
        wait = max([BACKOFF_S[item.attempts - 1], *(result.after_s or 0 for result in later)])
        if now + timedelta(seconds=wait) < item.created_at + timedelta(seconds=texts.TTL_S):
            return _Outcome("postponed", wait)
    reached = bool(item.delivered_to) or any(isinstance(result, Delivered) for result in kinds)
    lost = bool(later) or any(isinstance(result, Refused) for result in kinds)
    return _Outcome("failed" if lost and not reached else "done")


async def _note(
    conn: Conn, item: OutboxItem, results: Sequence[tuple[Address, Result]], outcome: _Outcome, now: datetime
) -> None:
    reached = [address for address, result in results if isinstance(result, Delivered)]
    delivered_to = [*item.delivered_to, *(address.id for address in reached)]
    for address, result in results:
        if isinstance(result, Gone):
            await repository.delete_dead(conn, address)
    await repository.mark_used(conn, reached, now)
    if outcome.again_in_s is None:
        await repository.finish(conn, item.id, state=outcome.word, delivered_to=delivered_to, now=now)
    else:
        until = now + timedelta(seconds=outcome.again_in_s)
        await repository.postpone(conn, item.id, until=until, delivered_to=delivered_to)


async def _give_up(conn: Conn, item: OutboxItem, now: datetime) -> None:
    await repository.finish(conn, item.id, state="failed", delivered_to=item.delivered_to, now=now)


def _report(item: OutboxItem, results: Sequence[tuple[Address, Result]]) -> None:
    for address, result in results:
        word = type(result).__name__
        metrics.emit({"Pushes": 1}, Channel=address.channel.value, Outcome=word)
        if not isinstance(result, Delivered):
            extra = {"event": item.event, "channel": address.channel.value, "address_id": address.id}
            level = _log.warning if isinstance(result, Refused | TryLater) else _log.info
            level("push %s: %s", word, result.reason, extra=extra)
