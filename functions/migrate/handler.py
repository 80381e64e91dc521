"""Brings the database to this code's schema, before the code is deployed (a trigger of the deployment calls it).

Whatever it raises fails the deployment, and the old code goes on with the old schema: migrations are backward
compatible and each is all or nothing. It may be called again at any time.

Environment: SECRET_IDS names the owner's secret; LOGIN_SECRETS (``role=secret`` pairs, comma-separated) names the
secrets of the logins of the application roles, each with ``username`` and ``password``.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from evpower.aws_secrets import read_secret, secret_settings
from evpower.db.logins import Login, ensure_logins
from evpower.db.migrate import migrate
from evpower.lambda_runtime.entry import observed
from evpower.logging import get_logger

# The product's settings are not read here: they want secrets that this function has no business with.
observe = observed("migrate", os.environ.get("LOG_LEVEL", "INFO"))
_log = get_logger(__name__)


@observe
def handler(event: dict[str, Any], context: Any) -> dict[str, list[str]]:
    """Migrate, then set the logins; what was applied and made.

    Raises:
        MigrationError, psycopg.Error, SecretsUnavailableError: the deployment must not go on.
    """
    with asyncio.Runner() as runner:
        return runner.run(work(os.environ))


async def work(environ: Mapping[str, str]) -> dict[str, list[str]]:
    """The whole of it, with the environment given."""
    dsn = secret_settings(environ).get("DATABASE_URL") or environ["DATABASE_URL"]
    applied = await migrate(dsn)
    made = await ensure_logins(dsn, _logins(environ))
    _log.info("database is ready", extra={"applied": applied, "logins_made": made})
    return {"applied": applied, "logins_made": made}


def _logins(environ: Mapping[str, str]) -> list[Login]:
    logins = []
    for pair in filter(None, (item.strip() for item in environ.get("LOGIN_SECRETS", "").split(","))):
        role, _, secret_id = pair.partition("=")
        secret = read_secret(secret_id, environ)
        logins.append(Login(secret["username"], secret["password"], role))
    return logins
