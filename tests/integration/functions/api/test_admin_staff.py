"""Staff accounts: D12-D21 (mobile-api.md §7.3)."""

import asyncio
import base64
import hashlib
from typing import Any

import pytest

from evpower.auth import refresh_tokens
from tests.integration.functions.api.conftest import CLIENT, Api
from tests.integration.functions.api.login_world import Phones
from tests.integration.functions.api.staff_world import (
    FIRST,
    FIRST_OPERATOR,
    FIRST_STATION,
    FORMER,
    MAYBE_TEXT,
    ROOT,
    ROOT_OPERATOR,
    SECOND,
    SECOND_OPERATOR,
    STAFF,
    build,
    check,
)

OPERATORS, USERS = "/api/v1/admin/operators", "/api/v1/admin/users"
PHONE = "+996700000123"
OPERATOR = {"id": str, "phone": str, "name": MAYBE_TEXT, "is_active": bool}
USER = {
    "id": str,
    "email": str,
    "phone": MAYBE_TEXT,
    "role": str,
    "is_active": bool,
    "name": MAYBE_TEXT,
    "admin_id": MAYBE_TEXT,
    "created_at": MAYBE_TEXT,
    "stations_count": int,
    "locations_count": int,
}


@pytest.fixture
async def world(api: Api) -> Api:
    await build(api)
    return api


async def test_operators_are_for_managers_and_users_for_superadmins(world: Api) -> None:
    for_managers: list[tuple[str, str, Any]] = [
        ("GET", OPERATORS, None),
        ("POST", OPERATORS, {"phone": PHONE}),
        ("DELETE", f"{OPERATORS}/{FIRST_OPERATOR}", None),
        ("POST", f"{OPERATORS}/{FIRST_OPERATOR}/activate", None),
    ]
    for_superadmins: list[tuple[str, str, Any]] = [
        ("GET", USERS, None),
        ("GET", f"{USERS}/{FIRST}", None),
        ("POST", USERS, {"email": "new@example.com", "password": "long enough", "role": "superadmin"}),
        ("PUT", f"{USERS}/{FIRST}", {"role": "superadmin"}),
        ("DELETE", f"{USERS}/{SECOND}", None),
        ("POST", f"{USERS}/{FORMER}/activate", None),
    ]
    for calls, refused in ((for_managers, []), (for_superadmins, [FIRST, SECOND])):
        for method, path, body in calls:
            for caller in (FIRST_OPERATOR, ROOT_OPERATOR, FORMER, CLIENT, *refused):
                await world.fails(method, path, body, client=caller, status=403, code="forbidden")
            await world.fails(method, path, body, client=None, status=401, code="unauthorized")
    rows = await world.sql("SELECT id, role, admin_id, is_active FROM users")
    assert {row["id"]: (row["role"], row["admin_id"], row["is_active"]) for row in rows} == STAFF


async def test_operators_of_an_admin(world: Api) -> None:
    mine = await world.ok("GET", OPERATORS, client=FIRST)
    check(mine, {"success": bool, "operators": [OPERATOR]})
    assert [item["id"] for item in mine["operators"]] == [FIRST_OPERATOR]
    everybody = await world.ok("GET", OPERATORS, client=ROOT)
    assert {item["id"] for item in everybody["operators"]} == {
        user_id for user_id, (role, _, _) in STAFF.items() if role == "operator"
    }


