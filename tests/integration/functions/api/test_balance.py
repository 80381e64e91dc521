"""Top-ups and balance: B1-B5."""

import asyncio

from tests.integration.functions.api.conftest import CLIENT, OTHER, Api

TOPUP = "/api/v1/balance/topup-qr"


async def test_a_topup_answers_what_the_app_reads(api: Api) -> None:
    answer = await api.ok("POST", TOPUP, {"amount": 500, "description": "Top-up", "client_id": CLIENT})
    assert answer["success"] is True
    assert answer["amount"] == 500
    assert answer["client_id"] == CLIENT
    assert answer["current_balance"] == 1000
    assert answer["qr_lifetime_seconds"] == answer["invoice_lifetime_seconds"] == 300
    assert answer["qr_code_url"].startswith("http")
    assert answer["qr_code"]
    assert answer["app_link"]
    assert answer["qr_expires_at"] == answer["invoice_expires_at"]
    assert answer["qr_expires_at"].endswith("Z")
    assert answer["error"] is None
    (row,) = await api.sql("SELECT order_id, invoice_id, status, client_id FROM balance_topups")
    assert (row["order_id"], row["invoice_id"]) == (answer["order_id"], answer["invoice_id"])
    assert (row["status"], row["client_id"]) == ("processing", CLIENT)


async def test_a_second_topup_supersedes_the_first(api: Api) -> None:
    first = await api.ok("POST", TOPUP, {"amount": 100})
    second = await api.ok("POST", TOPUP, {"amount": 200})
    assert first["invoice_id"] != second["invoice_id"]
    rows = await api.sql("SELECT status, status_reason FROM balance_topups ORDER BY id")
    assert [(row["status"], row["status_reason"]) for row in rows] == [
        ("canceled", "superseded"),
        ("processing", None),
    ]


BAD_AMOUNTS: list[tuple[object, str, tuple[str, object] | None]] = [
    (0, "invalid_amount", None),
    (-5, "invalid_amount", None),
    (10.005, "invalid_amount", None),
    (9.99, "minimum_amount_required", ("minimum_amount", 10)),
    (100_000.01, "maximum_amount_exceeded", ("maximum_amount", 100_000)),
    (1e30, "maximum_amount_exceeded", ("maximum_amount", 100_000)),
    ("500", "validation_error", ("field", "amount")),
    (None, "validation_error", ("field", "amount")),
    (True, "validation_error", ("field", "amount")),
]


async def test_amounts_out_of_range(api: Api) -> None:
    for amount, code, detail in BAD_AMOUNTS:
        answer = await api.fails("POST", TOPUP, {"amount": amount}, status=422, code=code)
        if detail:
            assert answer[detail[0]] == detail[1]
    assert await api.one("SELECT count(*) FROM balance_topups") == 0


async def test_the_provider_refuses_or_is_silent(api: Api) -> None:
    api.standin.behaviour.fail = {"createInvoice": 26}
    answer = await api.fails("POST", TOPUP, {"amount": 100}, status=502, code="provider_error")
    assert answer["provider_code"] == "26"
    api.standin.behaviour.fail = {}
    api.standin.behaviour.hang = ["createInvoice"]
    await api.fails("POST", TOPUP, {"amount": 100}, status=504, code="provider_timeout")
    rows = await api.sql("SELECT status, invoice_state FROM balance_topups ORDER BY id")
    assert [(row["status"], row["invoice_state"]) for row in rows] == [("failed", "refused"), ("processing", "unknown")]


async def test_the_provider_cannot_be_reached(api: Api) -> None:
    await api.standin.stop()
    await api.fails("POST", TOPUP, {"amount": 100}, status=503, code="provider_unavailable")


async def test_balance_by_both_paths(api: Api) -> None:
    answer = await api.ok("GET", "/api/v1/balance/current")
    assert answer == {
        "success": True,
        "client_id": CLIENT,
        "balance": 1000,
        "current_balance": 1000,
        "currency": "KGS",
        "last_topup_at": None,
        "total_spent": 0,
    }
    assert await api.ok("GET", f"/api/v1/balance/{CLIENT}") == answer
    other = await api.ok("GET", f"/api/v1/balance/{OTHER}", client=OTHER)
    assert other["balance"] == 500


