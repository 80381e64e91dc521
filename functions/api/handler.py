"""AWS Lambda entry: API Gateway REST (v1) proxy events to the ASGI application."""

from typing import Any

import orjson
from mangum import Mangum

from evpower.config import get_settings
from evpower.errors import EvPowerError, InvalidRequest
from evpower.ids import accept_correlation_id
from evpower.lambda_runtime.entry import observed
from evpower.logging import get_logger
from functions.api.app import create_app
from functions.api.context import RequestContext
from functions.api.deps import build_deps
from functions.api.envelope import body_of

_settings = get_settings()
observe = observed("api", _settings.log_level)
get_logger("mangum.http").setLevel("WARNING")  # the application writes its own, better line about each request
_log = get_logger(__name__)

# One event loop per process: Mangum takes the thread's loop for every invocation, and so the connection stays usable.
deps = build_deps(_settings)
_application: Any = create_app(deps)
_adapter = Mangum(_application, lifespan="off")


@observe
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one proxy event; one that cannot be read as well, because a crash would show the gateway's own 502."""
    try:
        return _adapter(event, context)
    except (ValueError, KeyError, UnicodeError) as error:
        _log.warning("unreadable event: %s", error)
        return _unreadable(InvalidRequest("The request cannot be read"))


def _unreadable(error: EvPowerError) -> dict[str, Any]:
    context = RequestContext(correlation_id=accept_correlation_id(None), client_address="unknown", language="ru")
    return {
        "statusCode": error.http_status,
        "headers": {
            "content-type": "application/json",
            "access-control-allow-origin": "*",
            "cache-control": "no-store",
        },
        "body": orjson.dumps(body_of(error, context)).decode(),
        "isBase64Encoded": False,
    }