async def test_a_new_operator_signs_in_and_sees_the_admins_stations(world: Api) -> None:
    made = await world.ok("POST", OPERATORS, {"phone": "0700 000-123", "name": " Test "}, client=FIRST)
    check(made, {"success": bool, **OPERATOR})
    assert (made["phone"], made["name"], made["is_active"]) == (PHONE, "Test", True)
    (row,) = await world.sql("SELECT role, admin_id FROM users WHERE id = %s", made["id"])
    assert tuple(row.values()) == ("operator", FIRST)
    phones = Phones.of(world)
    login = await phones.ok("/api/v1/auth/verify-otp", {"phone": PHONE, "code": await phones.code(PHONE)})
    assert (login["user_type"], login["user"]["id"]) == ("admin", made["id"])
    bearer = {"Authorization": f"Bearer {login['access_token']}"}
    page = await world.ok("GET", "/api/v1/admin/stations", client=None, headers=bearer)
    assert [item["id"] for item in page["data"]["stations"]] == [FIRST_STATION]
    # The access ends at once, not when the token does.
    await world.ok("DELETE", f"{OPERATORS}/{made['id']}", client=FIRST)
    await world.fails("GET", "/api/v1/admin/stations", client=None, headers=bearer, status=403, code="forbidden")
    refresh = {"refresh_token": login["refresh_token"]}
    await phones.fails("/api/v1/auth/refresh", refresh, 401, "unauthorized")


async def test_phones_that_cannot_become_operators(world: Api) -> None:
    await world.sql("UPDATE clients SET phone = %s WHERE id = %s", PHONE, CLIENT)
    await world.sql("UPDATE users SET phone = '0700000124' WHERE id = %s", SECOND)  # as the earlier system wrote it
    for phone in (PHONE, "+996700000124"):
        answer = await world.fails(
            "POST", OPERATORS, {"phone": phone}, client=FIRST, status=400, code="already_registered"
        )
        assert "уже зарегистрирован" in answer["error"]
        assert answer["field"] == "phone"
    for phone in ("123456789012345678", "not a phone", "12", "", None, 700000125):
        await world.fails("POST", OPERATORS, {"phone": phone}, client=FIRST, status=422, code="validation_error")
    answers = await asyncio.gather(
        *(world.call("POST", OPERATORS, {"phone": "+996700000126"}, client=admin) for admin in (FIRST, SECOND, ROOT))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400]
    assert await world.one("SELECT count(*) FROM users WHERE phone = '+996700000126'") == 1
    assert await world.one("SELECT count(*) FROM clients WHERE phone = '+996700000126'") == 1


async def test_whose_operator(world: Api) -> None:
    """An admin's operators are its own, whatever the body says; a superadmin may name the admin."""
    made = await world.ok("POST", OPERATORS, {"phone": PHONE, "admin_id": SECOND}, client=FIRST)
    assert await world.one("SELECT admin_id FROM users WHERE id = %s", made["id"]) == FIRST
    made = await world.ok("POST", OPERATORS, {"phone": "+996700000124", "admin_id": SECOND}, client=ROOT)
    assert await world.one("SELECT admin_id FROM users WHERE id = %s", made["id"]) == SECOND
    for admin_id in (FIRST_OPERATOR, CLIENT):
        body = {"phone": "+996700000125", "admin_id": admin_id}
        await world.fails("POST", OPERATORS, body, client=ROOT, status=422, code="validation_error")
    master = {"X-API-Key": "test-master-key"}
    body = {"phone": "+996700000125"}
    await world.fails("POST", OPERATORS, body, client=None, headers=master, status=422, code="validation_error")
    await world.ok("POST", OPERATORS, {**body, "admin_id": FIRST}, client=None, headers=master)


