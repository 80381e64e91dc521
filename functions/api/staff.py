"""The member of staff who is calling, for the routes of mobile-api.md §7: role, scope, audited units of work."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, TypeVar

import psycopg
from fastapi import APIRouter, Depends, Request
from psycopg_pool import PoolTimeout

from evpower.admin import service as admin
from evpower.admin.models import Role, Scope, StaffMember
from evpower.audit import service as audit
from evpower.audit.models import AuditEntry
from evpower.auth.models import AuthMethod
from evpower.db import Claims, Conn
from evpower.errors import EvPowerError, Forbidden, ValidationFailed
from evpower.logging import get_logger
from functions.api.context import RequestContext, context_of
from functions.api.deps import Deps
from functions.api.routing import ContractRoute, api_deps, require_principal
from functions.api.wrong_members import close_to

T = TypeVar("T")

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Act:
    """What a member of staff wants to change, for the audit log. ``amount`` is som."""

    operation: str
    client_id: str | None = None
    amount: Decimal | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class StaffCaller:
    """A member of staff and its units of work. They see all rows: the scope is an argument of every query."""

    def __init__(self, member: StaffMember, deps: Deps, context: RequestContext) -> None:
        self.member = member
        self._deps = deps
        self._context = context

    @property
    def scope(self) -> Scope:
        """Which stations this caller may see."""
        return self.member.scope

    @property
    def claims(self) -> Claims:
        return {"sub": self.member.id, "role": "authenticated", "evp_scope": "staff"}

    def require_manager(self) -> None:
        """Let admins and superadmins through.

        Raises:
            Forbidden: an operator.
        """
        if self.member.role is Role.OPERATOR:
            raise Forbidden(required_role=Role.ADMIN.value)

    async def run(self, work: Callable[[Conn], Awaitable[T]]) -> T:
        """One transaction of reads."""
        return await self._deps.database.run(work, claims=self.claims)

    async def act(self, act: Act, work: Callable[[Conn], Awaitable[tuple[T, Mapping[str, Any]]]]) -> T:
        """One transaction that changes something, with its row in ``audit_logs``; a refusal gets a row as well.

        ``work`` answers its result, and what the audit row tells of it beside ``act.details``.
        """

        async def audited(conn: Conn) -> T:
            result, told = await work(conn)
            await audit.record(conn, self._entry(act, 200, told))
            return result

        try:
            return await self.run(audited)
        except EvPowerError as refusal:
            await self._note_refusal(self._entry(act, refusal.http_status, {}, refusal.code))
            raise

    def _entry(self, act: Act, status: int, told: Mapping[str, Any], error_code: str | None = None) -> AuditEntry:
        return AuditEntry(
            operation=act.operation,
            actor=self.member.id,
            actor_role=self.member.role.value,
            client_id=act.client_id,
            client_ip=self._context.client_address,
            amount=act.amount,
            status=status,
            error_code=error_code,
            correlation_id=self._context.correlation_id,
            details={**act.details, **told},
        )

    async def _note_refusal(self, entry: AuditEntry) -> None:
        try:
            await self.run(lambda conn: audit.record(conn, entry))
        except (psycopg.Error, PoolTimeout, OSError) as error:
            _log.error("audit row not written: %s", error, extra={"operation": entry.operation})


async def require_staff(request: Request) -> StaffCaller:
    """Any member of staff.

    A signed request is nobody's: the shared secret is held by other systems, and names whom it likes.

    Raises:
        Unauthorized, ServiceUnavailable: as for clients.
        Forbidden: a client, or staff that was deactivated.
    """
    principal = require_principal(request)
    deps, context = api_deps(request), context_of(request.scope)
    if principal.is_master:
        return StaffCaller(admin.MASTER, deps, context)
    if principal.method is AuthMethod.HMAC:
        raise Forbidden
    member = await deps.database.run(lambda conn: admin.member(conn, principal.subject), claims=principal.claims())
    return StaffCaller(member, deps, context)


async def _known_query(request: Request, staff: Annotated[StaffCaller, Depends(require_staff)]) -> None:
    """Refuse names in the query that the route does not read.

    Use case: ``?connector_id=1`` where the route reads ``connector`` must not answer for the whole charger, and a
    misspelt filter must not answer everything. Only for members of staff: whoever is nobody hears just that.
    """
    route = request.scope["route"]
    assert isinstance(route, ContractRoute)
    unknown = sorted(set(request.query_params) - route.query_names)
    if not unknown:
        return
    fields = [_unknown_name(name, route.query_names) for name in unknown]
    meant = fields[0].get("did_you_mean")
    known = ", ".join(sorted(route.query_names)) or "none"
    raise ValidationFailed(
        f"unknown query parameter {unknown[0]}{f', did you mean {meant}?' if meant else ''}; known here: {known}",
        field=unknown[0],
        fields=fields,
    )


def _unknown_name(name: str, known: frozenset[str]) -> dict[str, str]:
    close = close_to(name, sorted(known))
    told = {"field": name, "problem": "unknown_parameter", "detail": "the route reads no such parameter"}
    return {**told, "did_you_mean": close} if close else told


def staff_router(prefix: str) -> APIRouter:
    """A router of the staff: as all others, but a query is read strictly (app builds in the field may send more)."""
    return APIRouter(prefix=prefix, tags=["admin"], route_class=ContractRoute, dependencies=[Depends(_known_query)])


def _manager(caller: Annotated[StaffCaller, Depends(require_staff)]) -> StaffCaller:
    """Admins and superadmins."""
    caller.require_manager()
    return caller


def _superadmin(caller: Annotated[StaffCaller, Depends(require_staff)]) -> StaffCaller:
    if not caller.member.is_superadmin:
        raise Forbidden(required_role=Role.SUPERADMIN.value)
    return caller


StaffParam = Annotated[StaffCaller, Depends(require_staff)]
ManagerParam = Annotated[StaffCaller, Depends(_manager)]
SuperadminParam = Annotated[StaffCaller, Depends(_superadmin)]