async def test_balance_is_private(api: Api) -> None:
    own = f"/api/v1/balance/{CLIENT}"
    for path in ("/api/v1/balance/current", own, "/api/v1/balance/history"):
        await api.fails("GET", path, client=None, status=401, code="unauthorized")
    await api.fails("GET", own, client="nobody", status=403, code="forbidden")
    await api.fails("GET", "/api/v1/balance/current", client="nobody", status=404, code="client_not_found")
    await api.fails("GET", "/api/v1/balance/history", client="nobody", status=404, code="client_not_found")


async def test_naming_another_client_is_forbidden(api: Api) -> None:
    await api.fails("POST", TOPUP, {"amount": 100, "client_id": OTHER}, status=403, code="forbidden")
    await api.fails("GET", f"/api/v1/balance/{OTHER}", status=403, code="forbidden")


async def test_closed_accounts_are_refused(api: Api) -> None:
    await api.add_client("closed", 100)
    for state, code in (
        ("blocked", "client_blocked"),
        ("inactive", "client_blocked"),
        ("pending_deletion", "client_deleted"),
        ("deleted", "client_deleted"),
    ):
        await api.sql("UPDATE clients SET status = %s WHERE id = 'closed'", state)
        for method, path, body in (
            ("GET", "/api/v1/balance/current", None),
            ("GET", "/api/v1/balance/history", None),
            ("GET", "/api/v1/profile", None),
            ("GET", "/api/v1/charging/history", None),
            ("POST", TOPUP, {"amount": 100}),
            ("POST", "/api/v1/charging/start", {"station_id": "st-1", "connector_id": 1}),
        ):
            await api.fails(method, path, body, client="closed", status=403, code=code)
        known = 404 if code == "client_blocked" else 403
        for method, path, body, missing in (
            ("GET", "/api/v1/payment/status/none", None, "payment_not_found"),
            ("POST", "/api/v1/payment/cancel/none", None, "payment_not_found"),
            ("GET", "/api/v1/charging/status/none", None, "session_not_found"),
            ("POST", "/api/v1/charging/stop", {"session_id": "none"}, "session_not_found"),
        ):
            # A blocked client may end what it began; a deleted one has nothing left.
            expected = missing if known == 404 else "client_deleted"
            await api.fails(method, path, body, client="closed", status=known, code=expected)


async def test_history_pages(api: Api) -> None:
    answer = await api.ok("GET", "/api/v1/balance/history?limit=1")
    assert (answer["total"], answer["limit"], answer["offset"]) == (1, 1, 0)
    (item,) = answer["data"]
    assert item["transaction_type"] == "opening_balance"
    assert (item["amount"], item["balance_before"], item["balance_after"]) == (1000, 0, 1000)
    assert isinstance(item["id"], str)
    assert item["created_at"].endswith("Z")
    empty = await api.ok("GET", "/api/v1/balance/history?offset=5")
    assert (empty["data"], empty["total"]) == ([], 1)
    for query in ("limit=0", "limit=101", "limit=x", "offset=-1"):
        await api.fails("GET", f"/api/v1/balance/history?{query}", status=422, code="validation_error")


async def test_card_topups_are_not_available_and_not_read(api: Api) -> None:
    body = {"amount": 100, "card_pan": "0000000000000000", "card_cvv": "000"}
    await api.fails("POST", "/api/v1/balance/topup-card", body, status=503, code="h2h_not_available")
    assert "0000000000" not in str(await api.sql("SELECT * FROM audit_logs"))


async def test_simultaneous_topups_leave_one_payable(api: Api) -> None:
    answers = await asyncio.gather(*(api.call("POST", TOPUP, {"amount": 100 + n}) for n in range(4)))
    assert {answer.status_code for answer in answers} == {200}
    assert await api.one("SELECT count(*) FROM balance_topups WHERE status = 'processing'") == 1
