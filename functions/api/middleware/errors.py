"""Turns every failure into the flat envelope: domain errors, validation errors, unknown paths, crashes."""

from collections.abc import Mapping
from typing import Any

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evpower.errors import (
    EvPowerError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    ServiceUnavailable,
    ValidationFailed,
)
from evpower.logging import get_logger
from functions.api.context import context_of
from functions.api.envelope import respond
from functions.api.wrong_members import field_names

_log = get_logger(__name__)


class CrashBarrierMiddleware:
    """Failures of the layers inside that no route answered: domain errors of the middlewares, and crashes.

    Stands outside the framework, because the framework's own barrier answers and then raises again.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watching_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watching_send)
        except Exception as error:
            failure = failure_of(error)
            if failure.http_status >= 500:
                _log.error("request failed", exc_info=error)
            if not started:
                await respond(failure, context_of(scope))(scope, receive, send)


def failure_of(error: Exception) -> EvPowerError:
    """The failure to show for an exception. What is unknown shows nothing of itself."""
    if isinstance(error, EvPowerError):
        return error
    # Use case: the database restarts. The phone should try again, not report a defect.
    if isinstance(error, psycopg.OperationalError | PoolTimeout | ConnectionError):
        return ServiceUnavailable()
    return EvPowerError()


def install(app: FastAPI) -> None:
    """Register the envelope for everything that routes can raise."""

    async def domain(request: Request, error: Exception) -> Response:
        assert isinstance(error, EvPowerError)
        return respond(error, context_of(request.scope))

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return respond(validation_failure(error.errors(), _body_of(request)), context_of(request.scope))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return respond(_http_failure(error), context_of(request.scope), error.headers)

    async def crash(request: Request, error: Exception) -> Response:
        return respond(failure_of(error), context_of(request.scope))

    app.add_exception_handler(EvPowerError, domain)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, crash)


def validation_failure(errors: Any, body: Any = None) -> EvPowerError:
    """The failure for a list of pydantic errors; it names the first wrong member in the sentence, all in ``fields``.

    ``body`` is the annotation of the route's body.
    """
    fields = field_names(errors, body)
    return ValidationFailed(field=fields[0]["field"] if fields else None, fields=fields)


def _body_of(request: Request) -> Any:
    field = getattr(request.scope.get("route"), "body_field", None)
    return None if field is None else field.field_info.annotation


def _http_failure(error: HTTPException) -> EvPowerError:
    by_status: Mapping[int, type[EvPowerError]] = {
        400: InvalidRequest,
        404: NotFound,
        405: MethodNotAllowed,
        413: PayloadTooLarge,
    }
    return by_status.get(error.status_code, EvPowerError)()
