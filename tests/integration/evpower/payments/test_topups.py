"""Top-ups on real PostgreSQL against the stand-in over HTTP: create, callback, check, cancel, late money."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from evpower.errors import (
    ClientBlocked,
    ClientNotFound,
    InvalidAmount,
    MaximumAmountExceeded,
    MinimumAmountRequired,
    PaymentNotCancellable,
    PaymentNotFound,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
)
from evpower.payments import checks, flows
from evpower.payments.models import InvoiceState, NewTopUp, TopUpStatus, WireStatus
from evpower.payments.queue import CheckMessage
from evpower.payments.rules import payment_view, wire_status
from tests.integration.evpower.payments.conftest import World


async def test_callback_credits_the_paid_amount(world: World) -> None:
    await world.client()
    created = await world.topup(amount=500)
    topup = created.topup
    assert topup.invoice_id
    assert topup.qr_code_url is not None
    assert topup.qr_code_url.startswith(world.standin.base_url)
    assert created.current_balance == 0
    assert topup.qr_expires_at == topup.invoice_expires_at == world.clock.now() + timedelta(minutes=5)
    world.queue.take()

    world.standin.pay(topup.invoice_id)
    await world.standin.settle()
    assert world.standin.callback_statuses == [200]
    assert await world.balance() == 0, "a signed callback alone moves no money"
    [message] = world.queue.take()
    assert await checks.handle_message(world.deps, message) == "processed"
    assert await world.balance() == 500
    stored = await flows.get_payment(world.deps, "client-a", invoice_id=topup.invoice_id)
    assert (stored.status, stored.paid_amount) == (TopUpStatus.APPROVED, Decimal(500))
    entry = await world.one("SELECT source_key FROM payment_transactions_odengi WHERE balance_topup_id = %s", topup.id)
    trans_id = world.standin.invoice_of(topup.order_id).payments[0].trans_id
    assert entry["source_key"] == f"topup:{topup.order_id}:{trans_id}"


@pytest.mark.parametrize("form", ["json", "xml", "form"])
async def test_callbacks_in_every_format(world: World, form: str) -> None:
    await world.client()
    topup = (await world.topup()).topup
    world.queue.take()
    world.standin.behaviour.callback_format = form
    world.standin.pay(topup.invoice_id or "")
    await world.standin.settle()
    for message in world.queue.take():
        await checks.handle_message(world.deps, message)
    assert await world.balance() == 500


async def test_wrong_hash_stores_nothing_but_an_audit_row(world: World) -> None:
    await world.client()
    topup = (await world.topup()).topup
    world.queue.take()
    world.standin.behaviour.callback_wrong_hash = True
    world.standin.pay(topup.invoice_id or "")
    await world.standin.settle()
    assert world.standin.callback_statuses == [401]
    assert '"error_code": "unauthorized"' in world.callback_answers[0]["body"]
    assert (await world.one("SELECT count(*) AS n FROM payment_inbox"))["n"] == 0
    assert world.queue.take() == []
    audit = await world.one("SELECT operation, status, client_ip FROM audit_logs")
    assert audit == {"operation": "payment_webhook", "status": 401, "client_ip": "192.0.2.7"}


async def test_amount_credited_is_the_payment_s_amount(world: World) -> None:
    await world.client()
    topup = (await world.topup(amount=500)).topup
    world.standin.pay(topup.invoice_id or "", amount=12_345)
    checked = await flows.check_payment(world.deps, "client-a", invoice_id=topup.invoice_id or "")
    assert checked.paid_amount == Decimal("123.45")
    assert await world.balance() == Decimal("123.45")


async def test_every_payment_of_one_order_is_credited_once(world: World) -> None:
    await world.client()
    topup = (await world.topup(amount=100)).topup
    world.standin.pay(topup.invoice_id or "")
    await world.standin.settle()
    for message in world.queue.take():
        await checks.handle_message(world.deps, message)
    assert await world.balance() == 100
    world.standin.pay(topup.invoice_id or "", force=True)
    await world.standin.settle()
    for message in world.queue.take():
        await checks.handle_message(world.deps, message)
    assert await world.balance() == 200
    assert (await flows.get_payment(world.deps, "client-a", order_id=topup.order_id)).paid_amount == 200


async def test_callbacks_sweeps_and_routes_race_for_one_credit(world: World) -> None:
    await world.client()
    topup = (await world.topup(amount=250)).topup
    world.queue.take()
    world.standin.behaviour.callbacks = 4
    world.standin.pay(topup.invoice_id or "")
    await world.standin.settle()
    inbox = world.queue.take()
    assert len(inbox) == 4
    world.clock.advance(timedelta(seconds=20))  # the top-up is due as well
    await asyncio.gather(
        *(checks.handle_message(world.deps, message) for message in inbox),
        *(checks.handle_message(world.deps, CheckMessage(topup_id=topup.id)) for _ in range(3)),
        *(checks.sweep_checks(world.deps) for _ in range(3)),
        *(flows.check_payment(world.deps, "client-a", order_id=topup.order_id) for _ in range(3)),
    )
    assert await world.balance() == 250
    assert await world.status(topup.id) == "approved"
    assert (await world.one("SELECT paid_amount FROM balance_topups"))["paid_amount"] == 250


async def test_new_topup_supersedes_the_unpaid_one(world: World) -> None:
    await world.client()
    first = (await world.topup(amount=100)).topup
    second = (await world.topup(amount=200)).topup
    assert await world.status(first.id) == "canceled"
    for message in world.queue.take():
        await checks.handle_message(world.deps, message)
    assert world.standin.invoice_of(first.order_id).canceled
    assert not world.standin.invoice_of(second.order_id).canceled
    assert not (await world.one("SELECT cancel_requested FROM balance_topups WHERE id = %s", first.id))[
        "cancel_requested"
    ]


async def test_superseded_but_paid_is_credited_by_the_cancel_s_answer(world: World) -> None:
    """The payer was faster than our invoiceCancel: error 45, then the status, then the money."""
    await world.client()
    first = (await world.topup(amount=100)).topup
    world.standin.behaviour.callbacks = 0
    world.standin.pay(first.invoice_id or "")
    await world.topup(amount=200)
    for message in world.queue.take():
        await checks.handle_message(world.deps, message)
    assert await world.balance() == 100
    assert await world.status(first.id) == "approved"


async def test_expired_then_paid_is_credited(world: World) -> None:
    await world.client()
    topup = (await world.topup(amount=300)).topup
    world.clock.advance(timedelta(minutes=5, seconds=1))
    await checks.sweep_checks(world.deps)
    assert await world.status(topup.id) == "expired"
    stored = await flows.get_payment(world.deps, "client-a", order_id=topup.order_id)
    view = payment_view(stored, world.clock.now(), world.deps.settings)
    assert (view.status, view.invoice_expired) == (WireStatus.CANCELED, True)
    world.standin.pay(topup.invoice_id or "", force=True)
    await world.standin.settle()
    for message in world.queue.take():
        await checks.handle_message(world.deps, message)
    assert await world.balance() == 300
    assert await world.status(topup.id) == "approved"


@pytest.mark.parametrize("age", [timedelta(hours=1), timedelta(hours=24)])
async def test_canceled_is_asked_once_more_at_1_h_and_24_h(world: World, age: timedelta) -> None:
    await world.client()
    topup = (await world.topup(amount=300)).topup
    canceled = await flows.cancel_payment(world.deps, "client-a", invoice_id=topup.invoice_id or "")
    assert canceled.status is TopUpStatus.CANCELED
    assert world.standin.invoice_of(topup.order_id).canceled
    world.clock.advance(timedelta(minutes=20))
    await checks.sweep_checks(world.deps)
    world.standin.behaviour.callbacks = 0
    if age > timedelta(hours=1):
        world.clock.advance(timedelta(hours=1))
        await checks.sweep_checks(world.deps)
    world.standin.pay(topup.invoice_id or "", force=True)
    assert await world.balance() == 0
    world.clock.advance(age)
    await checks.sweep_checks(world.deps)
    assert await world.balance() == 300


async def test_questions_end_after_24_h(world: World) -> None:
    await world.client()
    topup = (await world.topup()).topup
    asked = []
    for minutes in (1, 6, 12, 70, 25 * 60, 50 * 60):
        world.clock.advance(timedelta(minutes=minutes))
        before = len(world.standin.requests)
        await checks.sweep_checks(world.deps)
        asked.append(len(world.standin.requests) - before)
    assert asked == [1, 1, 1, 1, 1, 0]
    row = await world.one("SELECT needs_status_check, late_check_count FROM balance_topups WHERE id = %s", topup.id)
    assert row == {"needs_status_check": False, "late_check_count": 2}


async def test_cancel_of_a_paid_invoice_credits_and_refuses(world: World) -> None:
    await world.client()
    topup = (await world.topup(amount=100)).topup
    world.standin.behaviour.callbacks = 0
    world.standin.pay(topup.invoice_id or "")
    with pytest.raises(PaymentNotCancellable):
        await flows.cancel_payment(world.deps, "client-a", invoice_id=topup.invoice_id or "")
    assert await world.balance() == 100
    with pytest.raises(PaymentNotCancellable):
        await flows.cancel_payment(world.deps, "client-a", invoice_id=topup.invoice_id or "")


async def test_cancel_without_an_answer_is_repeated_by_the_worker(world: World) -> None:
    await world.client()
    topup = (await world.topup(amount=100)).topup
    world.queue.take()
    world.standin.behaviour.http_status = 503
    canceled = await flows.cancel_payment(world.deps, "client-a", invoice_id=topup.invoice_id or "")
    assert canceled.status is TopUpStatus.CANCELED
    assert canceled.cancel_requested
    world.standin.behaviour.http_status = 200
    world.standin.behaviour.fail = {"statusPayment": 26}
    world.clock.advance(timedelta(seconds=15))
    for message in world.queue.take():
        await checks.handle_message(world.deps, message)
    assert world.standin.invoice_of(topup.order_id).canceled


async def test_refused_invoice(world: World) -> None:
    await world.client()
    world.standin.behaviour.fail = {"createInvoice": 26}
    with pytest.raises(ProviderError) as caught:
        await world.topup()
    assert caught.value.details == {"provider_code": "26", "provider_message": "refused by control"}
    row = await world.one("SELECT status, invoice_state, needs_status_check FROM balance_topups")
    assert row == {"status": "failed", "invoice_state": "refused", "needs_status_check": False}
    world.standin.behaviour.fail = {}
    assert (await world.topup()).topup.status is TopUpStatus.PROCESSING


async def test_invoice_without_an_answer_is_asked_for_by_our_order_id(world: World) -> None:
    await world.client()
    world.standin.behaviour.hang = ["createInvoice"]
    # Long enough for the request to arrive on any machine: it is the answer that never comes.
    with pytest.raises(ProviderTimeout):
        await flows.create_topup(world.with_provider(provider_timeout_s=3), NewTopUp("client-a", Decimal(70)))
    row = await world.one("SELECT id, order_id, invoice_id, invoice_state, status FROM balance_topups")
    assert (row["invoice_id"], row["invoice_state"], row["status"]) == (None, "unknown", "processing")
    invoice = world.standin.invoice_of(row["order_id"])
    world.standin.behaviour.callbacks = 0
    world.standin.pay(invoice.invoice_id)
    world.clock.advance(timedelta(seconds=15))
    await checks.sweep_checks(world.deps)
    assert await world.balance() == 70


async def test_provider_that_cannot_be_reached(world: World) -> None:
    await world.client()
    with pytest.raises(ProviderUnavailable):
        await flows.create_topup(
            world.with_provider(odengi_api_url="http://127.0.0.1:9/api"), NewTopUp("client-a", Decimal(70))
        )
    assert (await world.one("SELECT status FROM balance_topups"))["status"] == "failed"


async def test_check_that_is_not_answered_is_an_error_and_is_repeated(world: World) -> None:
    await world.client()
    topup = (await world.topup(amount=100)).topup
    world.standin.behaviour.http_status = 502
    with pytest.raises(ProviderTimeout):
        await flows.check_payment(world.deps, "client-a", invoice_id=topup.invoice_id or "")
    world.standin.behaviour.http_status = 200
    world.standin.behaviour.callbacks = 0
    world.standin.pay(topup.invoice_id or "")
    world.clock.advance(timedelta(seconds=15))
    await checks.sweep_checks(world.deps)
    assert await world.balance() == 100


async def test_signed_callback_for_an_unknown_order_is_kept(world: World) -> None:
    await world.client()
    topup = (await world.topup()).topup
    world.queue.take()
    world.standin.invoice_of(topup.order_id).order_id = "evp-nobody"
    world.standin.pay(topup.invoice_id or "")
    await world.standin.settle()
    [message] = world.queue.take()
    assert await checks.handle_message(world.deps, message) == "unknown_order"
    row = await world.one("SELECT state, order_id, payload FROM payment_inbox")
    assert (row["state"], row["order_id"]) == ("unknown_order", "evp-nobody")
    assert not {"mobile", "fname", "lname", "email"} & row["payload"].keys()
    assert await world.balance() == 0


async def test_callback_faster_than_the_provider_s_own_status(world: World) -> None:
    await world.client()
    topup = (await world.topup()).topup
    world.queue.take()
    world.standin.pay(topup.invoice_id or "")
    await world.standin.settle()
    payment = world.standin.invoice_of(topup.order_id).payments[0]
    payment.status = "waitingauthcomplete"
    [message] = world.queue.take()
    assert await checks.handle_message(world.deps, message) == "postponed"
    payment.status = "approved"
    world.clock.advance(timedelta(seconds=16))
    await checks.sweep_checks(world.deps)
    assert await world.balance() == 500
    assert (await world.one("SELECT state FROM payment_inbox"))["state"] == "processed"


async def test_repeated_message_does_not_multiply(world: World) -> None:
    await world.client()
    topup = (await world.topup()).topup
    world.queue.take()
    world.clock.advance(timedelta(seconds=15))
    message = CheckMessage(topup_id=topup.id)
    results = [await checks.handle_message(world.deps, message) for _ in range(3)]
    assert results == ["processing", "not_due", "not_due"]
    assert world.queue.messages == [(CheckMessage(topup_id=topup.id), timedelta(seconds=15))]


async def test_test_payments_in_production(world: World) -> None:
    await world.client()
    topup = (await world.topup()).topup
    world.standin.invoice_of(topup.order_id).test = 1
    world.standin.behaviour.callbacks = 0
    world.standin.pay(topup.invoice_id or "")
    production = world.with_provider(environment="production")
    await flows.check_payment(production, "client-a", order_id=topup.order_id)
    assert await world.balance() == 0
    await flows.check_payment(world.deps, "client-a", order_id=topup.order_id)
    assert await world.balance() == 500


async def test_refused_wishes(world: World) -> None:
    await world.client()
    for amount, error in (
        (Decimal(9), MinimumAmountRequired),
        (Decimal(100_001), MaximumAmountExceeded),
        (Decimal("10.001"), InvalidAmount),
        (Decimal("NaN"), InvalidAmount),
        (Decimal(-5), InvalidAmount),
    ):
        with pytest.raises(error):
            await flows.create_topup(world.deps, NewTopUp("client-a", amount))
    with pytest.raises(ClientNotFound):
        await world.topup("nobody")
    async with world.db.transaction() as conn:
        await conn.execute("UPDATE clients SET status = 'blocked'")
    with pytest.raises(ClientBlocked):
        await world.topup()
    assert world.standin.requests == []


async def test_only_the_owner_reads(world: World) -> None:
    await world.client()
    await world.client("client-b")
    topup = (await world.topup()).topup
    claims = {"sub": "client-b", "role": "authenticated"}
    with pytest.raises(PaymentNotFound):
        await flows.get_payment(world.deps, "client-b", invoice_id="no-such")
    with pytest.raises(Exception, match="forbidden"):
        await flows.get_payment(world.deps, "client-b", invoice_id=topup.invoice_id or "", claims=claims)
    by_order = await flows.get_payment(world.deps, "client-a", invoice_id=topup.order_id)
    assert by_order.id == topup.id
    assert wire_status(by_order) is WireStatus.PROCESSING
    assert by_order.invoice_state is InvoiceState.CREATED


async def test_queue_down_is_no_reason_to_lose_a_payment(world: World) -> None:
    await world.client()
    world.queue.down = True
    topup = (await world.topup()).topup
    world.standin.pay(topup.invoice_id or "")
    await world.standin.settle()
    assert world.standin.callback_statuses == [200]
    world.clock.advance(timedelta(seconds=31))
    counts = await checks.sweep_checks(world.deps)
    assert counts["callbacks"] == 1
    assert await world.balance() == 500


async def test_cleanup_closes_what_nobody_answered_for(world: World) -> None:
    await world.client()
    topup = (await world.topup()).topup
    world.clock.advance(timedelta(minutes=11))
    assert (await checks.sweep_cleanup(world.deps))["expired"] == 1
    assert await world.status(topup.id) == "expired"
    world.standin.pay(topup.invoice_id or "", force=True)
    await world.standin.settle()
    for message in world.queue.take():
        await checks.handle_message(world.deps, message)
    assert await world.balance() == 500


async def test_second_payment_whose_callback_is_lost(world: World) -> None:
    await world.client()
    topup = (await world.topup(amount=100)).topup
    world.standin.behaviour.callbacks = 0
    world.standin.pay(topup.invoice_id or "")
    await flows.check_payment(world.deps, "client-a", order_id=topup.order_id)
    world.standin.pay(topup.invoice_id or "", force=True)
    world.clock.advance(timedelta(minutes=10, seconds=1))
    await checks.sweep_checks(world.deps)
    assert await world.balance() == 200


async def test_two_topups_of_one_client_at_once(world: World) -> None:
    """Impatient taps: one stays payable, the others are cancelled at the provider, and everybody's money counts."""
    await world.client()
    made = await asyncio.gather(*(world.topup(amount=100) for _ in range(4)))
    assert len({created.topup.order_id for created in made}) == 4
    live = await world.one(
        "SELECT count(*) AS n, min(order_id) AS order_id FROM balance_topups WHERE status = 'processing'"
    )
    assert live["n"] == 1
    world.clock.advance(timedelta(seconds=15))
    await checks.sweep_checks(world.deps)
    canceled = {
        order for order in (created.topup.order_id for created in made) if world.standin.invoice_of(order).canceled
    }
    assert canceled == {created.topup.order_id for created in made} - {live["order_id"]}
    for created in made:
        world.standin.pay(created.topup.invoice_id or "", force=True)
    await world.standin.settle()
    for message in world.queue.take():
        await checks.handle_message(world.deps, message)
    assert await world.balance() == 400


async def test_provider_down_over_the_end_of_an_invoice(world: World) -> None:
    """The client is not left waiting for ever, and the money is found when the provider is back."""
    await world.client()
    topup = (await world.topup(amount=100)).topup
    world.standin.behaviour.callbacks = 0
    world.standin.pay(topup.invoice_id or "")
    world.standin.behaviour.http_status = 503
    world.clock.advance(timedelta(minutes=6))
    await checks.sweep_checks(world.deps)
    assert await world.status(topup.id) == "processing"
    world.clock.advance(timedelta(minutes=5))
    await checks.sweep_checks(world.deps)
    assert await world.status(topup.id) == "expired"
    world.clock.advance(timedelta(days=3))
    await checks.sweep_checks(world.deps)
    world.standin.behaviour.http_status = 200
    world.clock.advance(timedelta(hours=1))
    await checks.sweep_checks(world.deps)
    assert await world.balance() == 100
