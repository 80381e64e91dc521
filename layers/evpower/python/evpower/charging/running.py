"""A running transaction as the socket tier keeps it in memory: what judging a reading needs, without the database.

Energy Wh, power W, money som, times aware and in UTC.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from evpower.charging import bounds
from evpower.charging.models import LimitType, MeterState, SessionState
from evpower.money import TYIYN
from evpower.pricing import rules
from evpower.pricing.models import Price
from evpower.stations.sampling import Gaps

STOP_LATENCY_S = 5  # command on its way, contactor opening
_MARGIN_WH = 1  # far more than any rounding of a division


@dataclass(slots=True)
class MeterContext:
    """One transaction with a session. ``meter`` moves on with each committed reading; the rest is its terms.

    Attributes:
        started_at: server time from which minutes count and energy is plausible.
        charger_started_at: when the transaction began by the charger's clock.
        max_power_w: most that the connector can deliver.
        register_factor: Wh that the register counts where it says 1, confirmed by staff.
        gaps: what its readings show of the charger's interval.
        until: readings dated later are not of this charge, which is over (:mod:`evpower.charging.belonging`); None:
            any counts.
        clear: until where no reading can come near a limit; follows from the terms.
    """

    transaction_id: int
    session_id: str
    client_id: str
    station_id: str
    connector_id: int
    state: SessionState
    limit_type: LimitType
    limit_value: Decimal
    price: Price
    reserved_amount: Decimal
    started_at: datetime
    max_power_w: Decimal
    sample_interval_s: int
    meter: MeterState
    charger_started_at: datetime | None = None
    register_factor: int = 1
    gaps: Gaps = field(default_factory=Gaps)
    until: datetime | None = None
    clear: "Clear" = field(init=False, repr=False, compare=False)
    _kept_from: tuple[datetime, float] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.clear = clear_of(self)

    def sample_every(self, interval_s: int) -> None:
        """Readings come every ``interval_s`` seconds from now on."""
        self.sample_interval_s = interval_s
        self.clear = clear_of(self)

    def reserve(self, amount: Decimal) -> None:
        """``amount`` som are reserved from now on."""
        self.reserved_amount = amount
        self.clear = clear_of(self)

    def keep_time(self, now: datetime, monotonic: float) -> None:
        """Measure time by the monotonic clock from here on, in which ``now`` is ``monotonic`` seconds.

        Not yet where the server's clock went back since the last reading: how long ago that was, the next one tells.
        """
        if not bounds.went_back(self.meter.since, now):
            self._kept_from = (max(now, self.started_at, self.meter.since or now), monotonic)

    def measured(self, now: datetime, monotonic: float, at: datetime | None) -> datetime:
        """The server time by which energy and minutes of this transaction are judged; ``at`` is the charger's.

        Use case: the server's clock is set while the car charges. Within one instance as much time has passed as the
        monotonic clock says; more (the process stood still) only if the charger's clock says so as well, or has no say.
        Times of the transaction stay in order, whatever ``now`` is.
        """
        if self._kept_from is None:
            return now
        moment, since = self._kept_from
        kept = moment + timedelta(seconds=monotonic - since)
        if not bounds.went_back(now, kept):
            return kept
        meter = self.meter
        if at is None or meter.since is None or meter.since_charger is None or not bounds.tells_time(at, now):
            return now
        return max(kept, min(now, meter.since + (at - meter.since_charger)))

    def advance(self, meter: MeterState, monotonic: float) -> None:
        """The meter after a reading that is committed."""
        if meter.since is not None and meter.since != self.meter.since:
            kept = self._kept_from
            if kept is None or meter.since > kept[0] + timedelta(seconds=monotonic - kept[1]):
                self._kept_from = (meter.since, monotonic)
        self.meter = meter

    @property
    def ceiling(self) -> Decimal:
        """Som that the session may cost: what is reserved, or less where the driver set an amount."""
        if self.limit_type is LimitType.AMOUNT:
            return min(self.reserved_amount, self.limit_value)
        return self.reserved_amount


@dataclass(frozen=True, slots=True)
class Clear:
    """Bounds below which a session cannot pass a limit before its next reading, whatever its power.

    Nearly every reading lies below them, and needs no projection. ``energy_wh`` of None: no energy limit.
    """

    energy_wh: Decimal | None
    gross: Decimal


def clear_of(context: MeterContext) -> Clear:
    """Limits less all that the connector can deliver, and the clock can add, until a stop would take effect."""
    horizon_s = context.sample_interval_s + STOP_LATENCY_S
    reach_wh = max(context.max_power_w, Decimal(0)) * horizon_s / 3600 + _MARGIN_WH
    added = rules.gross(context.price, reach_wh / 1000, Decimal(horizon_s) / 60) - context.price.session_fee
    limit_wh = context.limit_value * 1000 if context.limit_type is LimitType.ENERGY else None
    return Clear(
        None if limit_wh is None else limit_wh - reach_wh,
        # A free tariff has no reserve to run out of; rounding adds half a tyiyn at most.
        max(context.ceiling, TYIYN) - 2 * TYIYN - added,
    )
