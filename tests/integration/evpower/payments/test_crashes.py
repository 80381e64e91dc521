"""A process that dies between two steps: whatever step it was, the sweep brings the payer's money to the balance."""

import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from evpower.db import Claims, Conn, PooledDatabase
from evpower.payments import checks, flows
from evpower.payments.deps import PaymentDeps
from evpower.payments.models import NewTopUp
from evpower.payments.provider import Invoice, InvoiceRequest, InvoiceStatus, Outcome
from evpower.payments.queue import CheckMessage
from tests.integration.evpower.payments.conftest import World


class Died(BaseException):
    """The process is gone: no handler of the product may see it."""


class Mortal:
    """Counts the steps of a flow (transactions, provider calls, queue sends) and dies after the given one."""

    def __init__(self, world: World, last_step: int) -> None:
        self.left = last_step
        self.died = False
        self._world = world
        settings, clock = world.deps.settings, world.clock
        self.deps = PaymentDeps(
            _MortalDb(self, world.db), _MortalProvider(self, world.deps.provider), self, settings, clock
        )  # type: ignore[arg-type]

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.died = True
            raise Died

    async def send(self, message: CheckMessage, delay: timedelta = timedelta(0)) -> bool:
        sent = await self._world.queue.send(message, delay)
        self.step()
        return sent


class _MortalDb:
    def __init__(self, mortal: Mortal, db: PooledDatabase) -> None:
        self._mortal, self._db = mortal, db

    async def run(self, work: Callable[[Conn], Awaitable[Any]], *, claims: Claims | None = None) -> Any:
        result = await self._db.run(work, claims=claims)
        self._mortal.step()
        return result


class _MortalProvider:
    def __init__(self, mortal: Mortal, provider: Any) -> None:
        self._mortal, self._provider = mortal, provider

    name = "ODENGI"

    async def create_invoice(self, request: InvoiceRequest) -> Outcome[Invoice]:
        outcome: Outcome[Invoice] = await self._provider.create_invoice(request)
        self._mortal.step()
        return outcome

    async def payment_status(self, order_id: str, invoice_id: str | None = None) -> Outcome[InvoiceStatus]:
        outcome: Outcome[InvoiceStatus] = await self._provider.payment_status(order_id, invoice_id)
        self._mortal.step()
        return outcome

    async def cancel_invoice(self, invoice_id: str) -> Outcome[None]:
        outcome: Outcome[None] = await self._provider.cancel_invoice(invoice_id)
        self._mortal.step()
        return outcome

    def already_paid(self, refusal: Any) -> bool:
        paid: bool = self._provider.already_paid(refusal)
        return paid


async def _recover(world: World) -> None:
    """What happens without the dead process: time passes, the sweep runs. Messages of the queue are lost."""
    world.queue.take()
    for _ in range(3):
        world.clock.advance(timedelta(seconds=46))
        await checks.sweep_checks(world.deps)


@pytest.mark.parametrize("last_step", range(1, 7))
async def test_create_topup_dies(world: World, last_step: int) -> None:
    await world.client()
    earlier = (await world.topup(amount=50)).topup
    mortal = Mortal(world, last_step)
    with contextlib.suppress(Died):
        await flows.create_topup(mortal.deps, NewTopUp("client-a", Decimal(300)))
    assert mortal.died == (last_step <= 5), "the flow has five steps: intent, two messages, provider, outcome"
    assert await world.status(earlier.id) == "canceled"
    row = await world.one("SELECT order_id FROM balance_topups WHERE id <> %s", earlier.id)
    world.standin.behaviour.callbacks = 0
    if last_step >= 4:  # the provider has the invoice, so a payer can pay it
        world.standin.pay(world.standin.invoice_of(row["order_id"]).invoice_id)
    await _recover(world)
    assert await world.balance() == (300 if last_step >= 4 else 0)
    assert world.standin.invoice_of(earlier.order_id).canceled
    # Nothing of it stands in the way of the next one.
    again = await world.topup(amount=70)
    world.standin.pay(again.topup.invoice_id or "")
    await flows.check_payment(world.deps, "client-a", order_id=again.topup.order_id)
    assert await world.balance() == (370 if last_step >= 4 else 70)


@pytest.mark.parametrize("last_step", range(1, 7))
async def test_callback_worker_dies(world: World, last_step: int) -> None:
    await world.client()
    topup = (await world.topup(amount=300)).topup
    world.queue.take()
    world.standin.pay(topup.invoice_id or "")
    await world.standin.settle()
    [message] = world.queue.take()
    mortal = Mortal(world, last_step)
    with pytest.raises(Died):
        await checks.handle_message(mortal.deps, message)
    await _recover(world)
    assert await world.balance() == 300
    assert (await world.one("SELECT state FROM payment_inbox"))["state"] == "processed"


@pytest.mark.parametrize("last_step", range(1, 5))
async def test_canceling_dies(world: World, last_step: int) -> None:
    await world.client()
    topup = (await world.topup(amount=300)).topup
    mortal = Mortal(world, last_step)
    with pytest.raises(Died):
        await flows.cancel_payment(mortal.deps, "client-a", order_id=topup.order_id)
    await _recover(world)
    canceled = last_step >= 2  # the first step only reads
    assert world.standin.invoice_of(topup.order_id).canceled == canceled
    assert await world.status(topup.id) == ("canceled" if canceled else "processing")
