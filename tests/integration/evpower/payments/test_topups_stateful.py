"""Any order of top-ups, payments, lost and repeated callbacks, sweeps, cancels, refunds and outages.

After every step: balance = sum of the ledger = last balance, never negative, no payment booked twice. At the end, once
everybody has answered: every approved payment is booked, every refund is at the provider or back on the balance.
"""

import asyncio
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import SingleConnectionDatabase
from evpower.errors import EvPowerError
from evpower.payments import checks, flows, refunds, service
from evpower.payments.deps import PaymentDeps, payment_provider
from evpower.payments.models import NewTopUp, RefundRequest
from evpower.payments.provider import RawCallback
from infra.local.payment_standin import wire
from infra.local.payment_standin.server import PaymentStandin
from tests.integration.evpower.payments.conftest import CollectingQueue

pytestmark = [pytest.mark.property, pytest.mark.timeout(300)]
_numbers = itertools.count(1)
CLIENTS = st.integers(0, 1)
PICK = st.integers(0, 10**6)


class TopUps(RuleBasedStateMachine):
    """Two clients of a fresh id each; the machine's own books say what must be true."""

    make: Callable[..., Settings]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        number = next(_numbers)
        self.clients = [f"client-{number}-{letter}" for letter in "ab"]
        self.orders: dict[str, tuple[int, str, datetime]] = {}  # order -> top-up, client, created
        self.runner.run(self._open())

    async def _open(self) -> None:
        self.standin = PaymentStandin()
        await self.standin.start()
        values = self.make(
            odengi_api_url=self.standin.api_url,
            odengi_merchant_id=self.standin.merchant_id,
            odengi_password=self.standin.password,
        )
        self.db = SingleConnectionDatabase(values)
        self.queue = CollectingQueue()
        self.clock = FrozenClock(datetime.now(UTC))
        self.deps = PaymentDeps(self.db, payment_provider(values), self.queue, values, self.clock)
        hasty = payment_provider(values.model_copy(update={"provider_timeout_s": 0.2}))
        self.hasty = PaymentDeps(self.db, hasty, self.queue, values, self.clock)
        await self.db.run(
            lambda conn: conn.execute("INSERT INTO clients (id) SELECT unnest(%s::text[])", (self.clients,))
        )

    def go(self, work: Any) -> Any:
        """Run a flow; a refusal of the domain is a fine outcome."""
        try:
            return self.runner.run(work)
        except EvPowerError:
            return None

    def order(self, pick: int) -> str:
        return sorted(self.orders)[pick % len(self.orders)]

    @rule(client=CLIENTS, amount=st.integers(10, 1000), fault=st.sampled_from(["", "", "", "hang", "fail", "502"]))
    def top_up(self, client: int, amount: int, fault: str) -> None:
        behaviour = self.standin.behaviour
        behaviour.hang = ["createInvoice"] if fault == "hang" else []
        behaviour.fail = {"createInvoice": 26} if fault == "fail" else {}
        before, behaviour.http_status = behaviour.http_status, 502 if fault == "502" else behaviour.http_status
        deps = self.hasty if fault == "hang" else self.deps
        self.go(flows.create_topup(deps, NewTopUp(self.clients[client], Decimal(amount))))
        behaviour.hang, behaviour.fail, behaviour.http_status = [], {}, before
        for invoice in self.standin.books.invoices.values():
            if invoice.order_id not in self.orders:
                row = self.rows("SELECT id FROM balance_topups WHERE order_id = %s", invoice.order_id)[0]
                self.orders[invoice.order_id] = (row["id"], self.clients[client], self.clock.now())

    @precondition(lambda self: self.orders)
    @rule(pick=PICK, amount=st.none() | st.integers(1, 200_000), times=st.integers(1, 2), callbacks=st.integers(0, 3))
    def pay(self, pick: int, amount: int | None, times: int, callbacks: int) -> None:
        order = self.order(pick)
        young = self.clock.now() - self.orders[order][2] < timedelta(hours=20)
        invoice = self.standin.invoice_of(order)
        for payment in self.standin.pay(invoice.invoice_id, amount=amount, times=times, force=True):
            # A payment later than the last question is known by its callback alone.
            for _ in range(callbacks if young else max(callbacks, 1)):
                body, _type = wire.callback(invoice, payment, self.standin.merchant_id, self.standin.password)
                self.runner.run(self._receive(body))

    async def _receive(self, body: bytes) -> None:
        callback = self.deps.provider.parse_callback(RawCallback(body), self.clock.now())
        inbox_id, is_open = await self.db.run(
            lambda conn: service.store_callback(conn, "ODENGI", callback, self.clock.now())
        )
        if is_open:
            await self.queue.send(checks.CheckMessage(inbox_id=inbox_id))

    @rule(copies=st.integers(0, 2), backwards=st.booleans())
    def deliver_messages(self, copies: int, backwards: bool) -> None:
        messages = self.queue.take() * copies
        for message in reversed(messages) if backwards else messages:
            self.go(checks.handle_message(self.deps, message))

    @rule(seconds=st.sampled_from([1, 15, 46, 301, 700, 3600, 12 * 3600]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    @rule()
    def sweeps(self) -> None:
        self.go(checks.sweep_checks(self.deps))
        self.go(refunds.sweep_refunds(self.deps))
        self.go(checks.sweep_cleanup(self.deps))

    @rule(up=st.booleans())
    def provider_goes(self, up: bool) -> None:
        self.standin.behaviour.http_status = 200 if up else 503

    @precondition(lambda self: self.orders)
    @rule(pick=PICK)
    def client_checks(self, pick: int) -> None:
        order = self.order(pick)
        self.go(flows.check_payment(self.deps, self.orders[order][1], order_id=order))

    @precondition(lambda self: self.orders)
    @rule(pick=PICK)
    def client_cancels(self, pick: int) -> None:
        order = self.order(pick)
        self.go(flows.cancel_payment(self.deps, self.orders[order][1], order_id=order))

    @rule(client=CLIENTS, amount=st.integers(10, 1000))
    def top_up_and_pay(self, client: int, amount: int) -> None:
        """The plain case in one step, so that refunds have something to refund."""
        before, self.standin.behaviour.http_status = self.standin.behaviour.http_status, 200
        known = set(self.orders)
        self.top_up(client, amount, "")
        for order in set(self.orders) - known:
            self.standin.pay(self.standin.invoice_of(order).invoice_id, force=True)
            self.go(flows.check_payment(self.deps, self.clients[client], order_id=order))
        self.standin.behaviour.http_status = before

    @precondition(lambda self: self.orders)
    @rule(
        pick=PICK,
        amount=st.none() | st.integers(1, 500),
        key=st.integers(0, 5),
        fault=st.sampled_from(["", "fail", "502"]),
    )
    def operator_refunds(self, pick: int, amount: int | None, key: int, fault: str) -> None:
        order, behaviour = self.order(pick), self.standin.behaviour
        wanted = None if amount is None else Decimal(amount)
        behaviour.fail = {"voidPayment": 26, "refundPaymentToEwallet": 26} if fault == "fail" else {}
        # Without an answer the stand-in has executed the command, so at the end unknown means gone.
        before, behaviour.http_status = (
            behaviour.http_status,
            {"fail": 200, "502": 502}.get(fault, behaviour.http_status),
        )
        self.go(
            refunds.refund_topup(self.deps, RefundRequest(self.orders[order][0], f"{order}:{key}", "operator", wanted))
        )
        behaviour.fail, behaviour.http_status = {}, before

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        async def work() -> list[dict[str, Any]]:
            async with self.db.transaction() as conn:
                found: list[dict[str, Any]] = await (await conn.execute(query, values)).fetchall()
                return found

        return self.runner.run(work())

    @invariant()
    def balance_is_the_ledger(self) -> None:
        for row in self.rows(
            """SELECT c.balance, coalesce(sum(t.amount), 0) AS total,
                      coalesce((array_agg(t.balance_after ORDER BY t.id DESC))[1], 0) AS last
                 FROM clients c LEFT JOIN payment_transactions_odengi t ON t.client_id = c.id
                WHERE c.id = ANY(%s) GROUP BY c.id""",
            self.clients,
        ):
            assert row["balance"] == row["total"] == row["last"] >= 0

    @invariant()
    def nothing_is_booked_that_was_not_paid(self) -> None:
        paid = self._paid()
        for row in self.rows(
            """SELECT source_key, amount FROM payment_transactions_odengi
                WHERE client_id = ANY(%s) AND transaction_type = 'balance_topup'""",
            self.clients,
        ):
            assert paid[row["source_key"]] >= row["amount"] > 0

    def _paid(self) -> dict[str, Decimal]:
        return {
            f"topup:{invoice.order_id}:{payment.trans_id}": Decimal(payment.amount_old) / 100
            for invoice in self.standin.books.invoices.values()
            for payment in invoice.payments
        }

    def teardown(self) -> None:
        try:
            self.standin.behaviour.http_status = 200
            for hours in (0.02, 0.2, 1.1, 25, 26):
                self.clock.advance(timedelta(hours=hours))
                self.sweeps()
            self._everything_adds_up()
        finally:
            self.runner.run(self._close())
            self.runner.close()

    def _everything_adds_up(self) -> None:
        booked = self.rows(
            """SELECT source_key FROM payment_transactions_odengi
                WHERE client_id = ANY(%s) AND transaction_type = 'balance_topup'""",
            self.clients,
        )
        assert {row["source_key"] for row in booked} == set(self._paid())
        at_provider = sum(
            sum(payment.refunds) for invoice in self.standin.books.invoices.values() for payment in invoice.payments
        )
        states = self.rows(
            "SELECT state, sum(amount) AS total FROM topup_refunds WHERE client_id = ANY(%s) GROUP BY state",
            self.clients,
        )
        totals = {row["state"]: row["total"] for row in states}
        assert totals.keys() <= {"succeeded", "failed", "unknown"}
        gone = totals.get("succeeded", Decimal(0)) + totals.get("unknown", Decimal(0))
        assert gone * 100 == at_provider
        debited = self.rows(
            """SELECT coalesce(-sum(amount), 0) AS total FROM payment_transactions_odengi
                WHERE client_id = ANY(%s) AND transaction_type = 'topup_refund'""",
            self.clients,
        )
        assert debited[0]["total"] == gone

    async def _close(self) -> None:
        await self.deps.provider.close()  # type: ignore[attr-defined]
        await self.hasty.provider.close()  # type: ignore[attr-defined]
        await self.db.close()
        await self.standin.stop()


def test_top_ups_in_any_order(make_settings: Callable[..., Settings]) -> None:
    machine = type("Machine", (TopUps,), {"make": staticmethod(make_settings)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=15,
            derandomize=True,  # the same examples everywhere: a finding in CI is one that everybody can repeat
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
