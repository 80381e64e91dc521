"""Finds out who is calling. It refuses nobody: routes do, because an unusable token must not break public ones."""

from starlette.types import ASGIApp, Receive, Scope, Send

from evpower.auth.models import AuthRequest, TokenExpired
from evpower.auth.service import Authenticator
from evpower.errors import EvPowerError
from functions.api.context import context_of, headers_of


class AuthenticationMiddleware:
    """Puts the principal, or the reason why there is none, into the request context.

    Use case: the app's demo account sends a malformed bearer token to the public list of locations
    (mobile-api.md §1.13) and must see the list.
    """

    def __init__(self, app: ASGIApp, *, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            context = context_of(scope)
            request = AuthRequest(
                method=scope["method"],
                path=scope["path"],
                query=scope["query_string"].decode("latin-1"),
                headers=headers_of(scope),
                body=context.body,
            )
            try:
                context.principal = await self._authenticator.authenticate(request)
            except EvPowerError as failure:
                context.auth_failure = failure
                if isinstance(failure.__cause__, TokenExpired):
                    context.expired_subject = failure.__cause__.subject
        await self._app(scope, receive, send)
