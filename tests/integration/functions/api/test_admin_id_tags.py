"""RFID cards at the staff's desk (I1-I5)."""

from decimal import Decimal
from typing import Any

import pytest

from tests.integration.functions.api.conftest import CLIENT, OTHER, Api
from tests.integration.functions.api.desk_world import CARDS, TAG, audited, card, start, stop, wait
from tests.integration.functions.api.staff_world import (
    FIRST,
    FIRST_OPERATOR,
    ROOT,
    build,
)


@pytest.fixture
async def staff(api: Api) -> Api:
    await build(api)
    return api


async def test_a_card_is_given_changed_found_and_blocked(staff: Api) -> None:
    made = await card(staff, name="Key ring", expires_at="2030-01-01T00:00:00+06:00", parent_id_tag="FLEET")
    assert (made["expires_at"], made["status"], made["last_used_at"]) == ("2029-12-31T18:00:00.000Z", "active", None)
    path = f"{CARDS}/{made['id']}"
    changed = await staff.ok("PUT", path, {"status": "blocked", "expires_at": None}, client=FIRST)
    assert (changed["data"]["status"], changed["data"]["expires_at"]) == ("blocked", None)
    assert (changed["data"]["name"], changed["data"]["parent_id_tag"]) == ("Key ring", "FLEET")
    assert (await staff.ok("GET", path, client=FIRST))["data"] == changed["data"]
    await card(staff, "OTHER-1", client_id=OTHER)
    for query, expected in {
        "": {TAG, "OTHER-1"},
        "?status=blocked": {TAG},
        f"?client_id={OTHER}": {"OTHER-1"},
        "?parent_id_tag=fleet": {TAG},
        "?search=b1c2": {TAG},
        "?search=key": {TAG},
        "?search=100%25": set(),
    }.items():
        page = (await staff.ok("GET", CARDS + query, client=ROOT))["data"]
        assert {item["id_tag"] for item in page["id_tags"]} == expected
        assert page["total"] == len(expected)
    page = (await staff.ok("GET", f"{CARDS}?limit=1&offset=1", client=ROOT))["data"]
    assert (len(page["id_tags"]), page["total"]) == (1, 2)
    created, _ = await audited(staff, "admin.id_tag_create")
    assert TAG not in str(created["details"])
    (change,) = await audited(staff, "admin.id_tag_change")
    assert change["details"]["changes"]["status"] == ["active", "blocked"]


async def test_a_tag_is_one_clients_in_whatever_letter_case(staff: Api) -> None:
    made = await card(staff)
    for tag in (TAG, TAG.lower()):
        body = {"id_tag": tag, "client_id": OTHER}
        refused = await staff.fails("POST", CARDS, body, client=ROOT, status=409, code="id_tag_exists")
        assert (refused["card_id"], "already" in refused["reason"]) == (made["id"], True)
    assert (await staff.ok("GET", CARDS, client=ROOT))["data"]["total"] == 1
    await staff.fails(
        "POST", CARDS, {"id_tag": "NEW", "client_id": "nobody"}, client=ROOT, status=404, code="client_not_found"
    )
    await staff.sql("UPDATE clients SET status = 'deleted' WHERE id = %s", OTHER)
    await staff.fails(
        "POST", CARDS, {"id_tag": "NEW", "client_id": OTHER}, client=ROOT, status=403, code="client_deleted"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"id_tag": ""},
        {"id_tag": "X" * 21},
        {"id_tag": "with blank"},
        {"id_tag": "КАРТА"},
        {"id_tag": 5},
        {"parent_id_tag": "X" * 21},
        {"expires_at": "2030-01-01"},
        {"expires_at": "2030-01-01T00:00:00"},
        {"expires_at": "9999-01-01T00:00:00Z"},
        {"expires_at": 1_900_000_000},
        {"name": "x" * 101},
        {"client_id": ""},
    ],
    ids=str,
)
async def test_bounds_of_a_card(staff: Api, wrong: dict[str, Any]) -> None:
    body = {"id_tag": "GOOD-1", "client_id": CLIENT, **wrong}
    await staff.fails("POST", CARDS, body, client=ROOT, status=422, code="validation_error")


async def test_only_a_card_that_was_never_used_is_deleted(staff: Api) -> None:
    unused = await card(staff, "UNUSED")
    answer = await staff.ok("DELETE", f"{CARDS}/{unused['id']}", client=ROOT)
    assert answer["data"] == {"id": unused["id"], "deleted": True, "status": "active"}
    await staff.fails("GET", f"{CARDS}/{unused['id']}", client=ROOT, status=404, code="not_found")
    used = await card(staff)
    await start(staff, TAG.lower())
    answer = await staff.ok("DELETE", f"{CARDS}/{used['id']}", client=ROOT)
    assert answer["data"] == {"id": used["id"], "deleted": False, "status": "blocked"}
    assert (await staff.ok("GET", f"{CARDS}/{used['id']}", client=ROOT))["data"]["last_used_at"] is not None
    await staff.fails("DELETE", f"{CARDS}/{10**6}", client=ROOT, status=404, code="not_found")


async def test_a_card_does_not_change_hands_while_it_charges(staff: Api) -> None:
    made = await card(staff)
    started = await start(staff)
    path = f"{CARDS}/{made['id']}"
    await staff.fails("PUT", path, {"client_id": OTHER}, client=ROOT, status=409, code="session_already_active")
    await staff.ok("PUT", path, {"client_id": CLIENT, "status": "blocked"}, client=ROOT)
    wait(staff, minutes=10)
    await stop(staff, started.transaction_id, 2000)
    assert (await staff.ok("PUT", path, {"client_id": OTHER}, client=ROOT))["data"]["client_id"] == OTHER
    assert await staff.balance() == 1000 - Decimal("13.5")


async def test_operators_and_clients_have_no_business_with_cards(staff: Api) -> None:
    for caller in (FIRST_OPERATOR, CLIENT):
        await staff.fails("GET", CARDS, client=caller, status=403, code="forbidden")
