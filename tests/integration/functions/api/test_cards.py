"""Cards and stored cards through the routes, with the bank's stand-in over mutual TLS (B2, B7, B8, Y2, Y4, Y8-Y11)."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evpower.payments import checks
from evpower.payments import service as payments
from tests.fakes.obank import Bank, bank
from tests.fakes.whole_database import whole_database
from tests.integration.functions.api.conftest import CLIENT, OTHER, Api

CARD = {
    "amount": 250,
    "card_pan": "4000000000000002",
    "card_name": "TEST HOLDER",
    "card_cvv": "737",
    "card_year": "31",
    "card_month": "09",
    "email": "payer@example.com",
    "phone_number": "996700000001",
}
TOKEN = {"amount": 100, "card_token": "stored-card-1", "email": "payer@example.com"}
CARD_ROUTES = (
    "/api/v1/balance/topup-card",
    "/api/v1/balance/h2h-payment",
    "/api/v1/payment/h2h-create",
    "/api/v1/payment/h2h-payment",
    "/api/balance/topup-card",
    "/api/balance/h2h-payment",
    "/api/payment/h2h-payment",
)
TOKEN_ROUTES = (
    "/api/v1/balance/token-payment",
    "/api/v1/payment/token-payment",
    "/api/v1/payment/token",
    "/api/v1/payment/create-token",
    "/api/balance/token-payment",
    "/api/payment/token-payment",
    "/api/payment/create-token",
)


@pytest.fixture
async def obank(tmp_path: Path) -> AsyncIterator[Bank]:
    async with bank(tmp_path) as running:
        yield running


@pytest.fixture
async def paying(make_api: Callable[..., Any], obank: Bank) -> AsyncIterator[Api]:
    """The API with the bank switched on, and two clients."""
    api: Api = await make_api(**obank.settings)
    await api.add_client(CLIENT)
    await api.add_client(OTHER)
    yield api
    await api.deps.payments.provider.close()  # type: ignore[attr-defined]


async def asked(api: Api, order_id: str) -> None:
    """The worker's question about one payment."""
    as_worker = replace(api.deps.payments, db=api.db)
    async with api.db.transaction() as conn:
        topup = await payments.get_payment(conn, CLIENT, order_id=order_id)
    await checks.check_topup(as_worker, topup)


# While it is off ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "ending"),
    [
        ({}, "not_available"),
        ({"payment_provider": "OBANK"}, "not_available"),
        ({"obank_enabled": True}, "not_supported"),
    ],
)
async def test_every_route_says_that_there_are_no_cards(
    make_api: Callable[..., Any], settings: dict[str, object], ending: str
) -> None:
    api: Api = await make_api(**settings)
    await api.add_client(CLIENT)
    for paths, code in ((CARD_ROUTES, f"h2h_{ending}"), (TOKEN_ROUTES, f"token_{ending}")):
        for path in paths:
            for body in (CARD, {}, None):
                answer = (await api.call("POST", path, body)).json()
                assert (answer["success"], answer["error_code"]) == (False, code), path
            refused = await api.call("POST", path, CARD, client=None)
            assert (refused.status_code, refused.json()["error_code"]) == (401, "unauthorized"), path
    for path in ("/api/v1/payment/h2h-status/1", "/api/payment/h2h-status/1"):
        assert (await api.call("GET", path)).json()["error_code"] == f"h2h_{ending}"
    assert await api.one("SELECT count(*) FROM balance_topups") == 0


# While it is on -----------------------------------------------------------------------------------------------------


async def test_a_card_payment_from_the_form_to_the_balance(paying: Api, obank: Bank) -> None:
    made = await paying.ok("POST", "/api/v1/balance/topup-card", {**CARD, "client_id": CLIENT})
    order_id = made["transaction_id"]
    assert made == {
        "success": True,
        "transaction_id": order_id,
        "auth_key": order_id,
        "order_id": order_id,
        "status": "pending",
        "message": "Подтвердите оплату на странице банка.",
        "amount": 250,
        "client_id": CLIENT,
        "current_balance": 0,
        "acs_url": "https://acs.example/3ds",
        "md": "md-1",
        "pa_req": "pareq-1",
        "term_url": "https://bank.example/term",
        "error": None,
    }
    waiting = await paying.ok("GET", f"/api/v1/payment/h2h-status/{order_id}")
    assert waiting == {
        "success": True,
        "transaction_id": order_id,
        "invoice_id": order_id,
        "status": "pending",
        "client_id": CLIENT,
        "amount": 250,
    }
    await paying.fails("GET", f"/api/v1/payment/h2h-status/{order_id}", client=OTHER, status=403, code="forbidden")
    await paying.fails("GET", "/api/v1/payment/h2h-status/1", status=404, code="payment_not_found")
    assert (await paying.ok("GET", f"/api/v1/payment/status/{order_id}"))["status"] == 0
    obank.standin.end(order_id)
    checked = await paying.ok("POST", "/api/v1/payment/check-status", {"order_id": order_id})
    assert (checked["status"], checked["paid_amount"]) == (1, 250)
    assert (await paying.ok("GET", f"/api/v1/payment/h2h-status/{order_id}"))["status"] == "approved"
    assert await paying.balance() == 250


