"""What the payment flows need, and how a process gets it from its settings."""

from dataclasses import dataclass, field

from evpower.clock import Clock, SystemClock
from evpower.config import Settings
from evpower.db import Database
from evpower.payments.odengi import OdengiProvider
from evpower.payments.odengi_callback import OdengiKeys
from evpower.payments.paused import PausedProvider
from evpower.payments.provider import PaymentProvider
from evpower.payments.queue import CheckQueue, SqsCheckQueue


@dataclass(frozen=True, slots=True)
class PaymentDeps:
    """Ports of the payment flows."""

    db: Database
    provider: PaymentProvider
    queue: CheckQueue
    settings: Settings
    clock: Clock = field(default_factory=SystemClock)


def payment_provider(settings: Settings) -> PaymentProvider:
    """The provider that PAYMENT_PROVIDER selects."""
    if settings.payment_provider == "OBANK":
        return PausedProvider("OBANK")
    return OdengiProvider(
        api_url=settings.odengi_api_url,
        keys=OdengiKeys(
            merchant_id=settings.odengi_merchant_id,
            password=settings.odengi_password.get_secret_value(),
            webhook_secret=settings.odengi_webhook_secret.get_secret_value(),
        ),
        result_url=settings.odengi_result_url,
        timeout_s=settings.provider_timeout_s,
        test_mode=settings.odengi_test_mode,
    )


def payment_deps(db: Database, settings: Settings, clock: Clock | None = None) -> PaymentDeps:
    """Ports as configured; nothing is opened or imported before its first use."""
    return PaymentDeps(db, payment_provider(settings), SqsCheckQueue(settings), settings, clock or SystemClock())
