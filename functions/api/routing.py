"""The route class of every route of this API, and what routes use of the request."""

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import cached_property
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import Field

from evpower.accounts import service as accounts
from evpower.accounts.models import Client, ClientStatus
from evpower.auth.models import Principal
from evpower.db import Claims, Conn, system_claims
from evpower.errors import ClientDeleted, Forbidden, Unauthorized
from functions.api import strict_json
from functions.api.context import RequestContext, context_of
from functions.api.deps import Deps

T = TypeVar("T")

PUBLIC_CLAIMS: Claims = {"role": "anon"}
"""Claims of work that anybody may ask for."""


def request_context(request: Request) -> RequestContext:
    """Correlation id, language, caller's address."""
    return context_of(request.scope)


def api_deps(request: Request) -> Deps:
    """The services of this process."""
    deps = request.app.state.deps
    assert isinstance(deps, Deps)
    return deps


def require_principal(request: Request) -> Principal:
    """Whoever has a credential that verifies.

    Raises:
        Unauthorized: no credential, or one that does not verify.
        ServiceUnavailable: the credential cannot be judged now.
    """
    context = context_of(request.scope)
    if context.principal is None:
        raise context.auth_failure or Unauthorized()
    return context.principal


def require_client(request: Request) -> Principal:
    """The signed-in client.

    Raises:
        Unauthorized, ServiceUnavailable: as :func:`require_principal`.
        Forbidden: the master key is nobody's account.
    """
    principal = require_principal(request)
    if principal.is_master:
        raise Forbidden
    return principal


class Caller:
    """The signed-in client and its units of work: every transaction carries the client's claims."""

    def __init__(self, principal: Principal, deps: Deps) -> None:
        self._principal = principal
        self._deps = deps

    @property
    def client_id(self) -> str:
        return self._principal.subject

    @property
    def claims(self) -> Claims:
        """Claims of the client's own transactions: row security shows its rows only."""
        return self._principal.claims()

    @property
    def wide_claims(self) -> Claims:
        """For telling "not yours" (403) from "not there" (404), which the client's own claims cannot."""
        return system_claims()

    def require_self(self, client_id: str | None) -> None:
        """Refuse a request that names another client (None: it names nobody)."""
        if client_id is not None and client_id != self.client_id:
            raise Forbidden

    async def run(self, work: Callable[[Conn], Awaitable[T]]) -> T:
        """One transaction with the client's claims. The account's state is the work's own concern."""
        return await self._deps.database.run(work, claims=self.claims)

    async def run_known(self, work: Callable[[Conn], Awaitable[T]]) -> T:
        """One transaction for a client whose account exists; a blocked one may still end what it began.

        Use case: an account is blocked while its car charges. The driver must be able to see and stop the session,
        and to see what became of a payment.
        """

        async def checked(conn: Conn) -> T:
            client = await accounts.get_client(conn, self.client_id)
            if client.status in (ClientStatus.PENDING_DELETION, ClientStatus.DELETED):
                raise ClientDeleted
            return await work(conn)

        return await self.run(checked)

    async def run_active(self, work: Callable[[Conn, Client], Awaitable[T]]) -> T:
        """One transaction that first refuses unknown, blocked and deleted clients."""

        async def checked(conn: Conn) -> T:
            client = await accounts.get_client(conn, self.client_id)
            accounts.require_active(client)
            return await work(conn, client)

        return await self.run(checked)


def _caller(request: Request, principal: Annotated[Principal, Depends(require_client)]) -> Caller:
    return Caller(principal, api_deps(request))


Limit = Annotated[int, Field(ge=1, le=100)]
Offset = Annotated[int, Field(ge=0, le=2**31)]
ContextParam = Annotated[RequestContext, Depends(request_context)]
DepsParam = Annotated[Deps, Depends(api_deps)]
CallerParam = Annotated[Caller, Depends(_caller)]


class _ParsedRequest(Request):
    """A request whose JSON body was parsed strictly before the framework sees it."""

    parsed: Any = None

    async def json(self) -> Any:
        return self.parsed


class ContractRoute(APIRoute):
    """Checks in the order a caller can act on: who are you, is the body JSON, are its members right."""

    @cached_property
    def query_names(self) -> frozenset[str]:
        """The names that this route reads from a query, also those that something it asks for reads."""
        return frozenset(_query_names(self.dependant))

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        is_protected = depends_on(self.dependant, require_client)
        takes_body = self.body_field is not None

        async def checked(request: Request) -> Response:
            if is_protected:
                require_client(request)
            parsed = _ParsedRequest(request.scope, request.receive)
            body = context_of(request.scope).body
            if takes_body and body.strip():
                strict_json.check_content_type(request.headers.get("content-type"))
                parsed.parsed = strict_json.parse(body)
            return await handle(parsed)

        return checked


def depends_on(dependant: Dependant, call: Callable[..., Any]) -> bool:
    """Whether a route asks for ``call``, itself or through what it asks for."""
    return any(sub.call is call or depends_on(sub, call) for sub in dependant.dependencies)


def _query_names(dependant: Dependant) -> Iterator[str]:
    yield from (param.alias for param in dependant.query_params)
    for asked in dependant.dependencies:
        yield from _query_names(asked)


def router(prefix: str, tag: str) -> APIRouter:
    """A router of this API: strict bodies, authentication before validation."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=ContractRoute)
