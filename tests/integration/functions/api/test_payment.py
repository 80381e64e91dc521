"""Payments: Y3, Y5-Y7, Y12 and the card routes that are paused."""

from datetime import timedelta
from typing import Any

from tests.integration.functions.api.conftest import OTHER, Api

REQUIRED = {
    "success",
    "status",
    "status_text",
    "amount",
    "paid_amount",
    "order_id",
    "invoice_id",
    "can_proceed",
    "can_start_charging",
    "qr_expired",
    "invoice_expired",
    "qr_expires_at",
    "invoice_expires_at",
    "last_status_check_at",
    "needs_callback_check",
    "error",
}


async def topup(api: Api, amount: int = 500) -> dict[str, Any]:
    return await api.ok("POST", "/api/v1/balance/topup-qr", {"amount": amount})


async def test_a_waiting_payment_by_every_selector(api: Api) -> None:
    made = await topup(api)
    answer = await api.ok("GET", f"/api/v1/payment/status/{made['invoice_id']}")
    assert set(answer) == REQUIRED
    assert (answer["success"], answer["status"], answer["amount"], answer["paid_amount"]) == (True, 0, 500, None)
    assert (answer["qr_expired"], answer["invoice_expired"], answer["can_proceed"]) == (False, False, False)
    assert answer["qr_expires_at"].endswith("Z")
    for selector in (
        f"/api/v1/payment/status?invoice_id={made['invoice_id']}",
        f"/api/v1/payment/status?order_id={made['order_id']}",
        f"/api/v1/payment/status/{made['order_id']}",
    ):
        assert await api.ok("GET", selector) == answer


async def test_a_check_credits_what_was_paid_once(api: Api) -> None:
    made = await topup(api)
    api.standin.behaviour.callbacks = 0
    api.standin.pay(made["invoice_id"])
    for _ in range(2):
        answer = await api.ok("POST", "/api/v1/payment/check-status", {"invoice_id": made["invoice_id"]})
        assert (answer["status"], answer["paid_amount"], answer["can_start_charging"]) == (1, 500, True)
    assert await api.balance() == 1500
    balance = await api.ok("GET", "/api/v1/balance/current")
    assert (balance["balance"], balance["last_topup_at"][-1]) == (1500, "Z")
    history = await api.ok("GET", "/api/v1/balance/history")
    assert history["data"][0]["transaction_type"] == "balance_topup"
    assert history["data"][0]["invoice_id"] == made["invoice_id"]
    await api.fails(
        "POST",
        f"/api/v1/payment/status-check/{made['invoice_id']}",
        status=409,
        code="payment_not_processing",
    )


async def test_reading_the_status_changes_nothing(api: Api) -> None:
    made = await topup(api)
    api.standin.behaviour.callbacks = 0
    api.standin.pay(made["invoice_id"])
    answer = await api.ok("GET", f"/api/v1/payment/status/{made['invoice_id']}")
    assert answer["status"] == 0
    assert await api.balance() == 1000


async def test_status_check_of_a_waiting_payment(api: Api) -> None:
    made = await topup(api)
    answer = await api.ok("POST", f"/api/v1/payment/status-check/{made['invoice_id']}")
    assert (answer["success"], answer["invoice_id"]) == (True, made["invoice_id"])
    assert answer["message"]


async def test_cancel_and_its_repetition(api: Api) -> None:
    made = await topup(api)
    path = f"/api/v1/payment/cancel/{made['invoice_id']}"
    answer = await api.ok("POST", path)
    assert (answer["status"], answer["invoice_id"]) == ("canceled", made["invoice_id"])
    status = await api.ok("GET", f"/api/v1/payment/status/{made['invoice_id']}")
    assert status["status"] == 2
    await api.fails("POST", path, status=409, code="payment_not_cancellable")


async def test_a_payment_that_was_paid_meanwhile_is_credited_not_cancelled(api: Api) -> None:
    made = await topup(api)
    api.standin.behaviour.callbacks = 0
    api.standin.pay(made["invoice_id"])
    await api.fails("POST", f"/api/v1/payment/cancel/{made['invoice_id']}", status=409, code="payment_not_cancellable")
    assert await api.balance() == 1500


async def test_an_expired_invoice_is_shown_as_expired(api: Api) -> None:
    made = await topup(api)
    api.deps.clock.advance(timedelta(minutes=11))  # type: ignore[attr-defined]
    answer = await api.ok("GET", f"/api/v1/payment/status/{made['invoice_id']}")
    assert (answer["qr_expired"], answer["invoice_expired"]) == (True, True)


async def test_only_the_owner_may_touch_a_payment(api: Api) -> None:
    made = await topup(api)
    for method, path in (
        ("GET", "/api/v1/payment/status/{}"),
        ("GET", "/api/v1/payment/status?invoice_id={}"),
        ("POST", "/api/v1/payment/status-check/{}"),
        ("POST", "/api/v1/payment/cancel/{}"),
    ):
        await api.fails(method, path.format(made["invoice_id"]), client=OTHER, status=403, code="forbidden")
        await api.fails(method, path.format(made["invoice_id"]), client=None, status=401, code="unauthorized")
        await api.fails(method, path.format("unknown"), status=404, code="payment_not_found")
    assert await api.one("SELECT status FROM balance_topups") == "processing"


async def test_check_status_selectors(api: Api) -> None:
    made = await topup(api)
    by_order = await api.ok("POST", "/api/v1/payment/check-status", {"order_id": made["order_id"]})
    assert by_order["invoice_id"] == made["invoice_id"]
    path = "/api/v1/payment/check-status"
    await api.fails("POST", path, {"invoice_id": "nope"}, status=404, code="payment_not_found")
    await api.fails("POST", path, {"invoice_id": made["invoice_id"]}, client=OTHER, status=403, code="forbidden")
    for body in ({}, {"invoice_id": ""}, {"invoice_id": 5}, {"invoice_id": "x" * 200}):
        await api.fails("POST", path, body, status=422, code="validation_error")
    answer = await api.fails("GET", "/api/v1/payment/status", status=422, code="validation_error")
    assert answer["field"] == "invoice_id"


async def test_the_provider_is_silent_at_a_check(api: Api) -> None:
    made = await topup(api)
    api.standin.behaviour.hang = ["statusPayment"]
    await api.fails(
        "POST",
        "/api/v1/payment/check-status",
        {"invoice_id": made["invoice_id"]},
        status=504,
        code="provider_timeout",
    )


async def test_card_and_token_routes_are_not_available(api: Api) -> None:
    for name, code in (
        ("h2h-create", "h2h_not_available"),
        ("h2h-payment", "h2h_not_available"),
        ("token", "token_not_available"),
        ("create-token", "token_not_available"),
        ("token-payment", "token_not_available"),
    ):
        path = f"/api/v1/payment/{name}"
        await api.fails("POST", path, {"days": 14}, status=503, code=code)
        await api.fails("POST", path, {"days": 14}, client=None, status=401, code="unauthorized")
