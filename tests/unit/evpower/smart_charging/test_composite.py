"""Composite schedules: the pure function against a second-by-second reading, and against the simulated charger."""

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from evpower.smart_charging.composite import Site, composite, differences, limit_at, period_at
from evpower.smart_charging.models import (
    Difference,
    Kind,
    Period,
    Profile,
    Purpose,
    RateUnit,
    Recurrency,
    Running,
    Schedule,
    Segment,
)
from infra.local.simulator.profiles import Profiles

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
POWERS: dict[int, Decimal | None] = {1: Decimal(22_000), 2: Decimal(22_000)}
SECONDS = 240
_moments = st.integers(-300, 300).map(lambda seconds: NOON + timedelta(seconds=seconds))


@st.composite
def _profiles(draw: st.DrawFn, number: int = 1) -> tuple[int, Profile]:
    """A correct profile whose edges lie around noon, at connector 0 to 2."""
    purpose = draw(st.sampled_from(Purpose))
    place = {Purpose.CHARGE_POINT_MAX: 0, Purpose.TX: 1}.get(purpose, draw(st.integers(0, 2)))
    kinds = [kind for kind in Kind if kind is not Kind.RELATIVE or purpose is not Purpose.CHARGE_POINT_MAX]
    kind = draw(st.sampled_from(kinds))
    starts = sorted({0, *draw(st.lists(st.integers(1, 200), max_size=3))})
    limits = st.integers(0, 300).map(lambda tenths: Decimal(tenths) / 10)
    unit = draw(st.sampled_from(RateUnit))
    scale = 1 if unit is RateUnit.AMPERE else 700
    periods = tuple(
        Period(s, draw(limits) * scale, draw(st.sampled_from([None, 1, 3])) if unit is RateUnit.AMPERE else None)
        for s in starts
    )
    recurrency = draw(st.sampled_from(Recurrency)) if kind is Kind.RECURRING else None
    begin = draw(_moments) - (timedelta(days=draw(st.integers(0, 20))) if recurrency else timedelta(0))
    schedule = Schedule(
        unit,
        periods,
        duration_s=draw(st.none() | st.integers(starts[-1] + 1, 400)),
        starts_at=None if kind is Kind.RELATIVE else begin,
    )
    return place, Profile(
        number=draw(st.integers(1, 10**6)),
        stack_level=draw(st.integers(0, 3)),
        purpose=purpose,
        kind=kind,
        schedule=schedule,
        recurrency=recurrency,
        valid_from=draw(st.none() | _moments),
        valid_to=draw(st.none() | _moments),
    )


def _key(item: tuple[int, Profile]) -> tuple[int, Purpose, int]:
    return item[0], item[1].purpose, item[1].stack_level


_installed = st.lists(_profiles(), max_size=6, unique_by=(_key, lambda item: item[1].number))
_running = st.none() | _moments.map(lambda moment: Running(1, 7, min(moment, NOON)))


def _value(segments: list[Segment], second: int) -> Decimal | None:
    return [segment.limit for segment in segments if segment.start_s <= second][-1]


@settings(max_examples=150, deadline=None)
@given(installed=_installed, running=_running, connector=st.integers(0, 2))
def test_the_schedule_says_of_every_second_what_the_profiles_say(
    installed: list[tuple[int, Profile]], running: Running | None, connector: int
) -> None:
    site = Site(installed, POWERS, [running] if running else [])
    found = composite(site, connector, NOON, SECONDS, RateUnit.WATT)
    assert found[0].start_s == 0
    assert all(one.start_s < two.start_s and one.limit != two.limit for one, two in itertools.pairwise(found))
    for second in range(SECONDS):
        limit = limit_at(site, connector, NOON + timedelta(seconds=second), NOON)
        assert _value(found, second) == (None if limit is None else round(limit, 1))


