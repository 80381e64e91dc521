"""Single use of signed requests."""

from evpower.auth import guards
from evpower.clock import Clock
from evpower.db import Database, system_claims


class DatabaseReplayGuard:
    """Memory of used signatures in PostgreSQL.

    Redis would be faster and is not asked: a memory that may be flushed would let a signature work twice, and signed
    requests are few.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def first_use(self, nonce: str, ttl_s: int) -> bool:
        """True exactly once per nonce within ``ttl_s`` seconds."""
        now = self._clock.now()
        return await self._database.run(
            lambda conn: guards.use_nonce(conn, nonce, now=now, ttl_s=ttl_s), claims=system_claims()
        )
