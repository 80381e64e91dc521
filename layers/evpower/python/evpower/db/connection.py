"""Units of work over psycopg connections.

Everything here works through a transaction-mode pooler (Supabase, RDS Proxy): no session state, no server-side
prepared statements there, and the caller's role and claims are set inside each transaction.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, TypeAlias, TypeVar

import orjson
import psycopg
from psycopg import errors as pg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from evpower.config import Settings
from evpower.db.bounded import CONNECT_TIMEOUT_S, KEEP_ALIVE, BoundedConnection, server_limits
from evpower.db.commit_hooks import CommitHooks

T = TypeVar("T")
Conn: TypeAlias = psycopg.AsyncConnection[dict[str, Any]]
Claims: TypeAlias = dict[str, str]
Work: TypeAlias = Callable[[Conn], Awaitable[T]]

_RETRYABLE = (pg.DeadlockDetected, pg.SerializationFailure)
_ATTEMPTS = 5
_CHECK_WITHIN_S = 2.0
_POOL_TIMEOUT_S = 10.0
# Afterwards whoever next needs a connection causes the next attempt. Left to itself the pool doubles its pauses, and
# would go on waiting for a minute when the server has been back for long.
_RECONNECT_FOR_S = _POOL_TIMEOUT_S
_CLOSE_WITHIN_S = 2.0


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


async def _enter(
    conn: Conn, role: str, claims: Claims | None, limits: Sequence[tuple[str, str]], *, local: bool = True
) -> None:
    """Take limits, role and claims, for this transaction only (`SET LOCAL` semantics) or for the whole session."""
    wanted = list(limits)
    if role:
        wanted.append(("role", role))
    if claims is not None:
        wanted.append(("request.jwt.claims", orjson.dumps(claims).decode()))
    if wanted:
        call = f"set_config(%s, %s, {'true' if local else 'false'})"
        await conn.execute(
            f"SELECT {', '.join([call] * len(wanted))}".encode(), [value for pair in wanted for value in pair]
        )


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
    and replaced if the server closed it in the meantime or does not answer on it; nothing is retried once a statement
    of ``work`` ran. Concurrent borrowers within one invocation wait for each other.
    """

    def __init__(self, settings: Settings, *, answer_within_s: float | None = None) -> None:
        """``answer_within_s`` is the deadline of each answer: less than the function may run."""
        self._settings = settings
        self._answer_within_s = answer_within_s or settings.database_answer_timeout_s
        self._limits = server_limits(self._answer_within_s)
        self._conn: BoundedConnection[dict[str, Any]] | None = None
        self._lock = asyncio.Lock()

    async def _borrow(self) -> Conn:
        conn = self._conn
        if conn is not None and not conn.closed:
            try:
                # Use case: the sandbox slept for an hour, and a NAT on the way has forgotten the connection.
                with conn.answering_within(_CHECK_WITHIN_S):
                    await conn.execute("SELECT 1")
            except psycopg.OperationalError:
                await conn.close()
            else:
                return conn
        try:
            self._conn = await connect(self._settings, answer_within_s=self._answer_within_s)
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
                    await _enter(conn, self._settings.database_role, claims, self._limits)
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
    """A pool for the long-lived socket tier. ``open`` must be awaited first.

    When the database does not answer on one connection, all that are as old are replaced: they went the same way.
    """

    def __init__(self, settings: Settings, *, size: int | None = None) -> None:
        self._settings = settings
        self._limits = server_limits(settings.database_answer_timeout_s)
        # Where a session is ours alone, role and limits are taken once for all of its transactions.
        self._takes_once = settings.database_pooler == "session"
        self._lent: set[BoundedConnection[dict[str, Any]]] = set()
        self._replaced_at = 0.0
        self.on_silence: Callable[[], None] = lambda: None
        self.pool: AsyncConnectionPool[BoundedConnection[dict[str, Any]]] = AsyncConnectionPool(
            settings.database_url.get_secret_value(),
            connection_class=BoundedConnection,
            min_size=1,
            max_size=size or settings.database_pool_size,
            open=False,
            timeout=_POOL_TIMEOUT_S,
            reconnect_timeout=_RECONNECT_FOR_S,
            configure=self._configure,
            check=None,
            kwargs=connection_options(settings),
        )

    async def _configure(self, conn: BoundedConnection[dict[str, Any]]) -> None:
        conn.answer_within_s = self._settings.database_answer_timeout_s
        if self._takes_once:
            await _enter(conn, self._settings.database_role, None, self._limits, local=False)

    async def _replace(self, conn: BoundedConnection[dict[str, Any]]) -> None:
        """Throw away what may have fallen silent together with ``conn``, before anybody else waits for it in vain."""
        self.on_silence()
        if conn.opened_at >= self._replaced_at:
            self._replaced_at = time.monotonic()
            await self.pool.drain()

    async def open(self) -> None:
        await self.pool.open(wait=False)

    @asynccontextmanager
    async def _borrow(self) -> AsyncIterator[BoundedConnection[dict[str, Any]]]:
        async with self.pool.connection() as conn:
            self._lent.add(conn)
            try:
                yield conn
            finally:
                self._lent.discard(conn)
                if conn.is_silent:
                    await self._replace(conn)

    @asynccontextmanager
    async def transaction(self, *, claims: Claims | None = None) -> AsyncIterator[Conn]:
        hooks = CommitHooks()
        try:
            async with self._borrow() as conn, conn.transaction():
                if self._takes_once:
                    await _enter(conn, "", claims, ())
                else:
                    await _enter(conn, self._settings.database_role, claims, self._limits)
                yield conn
        finally:
            hooks.close()
        await hooks.run()

    async def run(self, work: Work[T], *, claims: Claims | None = None) -> T:
        return await _retrying(self, work, claims)

    async def run_single(self, work: Work[T]) -> T:
        """Run ``work`` that consists of one statement: a transaction by itself, without BEGIN and COMMIT around it.

        Where role and limits must be taken per transaction (pooler in transaction mode) it is the same as :meth:`run`.
        """
        if not self._takes_once:
            return await self.run(work)
        async with self._borrow() as conn:
            return await work(conn)

    def waiting(self) -> int:
        """How many wait for a connection of the pool at this moment."""
        return int(self.pool.get_stats().get("requests_waiting", 0))

    async def ping(self) -> None:
        """Ask the server for a sign of life. Raises psycopg.Error when there is none."""
        async with self._borrow() as conn:
            with conn.answering_within(_CHECK_WITHIN_S):
                await conn.execute("SELECT 1")

    async def answers_anew(self) -> bool:
        """Whether the server answers on a new connection, whatever became of those of the pool."""
        with suppress(psycopg.Error):
            conn = await connect(self._settings, answer_within_s=_CHECK_WITHIN_S)
            try:
                await conn.execute("SELECT 1")
            finally:
                await conn.close()
            return True
        return False

    async def close(self) -> None:
        """Close every connection; work under way fails at once, as the caller has given it all the time there was."""
        for conn in list(self._lent):
            conn.sever()
        await self.pool.close(timeout=_CLOSE_WITHIN_S)


def connection_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of every connection of the product."""
    return {
        "row_factory": dict_row,
        "autocommit": True,  # transactions are explicit: entries open them
        "prepare_threshold": 3 if settings.database_pooler == "session" else None,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": f"evpower-{settings.instance_id or settings.environment}",
        **KEEP_ALIVE,
    }


async def connect(settings: Settings, *, answer_within_s: float | None = None) -> BoundedConnection[dict[str, Any]]:
    """Open one connection with the product's options."""
    conn: BoundedConnection[dict[str, Any]] = await BoundedConnection.connect(
        settings.database_url.get_secret_value(), **connection_options(settings)
    )
    conn.answer_within_s = answer_within_s or settings.database_answer_timeout_s
    return conn