@settings(max_examples=150, deadline=None)
@given(installed=_installed, running=_running, connector=st.integers(0, 2), unit=st.sampled_from(RateUnit))
def test_the_simulated_charger_comes_to_the_same(
    installed: list[tuple[int, Profile]], running: Running | None, connector: int, unit: RateUnit
) -> None:
    """Two implementations by one specification. Connector 1 charges in both, or in none."""
    charger = Profiles()
    taken = [
        (place, profile)
        for place, profile in installed
        if charger.put(place, profile.to_wire(), charging=running is not None and place == 1) == "Accepted"
    ]
    began = {1: running.began_at} if running else {}
    powers = dict.fromkeys(POWERS, 22000.0)
    told = charger.composite(connector, NOON, SECONDS, unit.value, powers, began)["chargingSchedulePeriod"]
    segments = [Segment(period["startPeriod"], Decimal(str(period["limit"]))) for period in told]
    ours = composite(Site(taken, POWERS, [running] if running else []), connector, NOON, SECONDS, unit)
    assert differences(ours, segments) == []


@given(_profiles())
def test_the_wire_form_keeps_everything(item: tuple[int, Profile]) -> None:
    profile = item[1]
    assert Profile.from_wire(profile.to_wire()) == profile


def profile(limit: int, purpose: Purpose = Purpose.TX_DEFAULT, level: int = 0, **values: Any) -> Profile:
    schedule = Schedule(RateUnit.WATT, (Period(0, Decimal(limit)),), duration_s=values.pop("duration_s", None))
    return Profile(1, level, purpose, values.pop("kind", Kind.RELATIVE), schedule, **values)


def limits(installed: list[tuple[int, Profile]], connector: int = 1, running: Running | None = None) -> list[Any]:
    site = Site(installed, POWERS, [running] if running else [])
    found = composite(site, connector, NOON, 3600, RateUnit.WATT)
    return [(segment.start_s, None if segment.limit is None else int(segment.limit)) for segment in found]


def test_what_goes_before_what() -> None:
    default, own = (0, profile(10_000)), (1, profile(6_900, level=3, duration_s=600))
    assert limits([]) == [(0, 22_000)]
    assert limits([default, own]) == [(0, 6_900), (600, 10_000)]
    assert limits([default, own], 2) == [(0, 10_000)]
    ceiling = (0, profile(8_000, Purpose.CHARGE_POINT_MAX, kind=Kind.ABSOLUTE))
    assert limits([default, own, ceiling]) == [(0, 6_900), (600, 8_000)]
    assert limits([default, own, ceiling], 0) == [(0, 8_000)]
    mine = (1, profile(1_000, Purpose.TX, transaction_id=7))
    assert limits([own, mine]) == [(0, 6_900), (600, 22_000)]  # nothing charges
    assert limits([own, mine], running=Running(1, 7, NOON)) == [(0, 1_000)]
    assert limits([own, mine], running=Running(1, 8, NOON)) == [(0, 6_900), (600, 22_000)]
    assert limits([own], running=Running(1, 7, NOON - timedelta(seconds=500))) == [(0, 6_900), (100, 22_000)]


def test_without_known_power_nothing_may_limit() -> None:
    site = Site([(1, profile(9_000, duration_s=60))], {1: None, 2: None})
    assert composite(site, 1, NOON, 3600, RateUnit.AMPERE) == [Segment(0, Decimal("13.0")), Segment(60, None)]
    assert composite(site, 0, NOON, 3600, RateUnit.WATT) == [Segment(0, None)]


def test_a_recurring_schedule_waits_for_its_first_begin() -> None:
    begin = NOON + timedelta(hours=1)
    schedule = Schedule(RateUnit.WATT, (Period(0, Decimal(1)),), starts_at=begin)
    daily = Profile(1, 0, Purpose.TX_DEFAULT, Kind.RECURRING, schedule, Recurrency.DAILY)
    assert period_at(daily, NOON, NOON) is None
    assert period_at(daily, begin + timedelta(days=3), NOON) == Period(0, Decimal(1))


def test_differences_are_told_where_they_begin() -> None:
    ours = [Segment(0, Decimal(10_000)), Segment(60, None)]
    told = [Segment(0, Decimal(10_050)), Segment(30, Decimal(7_000)), Segment(60, Decimal(1))]
    assert differences(ours, told) == [Difference(30, Decimal(10_000), Decimal(7_000))]
    assert differences([Segment(0, Decimal(5))], []) == [Difference(0, Decimal(5), None)]
