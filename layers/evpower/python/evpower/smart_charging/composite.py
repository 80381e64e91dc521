"""What profiles add up to: the composite schedule that a charger should follow (OCPP 1.6 section 3.13). Pure.

At every moment, of each purpose the profile with the highest stack level counts that says something about it. A
TxProfile goes before TxDefaultProfile, a connector's own default before the one of the whole charger, and nothing
exceeds ChargePointMaxProfile or what the connector can give. The whole charger (connector 0) may take what its
connectors may take together.

A charger may count a voltage or a number of phases of its own; here 1 A is 230 W on each of the period's phases,
3 unless it names them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from math import ceil

from evpower.smart_charging.models import Difference, Kind, Period, Profile, Purpose, RateUnit, Running, Segment

VOLTS = 230
PHASES = 3
_TENTH = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Site:
    """Everything that limits a charger.

    Attributes:
        installed: profiles with their connector.
        powers: W that each connector can give by itself; None: unknown.
        running: the transactions.
    """

    installed: Sequence[tuple[int, Profile]]
    powers: Mapping[int, Decimal | None]
    running: Sequence[Running] = ()


def composite(site: Site, connector_id: int, start: datetime, seconds: int, unit: RateUnit) -> list[Segment]:
    """The expected schedule of ``seconds`` from ``start`` on, in ``unit``, for a connector or (0) the whole charger.

    A relative schedule begins with the connector's transaction, without one at ``start``.
    """
    moments = sorted({0, *_changes(site, start, seconds)})
    segments: list[Segment] = []
    for moment in moments:
        watts = limit_at(site, connector_id, start + timedelta(seconds=moment), start)
        limit = None if watts is None else _in_unit(watts, unit)
        if not segments or segments[-1].limit != limit:
            segments.append(Segment(moment, limit))
    return segments


def limit_at(site: Site, connector_id: int, moment: datetime, start: datetime) -> Decimal | None:
    """W that may flow at ``moment``; None: nothing limits it."""
    if connector_id == 0:
        parts = [_connector_limit(site, number, moment, start) for number in site.powers]
        together = None if None in parts else sum((part for part in parts if part is not None), Decimal(0))
    else:
        together = _connector_limit(site, connector_id, moment, start)
    ceiling = _leading(site, 0, Purpose.CHARGE_POINT_MAX, moment, start, None)
    return _lowest([together, ceiling])


def _connector_limit(site: Site, connector_id: int, moment: datetime, start: datetime) -> Decimal | None:
    running = next((run for run in site.running if run.connector_id == connector_id), None)
    chosen = None
    if running is not None:
        chosen = _leading(site, connector_id, Purpose.TX, moment, start, running)
    for place in (connector_id, 0):
        if chosen is None:
            chosen = _leading(site, place, Purpose.TX_DEFAULT, moment, start, running)
    ceiling = _leading(site, 0, Purpose.CHARGE_POINT_MAX, moment, start, None)
    return _lowest([site.powers.get(connector_id), chosen, ceiling])


def _leading(
    site: Site, place: int, purpose: Purpose, moment: datetime, start: datetime, running: Running | None
) -> Decimal | None:
    """W of the highest profile of a purpose at a place that says something about the moment."""
    stack = sorted(
        (p for at, p in site.installed if at == place and p.purpose is purpose),
        key=lambda profile: profile.stack_level,
        reverse=True,
    )
    began_at = start if running is None else running.began_at
    for profile in stack:
        if (
            purpose is Purpose.TX
            and running is not None
            and profile.transaction_id not in (None, running.transaction_id)
        ):
            continue
        period = period_at(profile, moment, began_at)
        if period is not None:
            return _in_watts(period, profile.schedule.unit)
    return None


def period_at(profile: Profile, moment: datetime, began_at: datetime) -> Period | None:
    """The period of the profile that covers ``moment``; ``began_at`` is where a relative schedule begins."""
    if profile.valid_from is not None and moment < profile.valid_from:
        return None
    if profile.valid_to is not None and moment >= profile.valid_to:
        return None
    at = (moment - (profile.schedule.starts_at or began_at)).total_seconds()
    if profile.kind is Kind.RELATIVE:
        at = (moment - began_at).total_seconds()
    if at < 0:
        return None
    if profile.recurrency is not None:
        at %= profile.recurrency.seconds
    if profile.schedule.duration_s is not None and at >= profile.schedule.duration_s:
        return None
    begun = [period for period in profile.schedule.periods if period.start_s <= at]
    return begun[-1] if begun else None


def _changes(site: Site, start: datetime, seconds: int) -> Iterable[int]:
    """Seconds after ``start`` at which a limit may change."""
    for place, profile in site.installed:
        edges = {moment for moment in (profile.valid_from, profile.valid_to) if moment is not None}
        for begin in _begins(site, place, profile, start, seconds):
            edges |= {begin + timedelta(seconds=period.start_s) for period in profile.schedule.periods}
            if profile.schedule.duration_s is not None:
                edges.add(begin + timedelta(seconds=profile.schedule.duration_s))
        for edge in edges:
            after = ceil((edge - start).total_seconds())
            if 0 < after < seconds:
                yield after


def _begins(site: Site, place: int, profile: Profile, start: datetime, seconds: int) -> Iterable[datetime]:
    """When the profile's schedule begins, as far as it matters for the time that is asked for."""
    fixed = profile.schedule.starts_at if profile.kind is not Kind.RELATIVE else None
    if fixed is None:
        yield start
        yield from (run.began_at for run in site.running if place in (0, run.connector_id))
    elif profile.recurrency is None:
        yield fixed
    else:
        every = profile.recurrency.seconds
        first = max(0, int((start - fixed).total_seconds() // every))
        last = max(first, int((start - fixed).total_seconds() + seconds) // every)
        yield from (fixed + timedelta(seconds=every * number) for number in range(first, last + 1))


def _lowest(limits: Iterable[Decimal | None]) -> Decimal | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _in_watts(period: Period, unit: RateUnit) -> Decimal:
    return period.limit if unit is RateUnit.WATT else period.limit * VOLTS * (period.phases or PHASES)


def _in_unit(watts: Decimal, unit: RateUnit) -> Decimal:
    value = watts if unit is RateUnit.WATT else watts / (VOLTS * PHASES)
    return value.quantize(_TENTH, ROUND_HALF_UP)


def differences(expected: Sequence[Segment], told: Sequence[Segment]) -> list[Difference]:
    """Where the charger's schedule is another than the expected one, by more than 1 % and 0.1 of the unit."""
    found = []
    for moment in sorted({segment.start_s for segment in (*expected, *told)}):
        ours, theirs = _value_at(expected, moment), _value_at(told, moment)
        if not _alike(ours, theirs):
            found.append(Difference(moment, ours, theirs))
    return found


def _value_at(segments: Sequence[Segment], moment: int) -> Decimal | None:
    begun = [segment for segment in segments if segment.start_s <= moment]
    return begun[-1].limit if begun else None


def _alike(ours: Decimal | None, theirs: Decimal | None) -> bool:
    if ours is None:
        return True  # nothing of ours limits it: the charger knows what it can give
    return theirs is not None and abs(ours - theirs) <= max(_TENTH, ours / 100)
