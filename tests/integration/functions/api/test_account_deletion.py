"""The end of an account: A6, P2."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from evpower.accounts import service as accounts
from evpower.accounts.models import LedgerType, Movement
from evpower.payments import checks
from evpower.payments.deps import payment_deps
from evpower.payments.queue import CheckMessage
from tests.integration.functions.api.conftest import CLIENT, OTHER, SERIAL, Api
from tests.integration.functions.api.login_world import PHONE, Phones

DELETE = "/api/v1/auth/delete-account"
TOPUP = "/api/v1/balance/topup-qr"


@pytest.fixture
def phones(api: Api) -> Phones:
    return Phones.of(api)


async def ledger(api: Api, client_id: str = CLIENT) -> list[tuple[str, Decimal]]:
    rows = await api.sql(
        "SELECT transaction_type, amount FROM payment_transactions_odengi WHERE client_id = %s ORDER BY id", client_id
    )
    return [(row["transaction_type"], row["amount"]) for row in rows]


async def belongings(api: Api) -> dict[str, int]:
    tables = {"user_favorites": "user_id", "devices": "client_id", "push_subscriptions": "user_id",
              "refresh_tokens": "client_id", "id_tags": "client_id"}  # fmt: skip
    return {table: await api.one(f"SELECT count(*) FROM {table} WHERE {column} = %s", CLIENT)
            for table, column in tables.items()}  # fmt: skip


async def test_everything_personal_goes_at_once_and_the_books_stay(phones: Phones) -> None:
    api = phones.api
    await api.sql("UPDATE clients SET phone = %s, email = 'a@example.com' WHERE id = %s", PHONE, CLIENT)
    login = await phones.login()
    for statement in (
        "INSERT INTO user_favorites (user_id, location_id) VALUES (%s, 'loc-1')",
        "INSERT INTO devices (client_id, fcm_token, platform) VALUES (%s, 'a', 'ios')",
        "INSERT INTO push_subscriptions (user_id, endpoint, p256dh_key, auth_key) VALUES (%s, 'e', 'p', 'k')",
        "INSERT INTO id_tags (client_id, id_tag) VALUES (%s, 'CARD-1')",
    ):
        await api.sql(statement, CLIENT)
    assert set((await belongings(api)).values()) == {1}
    status, answer = await phones.as_holder(login["access_token"], "POST", DELETE)
    assert (status, answer["success"]) == (200, True)
    assert answer["message"]
    assert set((await belongings(api)).values()) == {0}
    (row,) = await api.sql("SELECT * FROM clients WHERE id = %s", CLIENT)
    assert (row["phone"], row["email"], row["status"], row["anonymized"]) == (None, None, "deleted", True)
    assert row["name"] != "Test"
    assert row["deleted_at"] == row["delete_requested_at"] == api.deps.clock.now()
    assert await ledger(api) == [("opening_balance", 1000), ("unclaimed", -1000)]
    assert await api.balance() == 0
    assert await api.balance(OTHER) == 500
    assert await api.one("SELECT actor FROM audit_logs WHERE operation = 'account.delete'") == CLIENT
    # Neither token works any more, and a second wish is answered as every wish of a deleted account.
    await phones.fails("/api/v1/auth/refresh", {"refresh_token": login["refresh_token"]}, 401, "unauthorized")
    for method, path in (("GET", "/api/v1/auth/me"), ("POST", DELETE), ("GET", "/api/v1/balance/current")):
        status, body = await phones.as_holder(login["access_token"], method, path)
        assert (status, body["error_code"]) == (403, "client_deleted")


async def test_the_phone_may_come_back_as_somebody_new(phones: Phones) -> None:
    first = await phones.login()
    assert (await phones.as_holder(first["access_token"], "POST", DELETE))[0] == 200
    phones.wait(seconds=60)
    second = await phones.login()
    assert second["is_new_user"] is True
    assert second["user"]["id"] != first["user"]["id"]
    assert (second["user"]["phone"], second["user"]["balance"]) == (PHONE, 0)


async def test_not_while_charging(phones: Phones) -> None:
    api = phones.api
    session_id = (await api.start(amount_som=100))["session_id"]
    transaction = await api.charger_starts(session_id)
    answer = await api.fails("POST", DELETE, status=409, code="session_already_active")
    assert answer["session_id"] == session_id
    assert await api.one("SELECT status FROM clients WHERE id = %s", CLIENT) == "active"
    await api.charger_stops(transaction, 3000)
    await api.ok("POST", "/api/v1/account/delete-request")
    assert await api.balance() == 0
    assert await api.one("SELECT count(*) FROM charging_sessions WHERE user_id = %s", CLIENT) == 1


async def paid_late(api: Api, topup: dict[str, Any]) -> None:
    """The provider reports the payment, and the worker asks it."""
    api.standin.pay(topup["invoice_id"], force=True)
    row = await api.one("SELECT id FROM balance_topups WHERE order_id = %s", topup["order_id"])
    await api.sql("UPDATE balance_topups SET next_check_at = %s", api.deps.clock.now())
    worker = payment_deps(api.db, api.deps.settings, api.deps.clock)
    assert await checks.handle_message(worker, CheckMessage(topup_id=row)) == "approved"


async def test_money_that_comes_after_all_is_kept_as_unclaimed(phones: Phones) -> None:
    api = phones.api
    topup = await api.ok("POST", TOPUP, {"amount": 300})
    await api.ok("POST", DELETE)
    (row,) = await api.sql("SELECT status, status_reason, cancel_requested FROM balance_topups")
    assert (row["status"], row["status_reason"], row["cancel_requested"]) == ("canceled", "account_deleted", True)
    await api.sql("UPDATE balance_topups SET cancel_requested = false")
    await paid_late(api, topup)
    assert await ledger(api) == [
        ("opening_balance", 1000),
        ("unclaimed", -1000),
        ("balance_topup", 300),
        ("unclaimed", -300),
    ]
    assert await api.balance() == 0
    assert await api.one("SELECT paid_amount FROM balance_topups") == 300


async def test_a_truer_bill_after_the_deletion_leaves_nothing_on_the_balance(phones: Phones) -> None:
    api = phones.api
    await api.ok("POST", DELETE)
    refund = Movement(CLIENT, LedgerType.CHARGE_REFUND, Decimal("12.50"), "settle:s:2")
    for _ in range(2):
        async with api.db.transaction() as conn:
            entry = await accounts.move(conn, refund)
            assert entry.amount == Decimal("12.50")
    assert (await ledger(api))[-2:] == [("charge_refund", Decimal("12.50")), ("unclaimed", Decimal("-12.50"))]
    assert await api.balance() == 0
    # An operator's own correction stays: it is how unclaimed money is given back.
    async with api.db.transaction() as conn:
        await accounts.move(conn, Movement(CLIENT, LedgerType.MANUAL_ADJUSTMENT, Decimal(5), "manual:1"))
    assert await api.balance() == 5


@pytest.mark.parametrize("state", ["blocked", "inactive"])
async def test_a_blocked_client_cannot_start_over(phones: Phones, state: str) -> None:
    await phones.api.sql("UPDATE clients SET status = %s WHERE id = %s", state, CLIENT)
    await phones.api.fails("POST", DELETE, status=403, code="client_blocked")


async def test_staff_accounts_are_not_deleted_from_the_app(phones: Phones) -> None:
    await phones.add_staff(CLIENT)
    await phones.api.fails("POST", DELETE, status=403, code="forbidden")


async def test_nobody_deletes_without_an_account(phones: Phones) -> None:
    await phones.api.fails("POST", DELETE, client=None, status=401, code="unauthorized")
    await phones.api.fails("POST", DELETE, client="nobody", status=404, code="client_not_found")


async def test_deleting_and_starting_at_once(phones: Phones) -> None:
    api = phones.api
    start, delete = await asyncio.gather(
        api.call("POST", "/api/v1/charging/start", {"station_id": SERIAL, "connector_id": 1, "amount_som": 100}),
        api.call("POST", DELETE),
    )
    assert (start.status_code, delete.status_code) in ((200, 409), (403, 200))
    assert await api.balance() == (900 if start.status_code == 200 else 0)


async def test_deleting_twice_at_once_moves_the_money_once(phones: Phones) -> None:
    answers = await asyncio.gather(*(phones.api.call("POST", DELETE) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 403, 403]
    assert await ledger(phones.api) == [("opening_balance", 1000), ("unclaimed", -1000)]