@pytest.mark.parametrize("path", CARD_ROUTES[1:4])
async def test_the_other_names_of_a_card_payment(paying: Api, obank: Bank, path: str) -> None:
    obank.standin.behaviour.approve_at_once = True
    made = await paying.ok("POST", path, CARD)
    assert (made["status"], made["current_balance"]) == ("approved", 250)
    assert "acs_url" not in made
    assert await paying.balance() == 250


async def test_wrong_cards_are_refused_and_never_shown(paying: Api, obank: Bank) -> None:
    for wrong in (
        {"card_pan": "4000 0000 0000 0002"},
        {"card_pan": "40000000000"},
        {"card_pan": 4000000000000002},
        {"card_name": "lower case"},
        {"card_cvv": "73"},
        {"card_year": "2031"},
        {"card_month": "13"},
        {"email": "nobody"},
        {"email": "a\x01@example.com"},
        {"phone_number": "1"},
    ):
        (field,) = wrong
        body = {**CARD, **wrong}
        answer = await paying.fails("POST", CARD_ROUTES[0], body, status=422, code="validation_error")
        assert answer["field"] == field
        del answer["correlation_id"]
        shown = str(answer)
        assert not any(str(value) in shown for value in body.values() if len(str(value)) > 3)
    for amount, code in ((0, "invalid_amount"), (9, "minimum_amount_required"), (100001, "maximum_amount_exceeded")):
        await paying.fails("POST", CARD_ROUTES[0], {**CARD, "amount": amount}, status=422, code=code)
    await paying.fails("POST", CARD_ROUTES[0], {**CARD, "client_id": OTHER}, status=403, code="forbidden")
    assert obank.standin.questions == []


async def test_failures_of_the_bank(paying: Api, obank: Bank) -> None:
    obank.standin.behaviour.refuse = "no money"
    refused = await paying.fails("POST", CARD_ROUTES[0], CARD, status=502, code="h2h_payment_failed")
    assert (refused["provider_code"], refused["provider_message"]) == ("51", "no money")
    await paying.fails("POST", TOKEN_ROUTES[0], TOKEN, status=502, code="token_payment_failed")
    await paying.fails("POST", "/api/v1/payment/create-token", {}, status=502, code="token_creation_failed")
    obank.standin.behaviour.refuse = ""
    obank.standin.behaviour.http_status = 502
    lost = await paying.fails("POST", CARD_ROUTES[0], CARD, status=504, code="provider_timeout")
    pending = await paying.fails("POST", CARD_ROUTES[0], CARD, status=409, code="pending_payment_exists")
    assert pending["order_id"] == lost["order_id"]
    obank.standin.behaviour.http_status = 200
    await paying.ok("POST", f"/api/v1/payment/cancel/{lost['order_id']}")
    obank.standin.end(lost["order_id"])  # the card was charged all the same
    await asked(paying, lost["order_id"])
    assert await paying.balance() == 250


async def test_stored_cards(paying: Api, obank: Bank) -> None:
    page = {
        "success": True,
        "token_url": "https://bank.example/store/1",
        "token_expires_in_days": 14,
        "message": "Сохраните карту на странице банка.",
        "error": None,
    }
    assert await paying.ok("POST", "/api/v1/payment/create-token") == page
    assert await paying.ok("POST", "/api/v1/payment/token", {"days": 3}) == {**page, "token_expires_in_days": 3}
    await paying.fails("POST", "/api/v1/payment/token", {"days": 15}, status=422, code="validation_error")
    await paying.fails("POST", "/api/v1/payment/token", {"card_token": "t"}, status=422, code="validation_error")
    no_email = {"card_token": "t", "amount": 100}
    await paying.fails("POST", "/api/v1/payment/token", no_email, status=422, code="validation_error")
    obank.standin.behaviour.approve_at_once = True
    for count, path in enumerate(("/api/v1/balance/token-payment", *TOKEN_ROUTES[1:3]), 1):
        made = await paying.ok("POST", path, TOKEN)
        assert (made["status"], made["amount"]) == ("approved", 100)
        assert await paying.balance() == 100 * count


async def test_a_blocked_client_gets_no_page_and_no_payment(paying: Api) -> None:
    await paying.sql("UPDATE clients SET status = 'blocked' WHERE id = %s", CLIENT)
    await paying.fails("POST", "/api/v1/payment/create-token", {}, status=403, code="client_blocked")
    await paying.fails("POST", CARD_ROUTES[0], CARD, status=403, code="client_blocked")


