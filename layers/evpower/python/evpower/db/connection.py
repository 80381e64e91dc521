"""Units of work over psycopg connections.

Everything here works through a transaction-mode pooler (Supabase, RDS Proxy): no session state, no server-side
prepared statements there, and the caller's role and claims are set inside each transaction.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeAlias, TypeVar

import orjson
import psycopg
from psycopg import errors as pg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from evpower.config import Settings
from evpower.db.commit_hooks import CommitHooks

T = TypeVar("T")
Conn: TypeAlias = psycopg.AsyncConnection[dict[str, Any]]
Claims: TypeAlias = dict[str, str]
Work: TypeAlias = Callable[[Conn], Awaitable[T]]

_RETRYABLE = (pg.DeadlockDetected, pg.SerializationFailure)
_ATTEMPTS = 5
_CONNECT_TIMEOUT_S = 5


def system_claims() -> Claims:
    """Claims of work that the API does on nobody's behalf (login, health): row policies let it through."""
    return {"evp_scope": "system"}


class Database(Protocol):
    """What entries use to open units of work."""

    def transaction(self, *, claims: Claims | None = None) -> "AsyncTransaction":
        """One transaction as a context manager: commit at the end, roll back on an exception."""
        ...

    async def run(self, work: Work[T], *, claims: Claims | None = None) -> T:
        """Run ``work`` in one transaction; deadlock and serialisation failures run it again from the start.

        ``work`` must therefore have no effect outside the transaction.
        """
        ...

    async def close(self) -> None: ...


AsyncTransaction: TypeAlias = Any  # typing has no name for "async context manager over Conn" that both classes share


async def _enter(conn: Conn, role: str, claims: Claims | None) -> None:
    """Take role and claims for this transaction only (`SET LOCAL` semantics)."""
    if claims is not None:
        await conn.execute(
            "SELECT set_config('role', %s, true), set_config('request.jwt.claims', %s, true)"
            if role
            else "SELECT set_config('request.jwt.claims', %s, true)",
            (role, orjson.dumps(claims).decode()) if role else (orjson.dumps(claims).decode(),),
        )
    elif role:
        await conn.execute("SELECT set_config('role', %s, true)", (role,))


async def _retrying(database: Database, work: Work[T], claims: Claims | None) -> T:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            async with database.transaction(claims=claims) as conn:
                result: T = await work(conn)
            return result
        except _RETRYABLE:
            if attempt == _ATTEMPTS:
                raise
            await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - jitter, not a secret
    raise AssertionError("unreachable")


class SingleConnectionDatabase:
    """One connection for a Lambda process.

    Pool workers would freeze with the sandbox, so there is none. The connection is checked when it is borrowed,
    and replaced if the server closed it in the meantime; nothing is retried once a statement of ``work`` ran.
    Concurrent borrowers within one invocation wait for each other.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._conn: Conn | None = None
        self._lock = asyncio.Lock()

    async def _borrow(self) -> Conn:
        conn = self._conn
        if conn is not None and not conn.closed:
            try:
                await conn.execute("SELECT 1")
            except psycopg.OperationalError:
                await conn.close()
            else:
                return conn
        try:
            self._conn = await connect(self._settings)
        except psycopg.OperationalError:
            from evpower import metrics  # it needs this package for its own after-commit hooks

            metrics.emit({"DatabaseAway": 1})
            raise
        return self._conn

    @asynccontextmanager
    async def transaction(self, *, claims: Claims | None = None) -> AsyncIterator[Conn]:
        hooks = CommitHooks()
        try:
            async with self._lock:
                conn = await self._borrow()
                async with conn.transaction():
                    await _enter(conn, self._settings.database_role, claims)
                    yield conn
        finally:
            hooks.close()
        await hooks.run()

    async def run(self, work: Work[T], *, claims: Claims | None = None) -> T:
        return await _retrying(self, work, claims)

    async def close(self) -> None:
        if self._conn is not None:
            await self._conn.close()
            self._conn = None


class PooledDatabase:
    """A pool for the long-lived socket tier. ``open`` must be awaited first."""

    def __init__(self, settings: Settings, *, size: int | None = None) -> None:
        self._settings = settings
        self._session_role = settings.database_role if settings.database_pooler == "session" else ""
        self._transaction_role = "" if self._session_role else settings.database_role
        self.pool: AsyncConnectionPool[Conn] = AsyncConnectionPool(
            settings.database_url.get_secret_value(),
            min_size=1,
            max_size=size or settings.database_pool_size,
            open=False,
            timeout=10,
            configure=self._configure,
            check=None,
            kwargs=connection_options(settings),
        )

    async def _configure(self, conn: Conn) -> None:
        if self._session_role:
            await conn.execute("SELECT set_config('role', %s, false)", (self._session_role,))

    async def open(self) -> None:
        await self.pool.open(wait=False)

    @asynccontextmanager
    async def transaction(self, *, claims: Claims | None = None) -> AsyncIterator[Conn]:
        hooks = CommitHooks()
        try:
            async with self.pool.connection() as conn, conn.transaction():
                await _enter(conn, self._transaction_role, claims)
                yield conn
        finally:
            hooks.close()
        await hooks.run()

    async def run(self, work: Work[T], *, claims: Claims | None = None) -> T:
        return await _retrying(self, work, claims)

    async def run_single(self, work: Work[T]) -> T:
        """Run ``work`` that consists of one statement: a transaction by itself, without BEGIN and COMMIT around it.

        Where the role must be taken per transaction (pooler in transaction mode) it is the same as :meth:`run`.
        """
        if self._transaction_role:
            return await self.run(work)
        async with self.pool.connection() as conn:
            return await work(conn)

    def waiting(self) -> int:
        """How many wait for a connection of the pool at this moment."""
        return int(self.pool.get_stats().get("requests_waiting", 0))

    async def ping(self) -> None:
        """Ask the server for a sign of life. Raises psycopg.Error when there is none."""
        async with self.pool.connection() as conn:
            await conn.execute("SELECT 1")

    async def close(self) -> None:
        await self.pool.close()


def connection_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of every connection of the product."""
    return {
        "row_factory": dict_row,
        "autocommit": True,  # transactions are explicit: entries open them
        "prepare_threshold": 3 if settings.database_pooler == "session" else None,
        "connect_timeout": _CONNECT_TIMEOUT_S,
        "application_name": f"evpower-{settings.instance_id or settings.environment}",
    }


async def connect(settings: Settings) -> Conn:
    """Open one connection with the product's options."""
    return await psycopg.AsyncConnection.connect(
        settings.database_url.get_secret_value(), **connection_options(settings)
    )
