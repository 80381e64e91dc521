"""A connection on which nothing is waited for without end.

Use case: the host of the database is lost, a NAT entry is dropped, a pooler hangs. What is sent vanishes, no reset
comes, and new connections work. The kernel's keep-alives notice the first two of these; a pooler that hangs keeps its
sockets alive, so every answer has a deadline on our side as well. The server gets a shorter one for the statement
(:func:`server_limits`): it answers an error in time, and who does not answer is not there.
"""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import psycopg
from psycopg import pq, waiting
from psycopg.abc import PQGen
from psycopg.rows import Row

from evpower.logging import get_logger

CONNECT_TIMEOUT_S = 5
_RESOLVE_S = 3  # more than connect_timeout, which does not count the look-up of the host's name
_WAIT_INTERVAL_S = 0.1

# Source: PostgreSQL documentation, "Parameter Key Words". No meaning for sockets of the same host.
KEEP_ALIVE: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}

_log = get_logger(__name__)


class NoAnswer(psycopg.OperationalError):
    """The database did not answer in time. Whether it has done, or will do, what was asked is unknown."""


class BoundedConnection(psycopg.AsyncConnection[Row]):
    """Gives every answer ``answer_within_s`` seconds; without one it is thrown away, and ``is_silent`` says why.

    A cancelled wait throws the connection away too: asking the server to cancel would be one more wait for it.
    """

    answer_within_s: float = 10.0
    is_silent = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.opened_at = time.monotonic()

    @classmethod
    async def connect(cls, conninfo: str = "", **options: Any) -> Self:
        """Open a connection, within seconds.

        Raises:
            psycopg.OperationalError: the server cannot be reached or refuses.
        """
        try:
            async with asyncio.timeout(options.get("connect_timeout", CONNECT_TIMEOUT_S) + _RESOLVE_S):
                return await super().connect(conninfo, **options)
        except TimeoutError:
            raise psycopg.errors.ConnectionTimeout("the database's host was not found in time") from None

    @contextmanager
    def answering_within(self, seconds: float) -> Iterator[None]:
        """A shorter deadline for a question that is answered at once or never."""
        usual, self.answer_within_s = self.answer_within_s, seconds
        try:
            yield
        finally:
            self.answer_within_s = usual

    async def wait(self, gen: PQGen[Any], interval: float = _WAIT_INTERVAL_S, timeout: float | None = None) -> Any:
        limit = self.answer_within_s if timeout is None else timeout
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=limit)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status != pq.TransactionStatus.ACTIVE:
                raise
            # The server has not answered: neither a result nor an error.
            self.pgconn.finish()
            _log.warning("the database does not answer on a connection", extra={"seconds": limit})
            self.is_silent = True
            raise NoAnswer(f"the database did not answer within {limit:g} s") from None
        except asyncio.CancelledError:
            if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise

    def sever(self) -> None:
        """End the connection under whoever waits on it: the wait ends with an error at once."""
        if self.pgconn.status == pq.ConnStatus.OK:
            # A copy of the descriptor: closing the one that the event loop watches would leave it to the next socket.
            with socket.fromfd(self.pgconn.socket, socket.AF_INET, socket.SOCK_STREAM) as copy:
                copy.shutdown(socket.SHUT_RDWR)


def server_limits(answer_within_s: float) -> list[tuple[str, str]]:
    """PostgreSQL's own limits (name, value) for a connection whose answers have ``answer_within_s`` seconds.

    A statement ends before we stop waiting for it. Use case of the second: we have thrown the connection away in the
    middle of a transaction, and the server, which cannot know, holds its locks.
    """
    return [
        ("statement_timeout", f"{round(answer_within_s * 800)}ms"),
        ("idle_in_transaction_session_timeout", f"{round(answer_within_s * 1200)}ms"),
    ]
