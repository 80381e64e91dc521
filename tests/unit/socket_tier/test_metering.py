"""From what a charger sends to what is billed: any mixture of contexts, orders, restarts, zeros and lies."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evpower.charging import meter
from evpower.charging.models import MeterState
from socket_tier import normalise

T0 = datetime(2026, 1, 15, 6, 0, tzinfo=UTC)
POWER = Decimal(150_000)
REGISTER = "Energy.Active.Import.Register"

_SHOWN = ("true", "true", "true", "zero", "session", "wild", "unreadable", "nothing")


@dataclass(frozen=True)
class Step:
    seconds: int
    load: int  # percent of the rating
    shown: str
    wild: int
    is_restart: bool
    begin: str  # where the register of the begin stands in the entry: before, after, nowhere
    skew: int  # seconds by which the charger's clock is off


steps = st.builds(
    Step,
    seconds=st.integers(1, 900),
    load=st.integers(0, 100),
    shown=st.sampled_from(_SHOWN),
    wild=st.integers(-1000, 6_000_000),
    is_restart=st.sampled_from((False,) * 9 + (True,)),
    begin=st.sampled_from(("nowhere", "before", "after")),
    skew=st.sampled_from((0, 0, 0, -30, 30, 4000, -4000)),
)


class Charger:
    """Knows what it delivered, and shows it as badly as it is told to."""

    def __init__(self, start: int) -> None:
        self.start, self.now = start, T0
        self.delivered = self.register = 0
        self.register = start
        self.state = meter.begin(Decimal(start), T0, T0)

    def deliver(self, seconds: int, load: int) -> None:
        wh = int(POWER) * seconds * load // 100 // 3600
        self.now += timedelta(seconds=seconds)
        self.delivered += wh
        self.register += wh

    def shows(self, shown: str, wild: int) -> int:
        return {"zero": 0, "session": self.delivered, "wild": wild, "begin": self.start}.get(shown, self.register)

    def send(self, step: Step) -> None:
        samples: list[dict[str, Any]] = []
        if step.shown != "nothing":
            value = "?" if step.shown == "unreadable" else str(self.shows(step.shown, step.wild))
            samples.append({"value": value, "measurand": REGISTER, "context": "Sample.Periodic"})
        begin = {"value": str(self.start), "measurand": REGISTER, "context": "Transaction.Begin"}
        samples = [*[begin] * (step.begin == "before"), *samples, *[begin] * (step.begin == "after")]
        samples.append({"value": str(int(POWER) * step.load // 100), "measurand": "Power.Active.Import"})
        said = (self.now + timedelta(seconds=step.skew)).isoformat()
        readings = normalise.readings([{"timestamp": said, "sampledValue": samples}])
        self.state, _ = meter.apply_all(self.state, readings, self.now, POWER, T0, T0)

    def end(self, register: int) -> MeterState:
        self.state, _ = meter.finish(self.state, Decimal(register), self.now, self.now, POWER, T0, T0)
        return self.state


@given(
    st.sampled_from((0, 1, 150, 5000, 4_076_400)),
    st.lists(steps, max_size=15),
    st.tuples(st.integers(0, 900), st.integers(0, 100)),
    st.sampled_from(("true", "true", "zero", "session", "begin", "wild")),
    st.integers(-5, 6_000_000),
)
def test_the_bill_lies_between_what_the_witnesses_say_and_what_can_be(
    start: int, sent: list[Step], tail: tuple[int, int], shown_at_end: str, wild: int
) -> None:
    charger = Charger(start)
    for step in sent:
        charger.deliver(step.seconds, step.load)
        if step.is_restart:
            charger.register = 0
        charger.send(step)
        assert charger.state.energy_wh <= meter.plausible_wh(charger.now - T0, POWER)
    charger.deliver(*tail)
    by_readings = charger.state.energy_wh if charger.state.source == "register" else None
    end = charger.shows(shown_at_end, wild)
    billed = charger.end(end).energy_wh
    possible = meter.plausible_wh(charger.now - T0, POWER)
    assert 0 <= billed <= possible
    by_stop = Decimal(end - start) if 0 <= end - start <= possible else None
    said = [energy for energy in (by_readings, by_stop) if energy is not None]
    if by_stop is not None and end == 0:  # a register that was lost is no witness, unless it says what the begin said
        said.append(Decimal(0))
    assert not said or billed >= min(said)


pauses = st.tuples(st.integers(1, 900), st.one_of(st.none(), st.integers(0, 100)))


@given(st.sampled_from((0, 1, 5000, 4_076_400)), st.lists(pauses, max_size=15), st.tuples(st.integers(1, 900), pauses))
def test_zeros_while_the_car_pauses_and_registers_of_the_begin_cost_nothing(
    start: int, parts: list[tuple[int, int | None]], tail: tuple[int, tuple[int, int | None]]
) -> None:
    """Whatever pauses there are (no load), and however long: the bill is what was delivered."""
    charger = Charger(start)
    for number, (seconds, load) in enumerate(parts):
        charger.deliver(seconds, load or 0)
        shown = "zero" if load is None else "true"
        begin = ("nowhere", "before", "after")[number % 3]
        charger.send(Step(seconds, load or 0, shown, 0, is_restart=False, begin=begin, skew=0))
    charger.deliver(tail[0], tail[1][1] or 0)
    assert charger.end(charger.register).energy_wh == charger.delivered
