"""Everything the routes need, built once per process and replaced piece by piece in tests."""

from dataclasses import dataclass

from evpower.auth import service as auth
from evpower.auth.login import LoginDeps, login_deps
from evpower.auth.rate_limit import RateLimiter
from evpower.auth.service import Authenticator
from evpower.clock import Clock, SystemClock
from evpower.commands.queue import CommandQueue, SqsCommandQueue
from evpower.config import Settings
from evpower.db import Database, SingleConnectionDatabase
from evpower.notifications.sms import sms_sender
from evpower.payments.deps import PaymentDeps, payment_deps
from evpower.realtime.service import Publisher
from evpower.redis_access import RedisAccess
from evpower.storage.store import FileStore, S3FileStore
from functions.api.replay import DatabaseReplayGuard
from functions.api.shared_answers import SharedAnswers

DATABASE_ANSWERS_WITHIN_S = 24.0
"""Below the gateway's 29 s, so that a caller gets an answer of ours."""


@dataclass(slots=True)
class Deps:
    """The dependency container. Nothing in it connects before its first use."""

    settings: Settings
    clock: Clock
    database: Database
    redis: RedisAccess
    authenticator: Authenticator
    rate_limiter: RateLimiter
    logins: LoginDeps
    payments: PaymentDeps
    commands: CommandQueue
    publisher: Publisher
    files: FileStore
    answers: SharedAnswers

    async def close(self) -> None:
        """Release connections (tests; a Lambda process just ends)."""
        await self.publisher.close()
        await self.redis.close()
        await self.database.close()


def build_deps(settings: Settings, *, database: Database | None = None, clock: Clock | None = None) -> Deps:
    """The product's container."""
    clock = clock or SystemClock()
    database = database or SingleConnectionDatabase(settings, answer_within_s=DATABASE_ANSWERS_WITHIN_S)
    redis = RedisAccess(settings)
    limiter = RateLimiter(redis, database, clock)
    return Deps(
        settings=settings,
        clock=clock,
        database=database,
        redis=redis,
        authenticator=auth.from_settings(settings, clock=clock, replay_guard=DatabaseReplayGuard(database, clock)),
        rate_limiter=limiter,
        logins=login_deps(database, limiter, sms_sender(settings), settings, clock),
        payments=payment_deps(database, settings, clock),
        commands=SqsCommandQueue(settings),
        publisher=Publisher(settings),
        files=S3FileStore(settings, clock),
        answers=SharedAnswers(redis),
    )
