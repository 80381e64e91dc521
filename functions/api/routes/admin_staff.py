"""Staff accounts: operators D12-D15 for admins, all staff D16-D21 for superadmins (mobile-api.md §7.3)."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query

from evpower.admin import users
from evpower.admin.models import NewUser, Role, Slice, UserFilter, UserRecord
from evpower.admin.passwords import hash_password
from evpower.db import Conn
from functions.api.routing import ContextParam
from functions.api.schemas.admin import SearchIn
from functions.api.schemas.base import IdIn
from functions.api.schemas.staff import (
    Operator,
    OperatorAnswer,
    OperatorBody,
    OperatorsAnswer,
    RoleIn,
    StaffMessage,
    User,
    UserAnswer,
    UserBody,
    UserChangeBody,
    UsersAnswer,
)
from functions.api.staff import Act, ManagerParam, StaffCaller, SuperadminParam, staff_router
from functions.api.texts import sentence

routes = staff_router("/api/v1/admin")

_Told = tuple[UserRecord, Mapping[str, Any]]


# --- Operators ----------------------------------------------------------------------------------------------------


@routes.get("/operators", response_model=OperatorsAnswer)
async def list_operators(staff: ManagerParam) -> OperatorsAnswer:
    """D12: the caller's operators; a superadmin sees all."""
    found = await staff.run(lambda conn: users.operators(conn, staff.member))
    items = [Operator(id=user.id, phone=user.phone or "", name=user.name, is_active=user.is_active) for user in found]
    return OperatorsAnswer(operators=items)


@routes.post("/operators", response_model=OperatorAnswer)
async def create_operator(body: OperatorBody, staff: ManagerParam) -> OperatorAnswer:
    """D13: an operator who signs in with this phone, and sees the caller's stations."""

    async def work(conn: Conn) -> _Told:
        made = await users.create_operator(conn, staff.member, body.phone, body.name or None, body.admin_id)
        return made, {"user_id": made.id, "admin_id": made.admin_id}

    made = await staff.act(Act("admin.operator_create"), work)
    return OperatorAnswer(id=made.id, phone=made.phone or "", name=made.name, is_active=made.is_active)


async def _switch_operator(staff: StaffCaller, user_id: str, language: str, *, active: bool) -> StaffMessage:
    async def work(conn: Conn) -> _Told:
        return await users.set_operator_active(conn, staff.member, user_id, active=active), {}

    await staff.act(Act(f"admin.operator_{_word(active)}", details={"user_id": user_id}), work)
    return StaffMessage(message=sentence(f"staff_{_word(active)}d", language))


def _word(active: bool) -> str:
    return "activate" if active else "deactivate"


@routes.delete("/operators/{operator_id}", response_model=StaffMessage)
async def deactivate_operator(operator_id: IdIn, staff: ManagerParam, context: ContextParam) -> StaffMessage:
    """D14: end the operator's access at once. Nothing is deleted."""
    return await _switch_operator(staff, operator_id, context.language, active=False)


@routes.post("/operators/{operator_id}/activate", response_model=StaffMessage)
async def activate_operator(operator_id: IdIn, staff: ManagerParam, context: ContextParam) -> StaffMessage:
    """D15: give the operator access again."""
    return await _switch_operator(staff, operator_id, context.language, active=True)


# --- All staff ----------------------------------------------------------------------------------------------------


def _user(record: UserRecord) -> User:
    return User(
        id=record.id,
        email=record.email or "",
        phone=record.phone,
        role=record.role.value,
        is_active=record.is_active,
        name=record.name,
        admin_id=record.admin_id,
        created_at=record.created_at,
        stations_count=record.stations_count,
        locations_count=record.locations_count,
    )


@routes.get("/users", response_model=UsersAnswer)
async def list_users(
    staff: SuperadminParam,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    per_page: Annotated[int, Query(ge=1, le=100)] = 20,
    role: RoleIn | None = None,
    search: Annotated[SearchIn | None, Query()] = None,
    is_active: bool | None = None,
) -> UsersAnswer:
    """D16: staff accounts, newest first. ``search``: a part of name, e-mail or phone."""
    wanted = UserFilter(Role(role) if role else None, search or None, is_active)
    part = Slice(per_page, (page - 1) * per_page)
    found = await staff.run(lambda conn: users.page(conn, wanted, part))
    items = [_user(record) for record in found.items]
    return UsersAnswer(users=items, total=found.total, page=page, per_page=per_page)


@routes.get("/users/{user_id}", response_model=UserAnswer)
async def user(user_id: IdIn, staff: SuperadminParam) -> UserAnswer:
    """D17: one staff account."""
    return UserAnswer(user=_user(await staff.run(lambda conn: users.find(conn, user_id))))


@routes.post("/users", response_model=UserAnswer)
async def create_user(body: UserBody, staff: SuperadminParam) -> UserAnswer:
    """D18: a staff account. With a phone the person signs in by a code."""
    new = NewUser(
        role=Role(body.role),
        email=body.email,
        phone=body.phone,
        name=body.name or None,
        admin_id=body.admin_id,
        password_hash=await asyncio.to_thread(hash_password, body.password),
    )

    async def work(conn: Conn) -> _Told:
        made = await users.create(conn, new)
        return made, {"user_id": made.id}

    return UserAnswer(user=_user(await staff.act(Act("admin.user_create", details={"role": body.role}), work)))


@routes.put("/users/{user_id}", response_model=UserAnswer)
async def change_user(user_id: IdIn, body: UserChangeBody, staff: SuperadminParam) -> UserAnswer:
    """D19: change what is sent; not one's own account."""

    async def work(conn: Conn) -> _Told:
        before, after = await users.change(
            conn,
            staff.member,
            user_id,
            role=Role(body.role) if body.role else None,
            is_active=body.is_active,
            name=body.name,
            admin_id=body.admin_id,
        )
        names = ("role", "is_active", "name", "admin_id")
        pairs = {name: [getattr(before, name), getattr(after, name)] for name in names}
        return after, {"changes": {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}}

    return UserAnswer(user=_user(await staff.act(Act("admin.user_change", details={"user_id": user_id}), work)))


async def _switch_user(staff: StaffCaller, user_id: str, language: str, *, active: bool) -> StaffMessage:
    async def work(conn: Conn) -> _Told:
        return await users.set_active(conn, staff.member, user_id, active=active), {}

    await staff.act(Act(f"admin.user_{_word(active)}", details={"user_id": user_id}), work)
    return StaffMessage(message=sentence(f"staff_{_word(active)}d", language))


@routes.delete("/users/{user_id}", response_model=StaffMessage)
async def deactivate_user(user_id: IdIn, staff: SuperadminParam, context: ContextParam) -> StaffMessage:
    """D20: end the person's access at once; not one's own account. Nothing is deleted."""
    return await _switch_user(staff, user_id, context.language, active=False)


@routes.post("/users/{user_id}/activate", response_model=StaffMessage)
async def activate_user(user_id: IdIn, staff: SuperadminParam, context: ContextParam) -> StaffMessage:
    """D21: give the person access again."""
    return await _switch_user(staff, user_id, context.language, active=True)
