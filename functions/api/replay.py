"""Single use of signed requests."""

import psycopg
from psycopg_pool import PoolTimeout

from evpower.auth import guards
from evpower.clock import Clock
from evpower.db import Database, system_claims
from evpower.errors import ServiceUnavailable


class DatabaseReplayGuard:
    """Memory of used signatures in PostgreSQL.

    Redis would be faster and is not asked: a memory that may be flushed would let a signature work twice, and signed
    requests are few.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def first_use(self, nonce: str, ttl_s: int) -> bool:
        """True exactly once per nonce within ``ttl_s`` seconds.

        Raises:
            ServiceUnavailable: the database is away, so a replay could not be told from a first use.
        """
        now = self._clock.now()
        try:
            return await self._database.run(
                lambda conn: guards.use_nonce(conn, nonce, now=now, ttl_s=ttl_s), claims=system_claims()
            )
        except (psycopg.OperationalError, PoolTimeout, OSError) as error:
            raise ServiceUnavailable from error
