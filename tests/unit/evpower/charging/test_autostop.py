"""Predictive auto-stop (mobile-api.md §0.7)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from evpower.charging import autostop, meter
from evpower.charging.models import LimitType, SessionState
from evpower.charging.running import MeterContext
from evpower.pricing import rules
from evpower.pricing.models import DiscountType, Price, Promo

T0 = datetime(2026, 1, 15, 6, 0, tzinfo=UTC)
PRICE = Price(rate_per_kwh=Decimal("13.5"))


def context(limit: LimitType, value: str, reserve: str, energy_wh: str, power_w: str | None) -> MeterContext:
    state = structs.replace(
        meter.begin(Decimal(0), T0, T0),
        energy_wh=Decimal(energy_wh),
        power_w=None if power_w is None else Decimal(power_w),
    )
    return MeterContext(
        1,
        "s",
        "c",
        "st",
        1,
        SessionState.CHARGING,
        limit,
        Decimal(value),
        PRICE,
        Decimal(reserve),
        T0,
        Decimal(22_000),
        60,
        state,
    )


NOW = T0 + timedelta(minutes=10)


def test_stops_before_the_next_reading_would_pass_the_energy_limit() -> None:
    # 22 kW for 65 s is 397 Wh
    assert not autostop.decide(context(LimitType.ENERGY, "10", "500", "9500", "22000"), NOW).stop
    assert autostop.decide(context(LimitType.ENERGY, "10", "500", "9700", "22000"), NOW).stop


def test_stops_before_the_next_reading_would_pass_the_amount() -> None:
    # 100 som buy 7.407 kWh
    assert not autostop.decide(context(LimitType.AMOUNT, "100", "100", "6900", "22000"), NOW).stop
    assert autostop.decide(context(LimitType.AMOUNT, "100", "100", "7100", "22000"), NOW).stop


def test_an_energy_limit_with_an_amount_is_stopped_by_whichever_comes_first() -> None:
    assert autostop.decide(context(LimitType.ENERGY, "50", "100", "7100", "22000"), NOW).stop


def test_an_unlimited_session_asks_for_more_reserve_instead() -> None:
    decision = autostop.decide(context(LimitType.NONE, "0", "200", "14600", "22000"), NOW)
    assert decision.extend
    assert not decision.stop


def test_a_slow_car_is_not_stopped_early() -> None:
    assert not autostop.decide(context(LimitType.ENERGY, "10", "500", "9900", "2000"), NOW).stop


def test_a_hidden_power_is_estimated_from_the_energy_so_far() -> None:
    # 9.6 kWh in 10 minutes would be 57 kW: bounded by the connector's 22 kW
    assert autostop.decide(context(LimitType.ENERGY, "10", "500", "9650", None), NOW).stop
    assert not autostop.decide(context(LimitType.ENERGY, "10", "500", "1000", None), NOW).stop


def test_a_car_that_has_not_begun_is_not_stopped() -> None:
    assert not autostop.decide(context(LimitType.AMOUNT, "10", "10", "0", None), NOW).stop


def test_a_free_tariff_has_no_money_limit() -> None:
    free = replace(context(LimitType.NONE, "0", "0", "5000", "22000"), price=Price(rate_per_kwh=Decimal(0)))
    decision = autostop.decide(free, NOW)
    assert not decision.stop
    assert not decision.extend


def test_a_missing_reading_stops_after_three_intervals() -> None:
    decision = autostop.decide(context(LimitType.AMOUNT, "100", "100", "1000", "11000"), NOW)
    assert decision.auto_stop_at == NOW + timedelta(seconds=180)


@given(st.integers(1_000, 60_000), st.integers(20, 400), st.integers(10, 120), st.sampled_from(["amount", "energy"]))
def test_an_honest_charger_at_constant_power_never_passes_its_limit(
    watts: int, limit_som: int, interval: int, kind: str
) -> None:
    """Readings every interval, stop carried out within the latency: the bill stays within the limit, unless the
    very first interval was enough to pass it."""
    limit_type = LimitType(kind)
    value = Decimal(limit_som) if limit_type is LimitType.AMOUNT else Decimal(limit_som) / 20
    reserve = Decimal(limit_som) if limit_type is LimitType.AMOUNT else value * PRICE.rate_per_kwh
    ctx = replace(
        context(limit_type, "1", "1", "0", str(watts)),
        limit_value=value,
        reserved_amount=reserve,
        sample_interval_s=interval,
        max_power_w=Decimal(60_000),
    )
    now, energy, readings = T0, Decimal(0), 0
    while readings == 0 or not autostop.decide(ctx, now).stop:
        now += timedelta(seconds=interval)
        energy += Decimal(watts) * interval / 3600
        ctx = replace(ctx, meter=structs.replace(ctx.meter, energy_wh=energy))
        readings += 1
        assert autostop.cost_so_far(ctx, now) < 2 * reserve + 100, "never stopped"
    delivered = energy + Decimal(watts) * 4 / 3600  # 4 s until the contactor opens
    if readings > 1:
        cost = autostop.cost_so_far(replace(ctx, meter=structs.replace(ctx.meter, energy_wh=delivered)), now)
        assert cost <= reserve + Decimal("0.01")


_PROMO = st.one_of(
    st.none(),
    st.builds(
        Promo,
        id=st.just("p"),
        code=st.just("WINTER"),
        discount_type=st.sampled_from(DiscountType),
        discount_value=st.integers(0, 120).map(Decimal),
        min_charge_amount=st.one_of(st.none(), st.integers(0, 300).map(Decimal)),
        max_discount_amount=st.one_of(st.none(), st.integers(0, 50).map(Decimal)),
    ),
)
_SOM = st.decimals(0, 400, places=2)


@given(
    st.sampled_from(LimitType),
    st.builds(
        Price,
        rate_per_kwh=st.decimals(0, 30, places=2),
        rate_per_minute=st.one_of(st.just(Decimal(0)), st.decimals(0, 5, places=2)),
        session_fee=st.one_of(st.just(Decimal(0)), st.decimals(0, 50, places=2)),
        promo=_PROMO,
    ),
    _SOM,
    _SOM,
    st.decimals(0, 400_000, places=1),
    st.one_of(st.none(), st.decimals(-1000, 500_000, places=1)),
    st.integers(0, 100_000),
    st.integers(1, 900),
)
def test_a_bound_known_beforehand_never_hides_a_limit(
    kind: LimitType,
    price: Price,
    limit: Decimal,
    reserve: Decimal,
    energy_wh: Decimal,
    power_w: Decimal | None,
    elapsed_s: int,
    interval: int,
) -> None:
    """The projection, worked out each time and from the rules alone, decides the same."""
    ctx = replace(
        context(kind, str(limit), str(reserve), str(energy_wh), None if power_w is None else str(power_w)),
        price=price,
        sample_interval_s=interval,
        max_power_w=Decimal(350_000),
    )
    now = T0 + timedelta(seconds=elapsed_s)
    decision = autostop.decide(ctx, now)
    assert decision.cost == autostop.cost_so_far(ctx, now)

    if power_w is not None:
        power = min(max(power_w, Decimal(0)), ctx.max_power_w)
    elif energy_wh == 0:
        power = Decimal(0)
    elif elapsed_s < interval:
        power = ctx.max_power_w
    else:
        power = min(energy_wh * 3600 / elapsed_s, ctx.max_power_w)
    horizon = interval + 5
    energy_kwh = (energy_wh + power * horizon / 3600) / 1000
    ceiling = min(reserve, limit) if kind is LimitType.AMOUNT else reserve
    cost = rules.cost(price, energy_kwh, Decimal(elapsed_s + horizon) / 60)
    passes = (kind is LimitType.ENERGY and energy_kwh >= limit) or (
        energy_kwh > 0 and cost >= max(ceiling, Decimal("0.01"))
    )
    assert (decision.stop, decision.extend) == (
        passes and kind is not LimitType.NONE,
        passes and kind is LimitType.NONE,
    )


def test_a_further_reserve_moves_the_bound() -> None:
    ctx = context(LimitType.NONE, "0", "200", "14600", "22000")
    assert autostop.decide(ctx, NOW).extend
    ctx.reserve(Decimal(400))
    assert not autostop.decide(ctx, NOW).extend


def test_a_reading_that_tells_no_energy_does_not_put_off_the_overdue_stop() -> None:
    ctx = context(LimitType.AMOUNT, "100", "100", "1000", "11000")
    decision = autostop.judge(ctx, ctx.meter, NOW, tells_energy=False)
    assert (decision.stop, decision.auto_stop_at) == (False, None)
