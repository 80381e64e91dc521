"""The flows of the routes under the API's limited role, with the caller's claims (row level security)."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from evpower.balance import service as balance
from evpower.config import Settings
from evpower.db import Claims, SingleConnectionDatabase
from evpower.errors import ClientNotFound, PaymentNotFound
from evpower.payments import flows
from evpower.payments.deps import PaymentDeps
from evpower.payments.models import NewTopUp, TopUpStatus
from tests.integration.evpower.payments.conftest import World

A: Claims = {"sub": "client-a", "role": "authenticated"}
B: Claims = {"sub": "client-b", "role": "authenticated"}


@pytest.fixture
async def api(world: World, make_settings: Callable[..., Settings]) -> AsyncIterator[PaymentDeps]:
    database = SingleConnectionDatabase(make_settings(database_role="evpower_api"))
    yield PaymentDeps(database, world.deps.provider, world.queue, world.deps.settings, world.clock)
    await database.close()


async def test_top_up_check_cancel_and_read_as_the_client(world: World, api: PaymentDeps) -> None:
    await world.client("client-a", balance=30)
    await world.client("client-b")
    first = (await flows.create_topup(api, NewTopUp("client-a", Decimal(100)), A)).topup
    world.standin.behaviour.callbacks = 0
    world.standin.pay(first.invoice_id or "")
    paid = await flows.check_payment(api, "client-a", invoice_id=first.invoice_id or "", claims=A)
    assert paid.status is TopUpStatus.APPROVED
    assert await world.balance() == 130
    world.clock.current = datetime.now(UTC)  # the ledger has the database's time
    second = (await flows.create_topup(api, NewTopUp("client-a", Decimal(200)), A)).topup
    assert (await flows.cancel_payment(api, "client-a", order_id=second.order_id, claims=A)).status == "canceled"

    now = await api.db.run(lambda conn: balance.current(conn, "client-a"), claims=A)
    assert (now.balance, now.total_spent, now.currency) == (Decimal(130), 0, "KGS")
    assert now.last_topup_at is not None
    page = await api.db.run(lambda conn: balance.history(conn, "client-a", limit=2), claims=A)
    assert page.total == 3
    assert [(item.transaction_type, item.status, item.amount) for item in page.items] == [
        ("balance_topup", "canceled", Decimal(0)),
        ("balance_topup", "approved", Decimal(100)),
    ]
    rest = await api.db.run(lambda conn: balance.history(conn, "client-a", limit=2, offset=2), claims=A)
    assert [(item.transaction_type, item.balance_after) for item in rest.items] == [("opening_balance", Decimal(30))]
    assert {item.invoice_id for item in page.items} == {first.invoice_id, second.invoice_id}


async def test_another_client_sees_nothing(world: World, api: PaymentDeps) -> None:
    await world.client("client-a", balance=30)
    await world.client("client-b")
    topup = (await flows.create_topup(api, NewTopUp("client-a", Decimal(100)), A)).topup
    for flow in (flows.get_payment, flows.check_payment, flows.cancel_payment):
        with pytest.raises(PaymentNotFound):
            await flow(api, "client-b", invoice_id=topup.invoice_id or "", claims=B)
    with pytest.raises(ClientNotFound):
        await api.db.run(lambda conn: balance.current(conn, "client-a"), claims=B)
    page = await api.db.run(lambda conn: balance.history(conn, "client-a"), claims=B)
    assert (page.total, page.items) == (0, ())
    with pytest.raises(ClientNotFound):
        await flows.create_topup(api, NewTopUp("client-a", Decimal(100)), B)
