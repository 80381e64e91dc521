"""Refunds: debited first, sent once, returned once, never guessed."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from evpower.errors import InsufficientBalance, InvalidAmount, MaximumAmountExceeded, PaymentNotFound
from evpower.payments import checks, flows, refunds
from evpower.payments.models import RefundRequest, RefundState, TopUp, WireStatus
from evpower.payments.rules import wire_status
from tests.integration.evpower.payments.conftest import World


async def paid(world: World, amount: int = 500, times: int = 1) -> TopUp:
    """A credited top-up."""
    await world.client()
    topup = (await world.topup(amount=amount)).topup
    world.standin.behaviour.callbacks = 0
    world.standin.pay(topup.invoice_id or "", times=times)
    return await flows.check_payment(world.deps, "client-a", order_id=topup.order_id)


def wish(
    topup: TopUp, key: str = "request-1", amount: int | str | None = None, trans_id: str | None = None
) -> RefundRequest:
    return RefundRequest(topup.id, key, "operator-1", None if amount is None else Decimal(amount), trans_id)


async def shown(world: World, topup: TopUp) -> WireStatus:
    return wire_status(await flows.get_payment(world.deps, "client-a", order_id=topup.order_id))


async def test_full_refund(world: World) -> None:
    topup = await paid(world)
    refund = await refunds.refund_topup(world.deps, wish(topup))
    assert (refund.state, refund.is_full, refund.amount) == (RefundState.SUCCEEDED, True, Decimal(500))
    assert world.standin.requests[-1][0] == "voidPayment"
    assert await world.balance() == 0
    assert await shown(world, topup) is WireStatus.REFUNDED
    assert await refunds.refund_topup(world.deps, wish(topup)) == refund, "the same request is the same refund"
    with pytest.raises(PaymentNotFound):
        await refunds.refund_topup(world.deps, wish(topup, "request-2"))
    # The provider now shows the payment as canceled: nothing is credited or debited by asking again.
    world.clock.advance(timedelta(minutes=11))
    await checks.sweep_checks(world.deps)
    assert await world.balance() == 0


async def test_partial_refunds_up_to_the_payment(world: World) -> None:
    topup = await paid(world)
    first = await refunds.refund_topup(world.deps, wish(topup, "request-1", 200))
    assert (first.state, first.is_full) == (RefundState.SUCCEEDED, False)
    assert await shown(world, topup) is WireStatus.PARTIAL_REFUND
    with pytest.raises(MaximumAmountExceeded):
        await refunds.refund_topup(world.deps, wish(topup, "request-2", "300.01"))
    rest = await refunds.refund_topup(world.deps, wish(topup, "request-3"))
    assert (rest.amount, rest.is_full) == (Decimal(300), False)
    assert world.standin.requests[-1][0] == "refundPaymentToEwallet"
    assert world.standin.invoice_of(topup.order_id).payments[0].refunds == [20_000, 30_000]
    assert await shown(world, topup) is WireStatus.REFUNDED
    assert await world.balance() == 0


async def test_one_of_two_payments(world: World) -> None:
    topup = await paid(world, amount=100, times=2)
    second = world.standin.invoice_of(topup.order_id).payments[1]
    refund = await refunds.refund_topup(world.deps, wish(topup, trans_id=second.trans_id))
    assert (refund.amount, refund.trans_id) == (Decimal(100), second.trans_id)
    assert second.status == "canceled"
    assert await world.balance() == 100
    assert await shown(world, topup) is WireStatus.PARTIAL_REFUND


async def test_money_that_is_spent_cannot_go_back(world: World) -> None:
    topup = await paid(world)
    await refunds.refund_topup(world.deps, wish(topup, "request-1", 100))
    async with world.db.transaction() as conn:
        await conn.execute("UPDATE clients SET balance = 50")
    with pytest.raises(InsufficientBalance):
        await refunds.refund_topup(world.deps, wish(topup, "request-2", 400))
    assert (await world.one("SELECT count(*) AS n FROM topup_refunds"))["n"] == 1


@pytest.mark.parametrize("amount", ["0", "-5", "1.001", "NaN"])
async def test_amounts_that_are_none(world: World, amount: str) -> None:
    topup = await paid(world)
    with pytest.raises(InvalidAmount):
        await refunds.refund_topup(world.deps, wish(topup, amount=amount))
    assert await world.balance() == 500


async def test_refused_refund_is_returned_once(world: World) -> None:
    topup = await paid(world)
    world.standin.behaviour.fail = {"voidPayment": 26}
    refund = await refunds.refund_topup(world.deps, wish(topup))
    assert (refund.state, refund.provider_code) == (RefundState.FAILED, "26")
    assert await world.balance() == 500
    assert await refunds.refund_topup(world.deps, wish(topup)) == refund
    await refunds.resolve_refund(world.deps, refund.id, succeeded=False, actor="operator-1")
    world.clock.advance(timedelta(hours=1))
    await refunds.sweep_refunds(world.deps)
    assert await world.balance() == 500
    world.standin.behaviour.fail = {}
    assert (await refunds.refund_topup(world.deps, wish(topup, "request-2"))).state is RefundState.SUCCEEDED


async def test_void_without_an_answer_is_asked_for(world: World) -> None:
    topup = await paid(world)
    world.standin.behaviour.hang = ["voidPayment"]
    refund = await refunds.refund_topup(world.with_provider(provider_timeout_s=3), wish(topup))
    assert refund.state is RefundState.UNKNOWN
    assert await world.balance() == 0, "what may be with the payer is not returned"
    world.clock.advance(timedelta(minutes=16))
    assert await refunds.sweep_refunds(world.deps) == {"refunds": 1, "refund_failures": 0}
    row = await world.one("SELECT state, next_check_at FROM topup_refunds")
    assert row == {"state": "succeeded", "next_check_at": None}
    assert await shown(world, topup) is WireStatus.REFUNDED
    assert [cmd for cmd, _ in world.standin.requests].count("voidPayment") == 1


@pytest.mark.parametrize("succeeded", [True, False])
async def test_partial_refund_without_an_answer_waits_for_an_operator(world: World, succeeded: bool) -> None:
    topup = await paid(world)
    world.standin.behaviour.http_status = 502
    refund = await refunds.refund_topup(world.deps, wish(topup, amount=100))
    assert refund.state is RefundState.UNKNOWN
    world.standin.behaviour.http_status = 200
    for _ in range(3):
        world.clock.advance(timedelta(minutes=16))
        await refunds.sweep_refunds(world.deps)
    assert (await world.one("SELECT state FROM topup_refunds"))["state"] == "unknown"
    assert await world.balance() == 400
    for _ in range(2):
        resolved = await refunds.resolve_refund(world.deps, refund.id, succeeded=succeeded, actor="operator-1")
    assert resolved.state is (RefundState.SUCCEEDED if succeeded else RefundState.FAILED)
    assert await world.balance() == (400 if succeeded else 500)
    assert [cmd for cmd, _ in world.standin.requests].count("refundPaymentToEwallet") == 1


async def test_sender_that_died_before_the_call(world: World) -> None:
    topup = await paid(world)
    refund = await world.db.run(lambda conn: refunds.begin_refund(conn, wish(topup), world.deps))
    assert refund.state is RefundState.DEBITED
    assert await world.balance() == 0
    world.clock.advance(timedelta(minutes=1))
    await asyncio.gather(*(refunds.sweep_refunds(world.deps) for _ in range(3)))
    assert (await world.one("SELECT state FROM topup_refunds"))["state"] == "succeeded"
    assert [cmd for cmd, _ in world.standin.requests].count("voidPayment") == 1


@pytest.mark.parametrize("succeeded", [True, False])
@pytest.mark.parametrize("state", [RefundState.DEBITED, RefundState.SENT])
async def test_a_refund_under_way_is_not_decided_by_hand(world: World, state: RefundState, succeeded: bool) -> None:
    """Called failed while the provider is asked, the money would be paid out and returned."""
    topup = await paid(world)
    refund = await world.db.run(lambda conn: refunds.begin_refund(conn, wish(topup), world.deps))
    async with world.db.transaction() as conn:
        await conn.execute("UPDATE topup_refunds SET state = %s", (state.value,))
    with pytest.raises(refunds.RefundUnderWay):
        await refunds.resolve_refund(world.deps, refund.id, succeeded=succeeded, actor="operator-1")
    assert (await world.one("SELECT state FROM topup_refunds"))["state"] == state.value
    assert await world.balance() == 0


async def test_the_same_refund_asked_for_at_once(world: World) -> None:
    topup = await paid(world)
    await asyncio.gather(*(refunds.refund_topup(world.deps, wish(topup)) for _ in range(5)))
    assert await world.balance() == 0
    assert [cmd for cmd, _ in world.standin.requests].count("voidPayment") == 1
    assert (await world.one("SELECT count(*) AS n FROM topup_refunds"))["n"] == 1


async def test_unknown_topup(world: World) -> None:
    with pytest.raises(PaymentNotFound):
        await refunds.refund_topup(world.deps, RefundRequest(404, "request-1", "operator-1"))
    with pytest.raises(PaymentNotFound):
        await refunds.resolve_refund(world.deps, "none", succeeded=True, actor="operator-1")
