"""Public reads, for nobody in particular or for a client who is known: what is kept for it is shown to it as free."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from evpower.auth.models import Principal
from evpower.db import Conn
from evpower.reservations import service as reservations
from evpower.stations.views import NOTHING_KEPT, Kept
from functions.api.context import context_of
from functions.api.deps import Deps
from functions.api.routing import PUBLIC_CLAIMS, api_deps

T = TypeVar("T")


class Viewer:
    """Who looks at stations and locations. Answers to a known caller are never stored (``Cache-Control: no-store``)."""

    def __init__(self, principal: Principal | None, deps: Deps) -> None:
        self._client = None if principal is None or principal.is_master else principal
        self._deps = deps

    async def run(self, now: datetime, look: Callable[[Conn, Kept], Awaitable[T]]) -> T:
        """One transaction of reads with the client's claims, or with nobody's."""
        client = self._client
        if client is None:
            return await self._deps.database.run(lambda conn: look(conn, NOTHING_KEPT), claims=PUBLIC_CLAIMS)

        async def with_reservations(conn: Conn) -> T:
            return await look(conn, await reservations.kept_for_app(conn, client.subject, now))

        return await self._deps.database.run(with_reservations, claims=client.claims())


def _viewer(request: Request) -> Viewer:
    return Viewer(context_of(request.scope).principal, api_deps(request))


ViewerParam = Annotated[Viewer, Depends(_viewer)]