async def test_deactivating_operators(world: Api) -> None:
    await world.add_client(FIRST_OPERATOR, 50)
    path = f"{OPERATORS}/{FIRST_OPERATOR}"

    async def state() -> tuple[Any, ...]:
        (row,) = await world.sql(
            "SELECT u.is_active, c.status FROM users u JOIN clients c ON c.id = u.id WHERE u.id = %s", FIRST_OPERATOR
        )
        return tuple(row.values())

    for caller, other in ((SECOND, path), (FIRST, f"{OPERATORS}/{SECOND_OPERATOR}"), (FIRST, f"{OPERATORS}/{SECOND}")):
        await world.fails("DELETE", other, client=caller, status=404, code="not_found")
        await world.fails("POST", f"{other}/activate", client=caller, status=404, code="not_found")
    await world.fails("DELETE", f"{OPERATORS}/{FIRST}", client=ROOT, status=404, code="not_found")
    answer = await world.ok("DELETE", path, client=FIRST)
    check(answer, {"success": bool, "message": str})
    assert await state() == (False, "inactive")
    assert await world.balance(FIRST_OPERATOR) == 50
    await world.ok("DELETE", path, client=ROOT)
    check(await world.ok("POST", f"{path}/activate", client=FIRST), {"success": bool, "message": str})
    assert await state() == (True, "active")
    # A block is another matter than the end of a job.
    await world.sql("UPDATE clients SET status = 'blocked' WHERE id = %s", FIRST_OPERATOR)
    await world.ok("DELETE", path, client=FIRST)
    await world.ok("POST", f"{path}/activate", client=FIRST)
    assert await state() == (True, "blocked")


async def test_user_list(world: Api) -> None:
    answer = await world.ok("GET", USERS, client=ROOT)
    check(answer, {"success": bool, "users": [USER], "total": int, "page": int, "per_page": int})
    assert (answer["total"], answer["page"], answer["per_page"]) == (len(STAFF), 1, 20)
    counts = {item["id"]: (item["stations_count"], item["locations_count"]) for item in answer["users"]}
    assert (counts[FIRST], counts[SECOND], counts[ROOT]) == ((1, 0), (0, 1), (0, 0))

    async def found(query: str) -> set[str]:
        return {item["id"] for item in (await world.ok("GET", f"{USERS}?{query}", client=ROOT))["users"]}

    assert await found("role=superadmin") == {ROOT}
    assert await found("is_active=false") == {FORMER}
    assert await found("search=SECOND-") == {SECOND, SECOND_OPERATOR}
    assert await found("search=%25") == set()
    pages = [await found(f"page={page}&per_page=4") for page in (1, 2, 3)]
    assert set.union(*pages) == set(STAFF)
    assert [len(page) for page in pages] == [4, 4, 1]
    for wrong in ("page=0", "per_page=101", "role=boss", "is_active=perhaps", "page=99999999999"):
        await world.fails("GET", f"{USERS}?{wrong}", client=ROOT, status=422, code="validation_error")
    one = await world.ok("GET", f"{USERS}/{SECOND}", client=ROOT)
    check(one, {"success": bool, "user": USER})
    await world.fails("GET", f"{USERS}/none", client=ROOT, status=404, code="not_found")


async def test_creating_users(world: Api) -> None:
    body = {"email": " New@Example.com ", "password": "correct horse", "role": "admin", "name": "New"}
    made = await world.ok("POST", USERS, {**body, "phone": PHONE}, client=ROOT)
    check(made, {"success": bool, "user": USER})
    user = made["user"]
    assert (user["email"], user["role"], user["phone"], user["is_active"]) == ("new@example.com", "admin", PHONE, True)
    stored = await world.one("SELECT password_hash FROM users WHERE id = %s", user["id"])
    kind, n, r, p, salt, digest = stored.split("$")
    again = hashlib.scrypt(b"correct horse", salt=base64.b64decode(salt), n=int(n), r=int(r), p=int(p), maxmem=2**27)
    assert (kind, base64.b64encode(again).decode()) == ("scrypt", digest)
    logged = str(await world.sql("SELECT * FROM audit_logs"))
    assert "correct horse" not in logged
    assert digest not in logged
    refused = await world.fails("POST", USERS, body, client=ROOT, status=409, code="already_registered")
    assert refused["field"] == "email"
    taken = {**body, "email": "third@example.com", "phone": PHONE}
    refused = await world.fails("POST", USERS, taken, client=ROOT, status=409, code="already_registered")
    assert refused["field"] == "phone"
    for wrong in (
        {"password": "short"},
        {"password": None},
        {"email": "no address"},
        {"role": "boss"},
        {"phone": "12345678901234567"},
        {"role": "operator", "admin_id": "none"},
    ):
        other = {**body, "email": "other@example.com", **wrong}
        await world.fails("POST", USERS, other, client=ROOT, status=422, code="validation_error")
    minimal = await world.ok("POST", USERS, {"email": "op@example.com", "password": "12345678"}, client=ROOT)
    assert (minimal["user"]["role"], minimal["user"]["name"]) == ("operator", None)


