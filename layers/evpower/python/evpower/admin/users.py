"""Staff accounts: operators by their admin, all staff by superadmins (mobile-api.md §7.3).

Who is deactivated keeps its rows; its logins end at once, and it cannot charge either until it is activated again.
"""

from dataclasses import replace

from psycopg.errors import UniqueViolation

from evpower.admin.failures import AlreadyRegistered, OperatorRegistered, OwnAccount
from evpower.admin.models import NewUser, Page, Role, Slice, StaffMember, UserFilter, UserRecord
from evpower.admin.repository import clients
from evpower.admin.repository import users as rows
from evpower.auth import phone as phones
from evpower.auth import refresh_tokens
from evpower.db import Conn
from evpower.errors import NotFound, ValidationFailed
from evpower.ids import new_id

MAX_OPERATORS = 1000


def _wrong(field: str, why: str) -> ValidationFailed:
    return ValidationFailed(why, field=field, fields=[{"field": field, "problem": "value_error", "detail": why}])


# --- Operators ----------------------------------------------------------------------------------------------------


async def operators(conn: Conn, by: StaffMember) -> list[UserRecord]:
    """D12: an admin's own operators; all of them for a superadmin."""
    return await rows.operators(conn, None if by.is_superadmin else by.id, MAX_OPERATORS)


async def create_operator(
    conn: Conn, by: StaffMember, phone: str, name: str | None, admin_id: str | None
) -> UserRecord:
    """D13: an operator who signs in with this phone. A superadmin may name the admin it works for.

    Raises:
        OperatorRegistered: the phone is a client's or a staff member's.
        ValidationFailed: not a phone, or no such admin.
    """
    employer = (admin_id or _employer(by)) if by.is_superadmin else by.id
    try:
        return await create(conn, NewUser(Role.OPERATOR, phone=phone, name=name, admin_id=employer))
    except AlreadyRegistered as error:
        raise OperatorRegistered(error.reason, **error.details) from error


def _employer(by: StaffMember) -> str:
    if by.id == "master":  # the key is nobody whose operator one could be
        raise _wrong("admin_id", "the master key must name the admin that the operator works for")
    return by.id


async def set_operator_active(conn: Conn, by: StaffMember, user_id: str, *, active: bool) -> UserRecord:
    """D14, D15.

    Raises:
        NotFound: no such operator of this admin.
    """
    found = await rows.lock(conn, user_id)
    if found is None or found.role is not Role.OPERATOR or not (by.is_superadmin or found.admin_id == by.id):
        raise NotFound("no such operator")
    return await _set_active(conn, found, active=active)


# --- All staff ----------------------------------------------------------------------------------------------------


async def page(conn: Conn, wanted: UserFilter, part: Slice) -> Page[UserRecord]:
    """D16."""
    return await rows.page(conn, wanted, part)


async def find(conn: Conn, user_id: str) -> UserRecord:
    """D17.

    Raises:
        NotFound: no such staff account.
    """
    found = await rows.find(conn, user_id)
    if found is None:
        raise NotFound("no such staff account")
    return found


async def create(conn: Conn, new: NewUser) -> UserRecord:
    """D18: make a staff account, and the client by which it can charge.

    Raises:
        AlreadyRegistered: phone or e-mail address are taken.
        ValidationFailed: not a phone, or no such admin to work for.
    """
    if new.phone is not None:
        try:
            new = replace(new, phone=phones.normalise(new.phone))
        except phones.BadPhone as error:
            raise _wrong("phone", "is not a phone number") from error
        assert new.phone is not None
        if await rows.phone_is_known(conn, phones.spellings(new.phone)):
            raise AlreadyRegistered("a client or a member of staff has this phone", field="phone")
    if new.admin_id is not None:
        await _require_admin(conn, new.admin_id)
    user_id = new_id()
    try:
        await rows.insert(conn, user_id, new)
    except UniqueViolation as error:
        field = "phone" if "phone" in (error.diag.constraint_name or "") else "email"
        raise AlreadyRegistered("another account has it", field=field) from error
    return await find(conn, user_id)


async def _require_admin(conn: Conn, user_id: str) -> None:
    admin = await rows.find(conn, user_id)
    if admin is None or admin.role is Role.OPERATOR:
        raise _wrong("admin_id", "is no admin or superadmin")


async def change(
    conn: Conn,
    by: StaffMember,
    user_id: str,
    *,
    role: Role | None,
    is_active: bool | None,
    name: str | None,
    admin_id: str | None,
) -> tuple[UserRecord, UserRecord]:
    """D19: the account before and after. A new role holds from the next request on.

    Raises:
        OwnAccount: one's own.
        NotFound: no such staff account.
        ValidationFailed: no such admin to work for.
    """
    before = await _other(conn, by, user_id)
    if admin_id is not None:
        await _require_admin(conn, admin_id)
    after = replace(
        before,
        role=role or before.role,
        name=before.name if name is None else name,
        admin_id=admin_id or before.admin_id,
    )
    await rows.update(conn, after)
    if is_active is not None:
        after = await _set_active(conn, after, active=is_active)
    return before, after


async def set_active(conn: Conn, by: StaffMember, user_id: str, *, active: bool) -> UserRecord:
    """D20, D21.

    Raises:
        OwnAccount: one's own.
        NotFound: no such staff account.
    """
    return await _set_active(conn, await _other(conn, by, user_id), active=active)


async def _other(conn: Conn, by: StaffMember, user_id: str) -> UserRecord:
    if user_id == by.id:
        raise OwnAccount("it is your own account: ask another superadmin")
    found = await rows.lock(conn, user_id)
    if found is None:
        raise NotFound("no such staff account")
    return found


async def _set_active(conn: Conn, user: UserRecord, *, active: bool) -> UserRecord:
    user = replace(user, is_active=active)
    await clients.set_staff_client_active(conn, user.id, active=active)
    await rows.update(conn, user)
    if not active:
        await refresh_tokens.revoke_all(conn, user.id)
    return user
