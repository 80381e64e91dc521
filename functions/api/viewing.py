"""Public reads, for nobody in particular or for a client who is known: what is kept for it is shown to it as free."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from evpower.auth.models import Principal
from evpower.charging import service as charging
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

        async def with_what_is_kept(conn: Conn) -> T:
            reserved = await reservations.kept_for_app(conn, client.subject, now)
            finishing = await charging.places_to_go_on(conn, client.subject, now)
            kept = {(*place, "Reserved") for place in reserved} | {(*place, "Finishing") for place in finishing}
            return await look(conn, kept)

        return await self._deps.database.run(with_what_is_kept, claims=client.claims())


def _viewer(request: Request) -> Viewer:
    return Viewer(context_of(request.scope).principal, api_deps(request))


ViewerParam = Annotated[Viewer, Depends(_viewer)]
