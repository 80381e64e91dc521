"""The OBANK client over real mutual TLS, and the top-up flow with it."""

import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import PooledDatabase
from evpower.errors import (
    H2HPaymentFailed,
    PendingPaymentExists,
    ProviderTimeout,
    ProviderUnavailable,
    TokenCreationFailed,
    TokenPaymentFailed,
)
from evpower.payments import cards, checks, service
from evpower.payments.cards import CardData, CardTopUp
from evpower.payments.deps import PaymentDeps, other_providers, payment_provider
from evpower.payments.models import NewTopUp
from evpower.payments.obank import ObankProvider
from evpower.payments.provider import CallbackRejected, Done, PaymentState, RawCallback, Refused, Unknown, Unreachable
from evpower.payments.queue import CheckMessage
from tests.fakes.certificates import Authority
from tests.fakes.obank import PASSWORD, Bank, bank
from tests.fakes.whole_database import whole_database
from tests.integration.evpower.payments.conftest import CollectingQueue, World

CARD = CardData(pan="4000000000000002", holder="TEST HOLDER", cvv="737", year="31", month="09", phone="996700000001")
EMAIL = "payer@example.com"


@pytest.fixture
async def obank(tmp_path: Path) -> AsyncIterator[Bank]:
    async with bank(tmp_path) as running:
        yield running


