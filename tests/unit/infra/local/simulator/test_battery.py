from hypothesis import given
from hypothesis import strategies as st

from infra.local.simulator.battery import FULL, KNEE, Vehicle, charge


def test_below_the_knee_the_power_is_constant() -> None:
    car, energy = charge(Vehicle(60, 0.2), 22_000, 3600)
    assert round(energy) == 22_000
    assert round(car.state_of_charge, 4) == round(0.2 + 22 / 60, 4)


def test_the_car_limits_the_power() -> None:
    assert Vehicle(60, 0.2, max_power_kw=7).power_w(22_000) == 7_000
    assert round(charge(Vehicle(60, 0.2, max_power_kw=7), 22_000, 3600)[1]) == 7_000


def test_above_the_knee_the_power_falls_and_ends() -> None:
    half = Vehicle(60, (1 + KNEE) / 2)
    assert round(half.power_w(22_000)) == 11_000
    full, energy = charge(half, 22_000, 100 * 3600)
    assert full.is_full
    assert full.power_w(22_000) == 0
    assert round(energy) == round((FULL - half.state_of_charge) * 60_000)


@given(st.floats(0, 1), st.floats(1_000, 350_000), st.lists(st.floats(0.1, 5_000), min_size=1, max_size=20))
def test_many_small_steps_equal_one_large_step(level: float, power: float, steps: list[float]) -> None:
    car, stepped = Vehicle(60, level), 0.0
    for step in steps:
        car, energy = charge(car, power, step)
        assert energy >= 0
        stepped += energy
    once, whole = charge(Vehicle(60, level), power, sum(steps))
    assert abs(stepped - whole) < 0.01
    assert abs(car.state_of_charge - once.state_of_charge) < 1e-6
