"""Public reads, for nobody in particular or for a client who is known: what is kept for it is shown to it as free."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Depends, Request
from pydantic import BaseModel
from starlette.responses import Response

from evpower.auth.models import Principal
from evpower.charging import service as charging
from evpower.db import Conn
from evpower.reservations import service as reservations
from evpower.stations import service as stations
from evpower.stations.views import NOTHING_KEPT, Kept
from functions.api.context import context_of
from functions.api.deps import Deps
from functions.api.routing import PUBLIC_CLAIMS, api_deps
from functions.api.shared_answers import SharedAnswer, state_at

T = TypeVar("T")
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "Still the answer that `If-None-Match` names."}}


class Viewer:
    """Who looks at stations and locations. Answers to a known caller are never stored (``Cache-Control: no-store``)."""

    def __init__(self, principal: Principal | None, deps: Deps, if_none_match: str | None = None) -> None:
        self._client = None if principal is None or principal.is_master else principal
        self._deps = deps
        self._if_none_match = if_none_match

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

    async def shared(self, name: str, now: datetime, answer: Callable[[Conn, Kept], Awaitable[BaseModel]]) -> Response:
        """What ``answer`` makes, kept for all who are shown the same; 304 for who has it already.

        Whoever something is kept for is shown what nobody else is, and gets an answer of its own.
        """

        async def known(conn: Conn, kept: Kept) -> tuple[Kept, str]:
            return kept, "" if kept else await stations.shown_state(conn)

        async def made(conn: Conn, kept: Kept) -> SharedAnswer:
            return SharedAnswer.of(orjson.dumps((await answer(conn, kept)).model_dump(mode="json")))

        kept, state = await self.run(now, known)
        if kept:
            return (await self.run(now, made)).response(self._if_none_match)
        state = state_at(state, now)
        found = await self._deps.answers.get(name, state)
        if found is None:
            found = await self._deps.database.run(lambda conn: made(conn, NOTHING_KEPT), claims=PUBLIC_CLAIMS)
            await self._deps.answers.put(name, state, found)
        return found.response(self._if_none_match)


def _viewer(request: Request) -> Viewer:
    return Viewer(context_of(request.scope).principal, api_deps(request), request.headers.get("if-none-match"))


ViewerParam = Annotated[Viewer, Depends(_viewer)]