async def test_cards_cannot_be_tried_quickly_under_any_name(
    make_api: Callable[..., Any], obank: Bank, paying: Api
) -> None:
    limited: Api = await make_api(**obank.settings, rate_limit_critical_per_minute=2)
    obank.standin.behaviour.refuse = "no"
    for path in (CARD_ROUTES[0], CARD_ROUTES[3]):
        await limited.fails("POST", path, CARD, status=502, code="h2h_payment_failed")
    for path in (*CARD_ROUTES, *TOKEN_ROUTES[:3], *TOKEN_ROUTES[4:6]):
        answer = (await limited.call("POST", path, {**CARD, "client_id": CLIENT})).json()
        assert answer["error_code"] == "rate_limit_exceeded", path
    await limited.deps.payments.provider.close()  # type: ignore[attr-defined]


# The legacy names ---------------------------------------------------------------------------------------------------


async def test_legacy_cards(paying: Api, obank: Bank) -> None:
    obank.standin.behaviour.approve_at_once = True
    without = await paying.call("POST", "/api/balance/topup-card", CARD)
    assert (without.status_code, without.json()["error"], without.json()["field"]) == (
        422,
        "validation_error",
        "client_id",
    )
    named = {**CARD, "client_id": CLIENT}
    for path in ("/api/balance/topup-card", "/api/balance/h2h-payment"):
        assert (await paying.ok("POST", path, named))["status"] == "approved"
    detailed = await paying.ok("POST", "/api/payment/h2h-payment", named)
    assert (detailed["payment_id"], detailed["final"]) == (detailed["transaction_id"], True)
    assert detailed["detail"] == {"amount": 250}
    status = await paying.ok("GET", f"/api/payment/h2h-status/{detailed['payment_id']}")
    assert (status["payment_id"], status["status"], status["final"]) == (detailed["payment_id"], "approved", True)
    assert await paying.balance() == 750


async def test_legacy_tokens(paying: Api, obank: Bank) -> None:
    obank.standin.behaviour.approve_at_once = True
    await paying.ok("POST", "/api/balance/token-payment", {**TOKEN, "client_id": CLIENT})
    query = f"client_id={CLIENT}&amount=100.50&card_token=stored-card-1"
    made = await paying.ok("POST", f"/api/payment/token-payment?{query}")
    assert (made["status"], made["amount"]) == ("approved", 100.5)
    foreign = await paying.call("POST", f"/api/payment/token-payment?client_id={OTHER}&amount=100&card_token=t")
    assert (foreign.status_code, foreign.json()["error"]) == (403, "forbidden")
    lacking = await paying.call("POST", "/api/payment/token-payment")
    assert {item["field"] for item in lacking.json()["fields"]} == {"client_id", "amount", "card_token"}
    noise = await paying.call("POST", f"/api/payment/token-payment?client_id={CLIENT}&amount=NaN&card_token=t")
    assert noise.status_code == 422
    for path, body, days in (
        ("/api/payment/create-token", {"days": 2}, 2),
        ("/api/payment/create-token?days=3", None, 3),
        ("/api/payment/create-token?days=3", {"days": 2}, 2),
        ("/api/payment/create-token?days=3", {}, 3),
        ("/api/payment/create-token", None, 14),
    ):
        assert (await paying.ok("POST", path, body))["token_expires_in_days"] == days
    assert await paying.balance() == 200.5


async def test_nothing_of_a_card_is_kept_or_logged(
    paying: Api, obank: Bank, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    key = {"Idempotency-Key": "one-payment"}
    first = await paying.ok("POST", CARD_ROUTES[0], CARD, headers=key)
    assert await paying.ok("POST", CARD_ROUTES[0], CARD, headers=key) == first  # a replay charges nothing
    assert len(obank.standin.payments) == 1
    await paying.fails("POST", CARD_ROUTES[0], {**CARD, "card_month": "13"}, status=422, code="validation_error")
    await paying.fails("POST", CARD_ROUTES[0], CARD, status=409, code="pending_payment_exists")
    obank.standin.end(first["order_id"])
    await asked(paying, first["order_id"])
    query = f"client_id={CLIENT}&amount=100&card_token=stored-card-1"
    await paying.ok("POST", f"/api/payment/token-payment?{query}")
    logged = caplog.text + "".join(str(record.__dict__) for record in caplog.records) + "".join(capfd.readouterr())
    # httpx here is the test's own client: it logs the address that it calls.
    logged = "\n".join(line for line in logged.splitlines() if "HTTP Request: " not in line)
    stored = await whole_database(paying.db)
    replays = await paying.deps.redis.run(lambda client: client.keys("evpower:idempotency:*"))
    values = await paying.deps.redis.run(lambda client: client.mget(replays))
    assert first["order_id"] in stored
    assert any(first["order_id"].encode() in value for value in values)  # the replay's answer
    for secret in (CARD["card_pan"], CARD["card_name"], CARD["phone_number"], "stored-card-1"):
        assert str(secret) not in stored
        assert str(secret) not in logged
        assert not any(str(secret).encode() in value for value in values)
