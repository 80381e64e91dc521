"""What the sweeps need, built once per process; nothing in it connects or imports a client before its first use."""

from dataclasses import dataclass
from datetime import datetime

from evpower.clock import Clock, SystemClock
from evpower.commands.queue import CommandQueue, SqsCommandQueue
from evpower.config import Settings
from evpower.db import Database, SingleConnectionDatabase, database_time
from evpower.notifications.queue import PushQueue, SqsPushQueue
from evpower.payments.deps import PaymentDeps, payment_deps
from evpower.realtime.service import Publisher
from evpower.storage.store import FileStore, S3FileStore

DATABASE_ANSWERS_WITHIN_S = 50.0
"""A sweep works through many rows, and has a minute."""


@dataclass(frozen=True, slots=True)
class SweepDeps:
    """Ports of the sweeps. ``database`` works under the worker role."""

    settings: Settings
    clock: Clock
    database: Database
    payments: PaymentDeps
    commands: CommandQueue
    pushes: PushQueue
    publisher: Publisher
    files: FileStore
    has_own_clock: bool = False

    async def now(self) -> datetime:
        """The database's time: what sweeps compare was written by it, whatever the clock of this machine says.

        Where a clock was given (tests), what that says.
        """
        return self.clock.now() if self.has_own_clock else await self.database.run(database_time)

    async def close(self) -> None:
        """Release connections (tests; a Lambda process just ends)."""
        await self.publisher.close()
        await self.database.close()


def build_deps(settings: Settings, *, database: Database | None = None, clock: Clock | None = None) -> SweepDeps:
    """The product's container."""
    has_own_clock = clock is not None
    clock = clock or SystemClock()
    database = database or SingleConnectionDatabase(settings, answer_within_s=DATABASE_ANSWERS_WITHIN_S)
    return SweepDeps(
        settings=settings,
        clock=clock,
        database=database,
        payments=payment_deps(database, settings, clock),
        commands=SqsCommandQueue(settings),
        pushes=SqsPushQueue(settings),
        publisher=Publisher(settings),
        files=S3FileStore(settings, clock),
        has_own_clock=has_own_clock,
    )