async def test_changing_users(world: Api) -> None:
    await world.add_client(FIRST)
    path = f"{USERS}/{FIRST}"
    changed = await world.ok("PUT", path, {"role": "operator", "name": "Former boss", "admin_id": SECOND}, client=ROOT)
    check(changed, {"success": bool, "user": USER})
    assert (changed["user"]["role"], changed["user"]["name"], changed["user"]["admin_id"]) == (
        "operator",
        "Former boss",
        SECOND,
    )
    await world.fails("GET", OPERATORS, client=FIRST, status=403, code="forbidden")  # holds at once
    page = await world.ok("GET", "/api/v1/admin/stations", client=FIRST)
    assert [item["id"] for item in page["data"]["stations"]] == ["st-2"]
    (row,) = await world.sql("SELECT details FROM audit_logs WHERE operation = 'admin.user_change'")
    assert row["details"]["changes"]["role"] == ["admin", "operator"]
    async with world.db.transaction() as conn:
        _, token = await refresh_tokens.open_login(conn, FIRST, None, world.deps.clock.now())
    off = await world.ok("PUT", path, {"is_active": False}, client=ROOT)
    assert (off["user"]["is_active"], off["user"]["role"]) == (False, "operator")
    await world.fails("GET", "/api/v1/admin/stations", client=FIRST, status=403, code="forbidden")
    async with world.db.transaction() as conn:
        assert await refresh_tokens.use(conn, token, world.deps.clock.now()) is None
    assert (await world.ok("PUT", path, {}, client=ROOT))["user"] == off["user"]
    for wrong in ({"role": "boss"}, {"is_active": "yes"}, {"name": "x" * 201}, {"admin_id": FIRST_OPERATOR}):
        await world.fails("PUT", path, wrong, client=ROOT, status=422, code="validation_error")
    await world.fails("PUT", f"{USERS}/none", {"name": "x"}, client=ROOT, status=404, code="not_found")


async def test_deactivating_users(world: Api) -> None:
    await world.ok("DELETE", f"{USERS}/{FIRST}", client=ROOT)
    await world.fails("GET", "/api/v1/admin/stats", client=FIRST, status=403, code="forbidden")
    # Whose admin is gone sees nothing until there is one again.
    page = await world.ok("GET", "/api/v1/admin/stations", client=FIRST_OPERATOR)
    assert page["data"]["total"] == 0
    await world.ok("POST", f"{USERS}/{FIRST}/activate", client=ROOT)
    page = await world.ok("GET", "/api/v1/admin/stations", client=FIRST_OPERATOR)
    assert page["data"]["total"] == 1
    for method, path in (("DELETE", f"{USERS}/none"), ("POST", f"{USERS}/none/activate")):
        await world.fails(method, path, client=ROOT, status=404, code="not_found")


async def test_nobody_changes_its_own_account(world: Api) -> None:
    path = f"{USERS}/{ROOT}"
    for method, call, body in (
        ("PUT", path, {"role": "admin"}),
        ("PUT", path, {"name": "x"}),
        ("DELETE", path, None),
        ("POST", f"{path}/activate", None),
    ):
        await world.fails(method, call, body, client=ROOT, status=400, code="invalid_request")
    (row,) = await world.sql("SELECT role, is_active, name FROM users WHERE id = %s", ROOT)
    assert tuple(row.values()) == ("superadmin", True, None)
