"""What the payment flows need, and how a process gets it from its settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from evpower.clock import Clock, SystemClock
from evpower.config import Settings
from evpower.db import Database
from evpower.payments.models import TopUp
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
    others: Mapping[str, PaymentProvider] = field(default_factory=dict)

    def provider_of(self, topup: TopUp) -> PaymentProvider:
        """The provider that a top-up was made with.

        Use case: PAYMENT_PROVIDER is switched while payments are open. Each is asked about where it was made.
        """
        return self.others.get(topup.payment_provider, self.provider)


def payment_provider(settings: Settings) -> PaymentProvider:
    """The provider that PAYMENT_PROVIDER selects."""
    if settings.payment_provider == "OBANK":
        return _obank(settings) if settings.obank_enabled else PausedProvider("OBANK")
    return _odengi(settings)


def _odengi(settings: Settings) -> OdengiProvider:
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


def _obank(settings: Settings) -> PaymentProvider:
    # Imported here: nearly every process works with the other provider.
    from evpower.payments.obank import ObankAccess, ObankProvider
    from evpower.payments.obank_codec import Dialect

    def states(text: str) -> frozenset[str]:
        return frozenset(state.strip() for state in text.split(",") if state.strip())

    access = ObankAccess(
        api_url=settings.obank_api_url,
        point=settings.obank_point,
        service_id=settings.obank_service_id,
        cert_path=settings.obank_cert_path,
        cert_password=settings.obank_cert_password.get_secret_value(),
        ca_path=settings.obank_ca_path,
        timeout_s=settings.obank_timeout_s,
        notify_url=settings.obank_notify_url,
        notify_secret=settings.obank_notify_secret.get_secret_value(),
        redirect_url=settings.obank_redirect_url,
        city=settings.obank_city,
        country_code=settings.obank_country_code,
    )
    dialect = Dialect(
        units_per_som=settings.obank_units_per_som,
        success_states=states(settings.obank_success_states),
        failure_states=states(settings.obank_failure_states),
        unknown_states=states(settings.obank_unknown_states),
    )
    return ObankProvider(access, dialect)


def other_providers(settings: Settings) -> dict[str, PaymentProvider]:
    """Providers that are not selected, but can still be asked about what was made with them."""
    if settings.payment_provider == "OBANK":
        return {"ODENGI": _odengi(settings)} if settings.odengi_merchant_id else {}
    is_ready = settings.obank_enabled and settings.obank_cert_path and settings.obank_units_per_som in (100, 1000)
    return {"OBANK": _obank(settings)} if is_ready else {}


def payment_deps(db: Database, settings: Settings, clock: Clock | None = None) -> PaymentDeps:
    """Ports as configured; nothing is opened or imported before its first use."""
    return PaymentDeps(
        db,
        payment_provider(settings),
        SqsCheckQueue(settings),
        settings,
        clock or SystemClock(),
        other_providers(settings),
    )
