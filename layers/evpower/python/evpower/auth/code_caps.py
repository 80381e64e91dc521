"""How many login codes are sent at all: a bound on what strangers can make us pay for text messages. Pure.

Use case (SMS pumping, "artificially inflated traffic"): somebody who earns on messages to a range of numbers asks for a
code for each of them, from many addresses. A limit by phone or by address does not see it, so there are caps on the
codes for one range of numbers and for the whole network, by the hour and by the day. Of each cap a share is kept for
phones that have an account, so that whoever uses up the rest keeps no driver out.
"""

import math
from dataclasses import dataclass

from evpower.auth.rate_rules import Bucket
from evpower.config import Settings

HOUR_S, DAY_S = 3600, 86_400
SHARED = ("prefix", "network")
"""Kinds of caps that many drivers share: who reaches one keeps others out."""
_SUBSCRIBER_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Cap:
    """At most ``limit`` codes in ``window_s`` seconds, at most ``for_strangers`` of them for phones without an account.

    ``kind`` (address, prefix or network) is for the log and the metric.
    """

    kind: str
    of: str
    limit: int
    for_strangers: int
    window_s: int

    def buckets(self, *, is_client: bool) -> tuple[Bucket, ...]:
        """What a code counts in: codes to strangers among themselves as well."""
        everybody = Bucket(f"codes-{self.kind}:{self.of}", self.limit, self.window_s)
        if is_client:
            return (everybody,)
        return (everybody, Bucket(f"codes-{self.kind}:{self.of}:strangers", self.for_strangers, self.window_s))


def is_served(phone: str, settings: Settings) -> bool:
    """Whether codes are sent to this number (E.164) at all."""
    return any(phone.startswith(f"+{code}") for code in settings.sms_country_codes)


def prefix_of(phone: str) -> str:
    """The range of a number: country and operator, all but its last six digits."""
    return phone[:-_SUBSCRIBER_DIGITS]


def caps(phone: str, address: str, settings: Settings) -> tuple[Cap, ...]:
    """Every cap that a code for this phone counts in, the narrowest first."""
    kept = settings.otp_share_kept_for_clients

    def shared(kind: str, of: str, limit: int, window_s: int) -> Cap:
        return Cap(kind, of, limit, limit - math.ceil(limit * kept), window_s)

    # An address is no budget, only somebody's neighbours: clients always get as many again.
    by_address = settings.otp_sends_per_address_per_hour
    return (
        Cap("address", address, 2 * by_address, by_address, HOUR_S),
        shared("prefix", prefix_of(phone), settings.otp_sends_per_prefix_per_hour, HOUR_S),
        shared("prefix", prefix_of(phone), settings.otp_sends_per_prefix_per_day, DAY_S),
        shared("network", "all", settings.otp_sends_per_hour, HOUR_S),
        shared("network", "all", settings.otp_sends_per_day, DAY_S),
    )