@pytest.fixture
def settings(obank: Bank, make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(**obank.settings)


def provider_of(settings: Settings, **changes: object) -> ObankProvider:
    provider = payment_provider(settings.model_copy(update=changes))
    assert isinstance(provider, ObankProvider)
    return provider


@pytest.fixture
async def paying(db: PooledDatabase, settings: Settings) -> AsyncIterator[World]:
    """The payment system with the bank as its provider, and one client."""
    provider, queue, clock = provider_of(settings), CollectingQueue(), FrozenClock(datetime.now(UTC))
    deps = PaymentDeps(db, provider, queue, settings, clock)
    world = World(db, deps, None, queue, clock)  # type: ignore[arg-type]
    await world.client()
    yield world
    await provider.close()


async def pay(world: World, amount: int = 500) -> CardTopUp:
    return await cards.pay_by_card(world.deps, NewTopUp("client-a", Decimal(amount)), EMAIL, CARD)


async def due_check(world: World, made: CardTopUp) -> str:
    """The queue's next question about the payment."""
    world.clock.advance(timedelta(seconds=15))
    return await checks.handle_message(world.deps, CheckMessage(topup_id=made.topup.id))


# The transport ----------------------------------------------------------------------------------------------------


async def test_the_bank_refuses_callers_without_a_certificate_of_its_authority(
    settings: Settings, tmp_path: Path, obank: Bank
) -> None:
    stranger = Authority.create(tmp_path / "stranger", "Stranger").client(PASSWORD)
    provider = provider_of(settings, obank_cert_path=str(stranger))
    # With TLS 1.3 the refusal arrives after the handshake, so it may look like a lost answer.
    assert isinstance(await provider.payment_status("1"), Unknown | Unreachable)
    assert obank.standin.questions == []
    await provider.close()


async def test_we_refuse_a_server_of_another_authority(settings: Settings, tmp_path: Path, obank: Bank) -> None:
    other = Authority.create(tmp_path / "other", "Other")
    provider = provider_of(settings, obank_ca_path=str(other.file))
    assert isinstance(await provider.payment_status("1"), Unreachable)
    assert obank.standin.questions == []
    await provider.close()


@pytest.mark.parametrize("broken", ["missing", "password", "noise"])
async def test_an_unusable_certificate_sends_nothing(settings: Settings, tmp_path: Path, broken: str) -> None:
    changes: dict[str, object] = {"obank_cert_path": str(tmp_path / "none.p12")}
    if broken == "password":
        secret = settings.model_copy().obank_cert_password.__class__("wrong")
        changes = {"obank_cert_password": secret}
    elif broken == "noise":
        (tmp_path / "noise.p12").write_bytes(b"noise")
        changes = {"obank_cert_path": str(tmp_path / "noise.p12")}
    assert isinstance(await provider_of(settings, **changes).payment_status("1"), Unreachable)


async def test_answers_that_say_nothing(settings: Settings, obank: Bank) -> None:
    provider = provider_of(settings)
    for body in (b"", b"<html/>", b'<response><result id="2" state="60" final="1"/></response>'):
        obank.standin.behaviour.answer = body
        assert isinstance(await provider.payment_status("1"), Unknown)
    obank.standin.behaviour.answer = None
    obank.standin.behaviour.http_status = 500
    assert isinstance(await provider.payment_status("1"), Unknown)
    await provider.close()
    silent = provider_of(settings, obank_timeout_s=0.3)
    obank.standin.behaviour.http_status, obank.standin.behaviour.hang = 200, frozenset({"status"})
    assert isinstance(await silent.payment_status("1"), Unknown)
    await silent.close()


async def test_the_bank_is_away(settings: Settings) -> None:
    provider = provider_of(settings, obank_api_url="https://127.0.0.1:9/external/extended-cert")
    assert isinstance(await provider.payment_status("1"), Unreachable)
    await provider.close()


async def test_what_is_not_documented_is_refused(settings: Settings, obank: Bank) -> None:
    provider = provider_of(settings)
    assert isinstance(await provider.cancel_invoice("1"), Refused)
    assert isinstance(await provider.refund("1", Decimal(1), full=True), Refused)
    assert not provider.already_paid(Refused("45", ""))
    assert obank.standin.questions == []


# The flow ---------------------------------------------------------------------------------------------------------


async def test_a_card_payment_with_three_d_secure_is_credited_once(paying: World, obank: Bank) -> None:
    made = await pay(paying)
    assert made.challenge.acs_url == "https://acs.example/3ds"
    assert (made.challenge.md, made.challenge.pa_req, made.challenge.term_url) == (
        "md-1",
        "pareq-1",
        "https://bank.example/term",
    )
    payment = obank.standin.payments[made.topup.order_id]
    assert payment.units == 50000
    assert payment.attributes | {"notify_url": ""} == {
        "amount_currency": "417",
        "notify_url": "",
        "redirect_url": "https://app.example/paid",
        "card_pan": CARD.pan,
        "card_name": CARD.holder,
        "card_cvv": CARD.cvv,
        "card_year": "31",
        "card_month": "09",
        "email": EMAIL,
        "phone_number": CARD.phone,
        "city": "BISHKEK",
        "country_code": "KGZ",
    }
    assert await due_check(paying, made) == "processing"
    assert await paying.balance() == 0
    obank.standin.end(made.topup.order_id)
    assert await due_check(paying, made) == "approved"
    for _ in range(3):
        await checks.check_topup(paying.deps, made.topup)
    assert await paying.balance() == 500
    row = await paying.one("SELECT source_key, amount FROM payment_transactions_odengi WHERE client_id = 'client-a'")
    assert row == {"source_key": f"topup:{made.topup.order_id}:{payment.trans}", "amount": Decimal(500)}


async def test_an_approval_in_the_answer_is_asked_for_before_it_counts(paying: World, obank: Bank) -> None:
    obank.standin.behaviour.approve_at_once = True
    made = await pay(paying)
    assert (made.topup.status, made.current_balance) == ("approved", 500)
    assert b"<status" in obank.standin.questions[-1]
    assert await paying.balance() == 500


async def test_the_amount_credited_is_the_banks(paying: World, obank: Bank) -> None:
    made = await pay(paying)
    obank.standin.payments[made.topup.order_id].units = 12345
    obank.standin.end(made.topup.order_id)
    assert await due_check(paying, made) == "approved"
    assert await paying.balance() == Decimal("123.45")


async def test_success_without_final_or_without_a_sum_moves_nothing(paying: World, obank: Bank) -> None:
    made = await pay(paying)
    obank.standin.payments[made.topup.order_id].state = "60"
    assert await due_check(paying, made) == "processing"
    obank.standin.end(made.topup.order_id)
    obank.standin.behaviour.show_sum = False
    assert await due_check(paying, made) == "processing"
    assert await paying.balance() == 0
    obank.standin.behaviour.show_sum = True
    assert await due_check(paying, made) == "approved"
    assert await paying.balance() == 500


async def test_a_refused_card(paying: World, obank: Bank) -> None:
    obank.standin.behaviour.refuse = f"declined {CARD.pan}"
    with pytest.raises(H2HPaymentFailed) as refused:
        await pay(paying)
    assert refused.value.details == {"provider_code": "51", "provider_message": "declined ****"}
    row = await paying.one("SELECT status, invoice_state, last_error, next_check_at FROM balance_topups")
    assert row == {
        "status": "failed",
        "invoice_state": "refused",
        "last_error": "51: declined ****",
        "next_check_at": None,
    }
    obank.standin.behaviour.refuse = ""
    made = await pay(paying)  # and a second try is free
    obank.standin.end(made.topup.order_id, "80")
    assert await due_check(paying, made) == "canceled"
    assert await paying.balance() == 0


async def test_a_lost_answer_is_found_by_the_next_question(paying: World, settings: Settings, obank: Bank) -> None:
    obank.standin.behaviour.hang = frozenset({"payment"})
    silent = provider_of(settings, obank_timeout_s=0.5)
    deps = PaymentDeps(paying.db, silent, paying.queue, settings, paying.clock)
    with pytest.raises(ProviderTimeout) as lost:
        await cards.pay_by_card(deps, NewTopUp("client-a", Decimal(500)), EMAIL, CARD)
    await silent.close()
    order_id = lost.value.details["order_id"]
    obank.standin.end(order_id)
    paying.clock.advance(timedelta(seconds=15))
    (message,) = paying.queue.take()
    assert await checks.handle_message(paying.deps, message) == "approved"
    assert await paying.balance() == 500


async def test_a_second_tap_does_not_charge_twice(paying: World, obank: Bank) -> None:
    made = await pay(paying)
    with pytest.raises(PendingPaymentExists) as pending:
        await pay(paying)
    assert pending.value.details == {"order_id": made.topup.order_id}
    assert len(obank.standin.payments) == 1


async def test_an_abandoned_payment_ends_and_its_late_money_is_credited(paying: World, obank: Bank) -> None:
    made = await pay(paying)
    paying.clock.advance(timedelta(seconds=paying.deps.settings.invoice_lifetime_s))
    assert await due_check(paying, made) == "expired"
    again = await pay(paying)
    obank.standin.end(made.topup.order_id)
    paying.clock.advance(timedelta(hours=2))
    assert (await checks.sweep_checks(paying.deps))["failures"] == 0
    assert await paying.balance() == 500
    assert await paying.status(made.topup.id) == "approved"
    assert await paying.status(again.topup.id) == "expired"


async def test_a_payment_that_never_left_is_closed_at_once(paying: World, settings: Settings) -> None:
    away = provider_of(settings, obank_api_url="https://127.0.0.1:9/external/extended-cert")
    deps = PaymentDeps(paying.db, away, paying.queue, settings, paying.clock)
    with pytest.raises(ProviderUnavailable):
        await cards.pay_by_card(deps, NewTopUp("client-a", Decimal(500)), EMAIL, CARD)
    await away.close()
    assert (await paying.one("SELECT status, next_check_at FROM balance_topups")) == {
        "status": "failed",
        "next_check_at": None,
    }


async def test_a_payment_of_a_process_that_died_before_the_call_is_given_up_after_a_day(
    paying: World, obank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    async def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(ObankProvider, "create_card_payment", die)
        with pytest.raises(Killed):
            await pay(paying)
    (message,) = paying.queue.take()
    paying.clock.advance(timedelta(seconds=15))
    assert await checks.handle_message(paying.deps, message) == "processing"
    paying.clock.advance(timedelta(hours=1))
    await checks.sweep_checks(paying.deps)
    assert (await paying.one("SELECT status FROM balance_topups"))["status"] == "expired"
    paying.clock.advance(timedelta(hours=24))
    await checks.sweep_checks(paying.deps)
    row = await paying.one("SELECT invoice_state, next_check_at, needs_status_check FROM balance_topups")
    assert row == {"invoice_state": "creating", "next_check_at": None, "needs_status_check": False}
    assert obank.standin.payments == {}


async def test_another_transaction_number_for_a_credited_payment_is_an_alarm(paying: World, obank: Bank) -> None:
    made = await pay(paying)
    obank.standin.end(made.topup.order_id)
    assert await due_check(paying, made) == "approved"
    obank.standin.payments[made.topup.order_id].trans = "7999999"
    await checks.check_topup(paying.deps, made.topup)
    assert await paying.balance() == 500


async def test_stored_cards(paying: World, obank: Bank) -> None:
    token = await cards.create_token(paying.deps, 14)
    assert (token.token_url, token.expires_in_days) == ("https://bank.example/store/1", 14)
    made = await cards.pay_by_token(paying.deps, NewTopUp("client-a", Decimal(100)), EMAIL, "stored-card-1")
    attributes = obank.standin.payments[made.topup.order_id].attributes
    assert attributes["card-token"] == "stored-card-1"
    assert not any(name.startswith("card_") for name in attributes)
    obank.standin.end(made.topup.order_id)
    assert await due_check(paying, made) == "approved"
    assert await paying.balance() == 100
    obank.standin.behaviour.refuse = "no"
    with pytest.raises(TokenCreationFailed):
        await cards.create_token(paying.deps, 1)
    with pytest.raises(TokenPaymentFailed):
        await cards.pay_by_token(paying.deps, NewTopUp("client-a", Decimal(100)), EMAIL, "stored-card-1")


async def test_thousandths(tmp_path: Path, db: PooledDatabase, make_settings: Callable[..., Settings]) -> None:
    async with bank(tmp_path, units_per_som=1000) as running:
        settings = make_settings(**running.settings)
        provider, queue, clock = provider_of(settings), CollectingQueue(), FrozenClock(datetime.now(UTC))
        deps = PaymentDeps(db, provider, queue, settings, clock)
        world = World(db, deps, None, queue, clock)  # type: ignore[arg-type]
        await world.client()
        running.standin.behaviour.approve_at_once = True
        made = await cards.pay_by_card(deps, NewTopUp("client-a", Decimal("10.05")), EMAIL, CARD)
        assert running.standin.payments[made.topup.order_id].units == 10050
        assert await world.balance() == Decimal("10.05")
        await provider.close()


# Notifications ----------------------------------------------------------------------------------------------------


async def test_a_notification_is_a_hint_that_is_asked_about(paying: World, obank: Bank) -> None:
    made = await pay(paying)
    provider = paying.deps.provider
    address = obank.standin.payments[made.topup.order_id].attributes["notify_url"]
    query = dict(parse_qsl(urlsplit(address).query))
    assert query["order_id"] == made.topup.order_id
    now = paying.clock.now()
    for forged in ({}, {**query, "order_id": "1"}, {**query, "signature": ""}, {**query, "signature": "é"}):
        with pytest.raises(CallbackRejected):
            provider.parse_callback(RawCallback(b"<paid/>", query=forged), now)

    async def arrive(body: bytes) -> str:
        callback = provider.parse_callback(RawCallback(body, query=query), now)
        async with paying.db.transaction() as conn:
            inbox_id, is_open = await service.store_callback(conn, "OBANK", callback, now)
        return await checks.handle_message(paying.deps, CheckMessage(inbox_id=inbox_id)) if is_open else "repeat"

    assert await arrive(b"<notify>paid</notify>") == "processed"
    assert await paying.balance() == 0  # whatever it said
    obank.standin.end(made.topup.order_id)
    assert await arrive(b"<notify>paid</notify>") == "repeat"
    assert await arrive(b"<notify>now really</notify>") == "processed"
    assert await paying.balance() == 500
    row = await paying.one("SELECT string_agg(payload::text, '') AS kept FROM payment_inbox")
    assert "really" not in row["kept"]


# Two providers ----------------------------------------------------------------------------------------------------


async def test_each_payment_is_asked_about_where_it_was_made(world: World, obank: Bank) -> None:
    """PAYMENT_PROVIDER is switched to the bank while a QR invoice is open, and back while a card payment is."""
    await world.client()
    qr = await world.topup(amount=200)
    changes = {name: value for name, value in obank.settings.items() if name != "payment_provider"}
    both = Settings.model_validate({**world.deps.settings.model_dump(), **changes})
    switched = both.model_copy(update={"payment_provider": "OBANK"})
    provider, others = payment_provider(switched), other_providers(switched)
    deps = PaymentDeps(world.db, provider, world.queue, switched, world.clock, others)
    world.standin.behaviour.callbacks = 0
    world.standin.pay(qr.topup.invoice_id or "")
    checked, _ = await checks.check_topup(deps, qr.topup)
    assert checked.credited == 200
    card = await cards.pay_by_card(deps, NewTopUp("client-a", Decimal(300)), EMAIL, CARD)
    obank.standin.end(card.topup.order_id)
    back = PaymentDeps(world.db, payment_provider(both), world.queue, both, world.clock, other_providers(both))
    checked, _ = await checks.check_topup(back, card.topup)
    assert checked.credited == 300
    assert await world.balance() == 500
    status = await provider.payment_status(card.topup.order_id)
    assert isinstance(status, Done)
    assert status.value.state is PaymentState.APPROVED
    for opened in (provider, *others.values(), back.provider, *back.others.values()):
        await opened.close()  # type: ignore[attr-defined]


async def test_nothing_of_a_card_is_kept_or_logged(
    paying: World, obank: Bank, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    obank.standin.behaviour.refuse = f"refused {CARD.pan}"
    with pytest.raises(H2HPaymentFailed):
        await pay(paying)
    obank.standin.behaviour.refuse = ""
    made = await pay(paying)
    obank.standin.end(made.topup.order_id)
    await due_check(paying, made)
    await cards.pay_by_token(paying.deps, NewTopUp("client-a", Decimal(100)), EMAIL, "stored-card-1")
    logged = caplog.text + "".join(str(record.__dict__) for record in caplog.records) + "".join(capfd.readouterr())
    stored = await whole_database(paying.db)
    assert made.topup.order_id in stored
    for secret in (CARD.pan, CARD.holder, "stored-card-1", CARD.phone):
        assert secret not in stored
        assert secret not in logged
    assert all(secret not in repr(CARD) for secret in (CARD.pan, CARD.cvv, CARD.holder))
