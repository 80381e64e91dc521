"""Which bucket a request counts in, pure (mobile-api.md §1.9).

The rule behind the table: nobody is refused for what others do. A driver counts by its own id, whatever kind of token
shows it. Where there is nobody to count, reads count by address in a bucket that fits a carrier's NAT (thousands of
phones behind one address), and of everything else only what failed counts. What must work when all else is refused (to
stop a charge, to stay signed in) shares its bucket with nothing.
"""

import re
from dataclasses import dataclass

from evpower.auth.models import Principal
from evpower.auth.rate_rules import Bucket
from evpower.config import Settings

_STOP = re.compile(r"/api/(?:v1/)?charging/stop")
# The last line are other names of the card top-up: nobody should try stolen card numbers quickly.
_CRITICAL = re.compile(
    r"/api/(?:v1/)?(?:charging/start|balance/topup[^/]*"
    r"|balance/(?:h2h|token)-payment|payment/(?:h2h-create|h2h-payment|token|token-payment))"
)
# Count by what they carry: a refresh token, a phone, a code (evpower.auth.login).
_SIGN_IN = re.compile(r"/api/v1/auth/(?:refresh|logout|send-otp|verify-otp|otp/send|otp/verify)")
# The app asks this when it starts, and signs the driver out when it is refused (mobile-api.md §2.2).
_WHO_AM_I = re.compile(r"/api/v1/auth/me")
_EXEMPT = frozenset({"/health", "/readyz"})
_READS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request decides where it counts. ``expired`` is the subject of a token whose time is over."""

    method: str
    path: str
    address: str
    principal: Principal | None = None
    expired: str | None = None


@dataclass(frozen=True, slots=True)
class Counting:
    """``bucket`` is counted before the request is answered, ``failures`` if it is refused.

    ``durable``: counted in PostgreSQL while Redis is away, because it protects money.
    """

    bucket: Bucket | None = None
    failures: Bucket | None = None
    durable: bool = False


def counting_of(asked: Asked, settings: Settings) -> Counting:
    """Where a request counts."""
    if asked.path in _EXEMPT:
        return Counting()
    failures = Bucket(f"failures:{asked.address}", settings.rate_limit_failures_per_minute)
    is_post = asked.method == "POST"
    if is_post and _SIGN_IN.fullmatch(asked.path):
        return Counting(failures=failures)
    default = settings.rate_limit_default_per_minute
    if asked.principal is not None:
        who = _identity(asked.principal)
        if is_post and _STOP.fullmatch(asked.path):
            return Counting(Bucket(f"stop:{who}", settings.rate_limit_critical_per_minute), durable=True)
        if is_post and _CRITICAL.fullmatch(asked.path):
            return Counting(Bucket(f"critical:{who}", settings.rate_limit_critical_per_minute), durable=True)
        if asked.method in _READS and _WHO_AM_I.fullmatch(asked.path):
            return Counting(Bucket(f"start:{who}", default))
        return Counting(Bucket(f"default:{who}", default))
    if asked.expired is not None:
        # Use case: the app starts with yesterday's token. It must hear that, whoever else is behind its address.
        return Counting(Bucket(f"expired:client:{asked.expired}", default))
    if asked.method in _READS:
        return Counting(Bucket(f"public:{asked.address}", settings.rate_limit_public_per_minute), failures)
    return Counting(failures=failures)


def _identity(principal: Principal) -> str:
    """Own and Supabase tokens and signatures of one client are one client; the master key is nobody's account."""
    return "master" if principal.is_master else f"client:{principal.subject}"
