"""Which keys of a charger are set, and to what."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.config import Settings
from socket_tier.ocpp16 import configuration
from tests.unit.socket_tier.conftest import admission

NEEDED = ("Energy.Active.Import.Register", "Power.Active.Import")
OTHERS = ("Voltage", "Current.Import", "SoC", "Temperature", "Frequency", "Current.Offered")


def measurands(present: Sequence[str], most: Any) -> str | None:
    """What MeterValuesSampledData is set to; None: it is left as it is."""
    shown = {"MeterValuesSampledData": (",".join(present), False)}
    if most is not None:
        shown["MeterValuesSampledDataMaxLength"] = (most, True)
    wanted = configuration.wanted_values(shown, admission(), Settings())["MeterValuesSampledData"]
    return None if wanted == ",".join(present) else wanted


@given(st.lists(st.sampled_from(OTHERS + NEEDED), unique=True), st.integers(1, 12))
def test_no_more_measurands_than_the_charger_takes_and_the_needed_ones_first(present: list[str], most: int) -> None:
    value = measurands(present, str(most))
    if value is None:
        assert set(NEEDED[:most]) <= set(present)
        return
    found = value.split(",")
    assert len(found) == len(set(found)) <= most
    assert set(NEEDED[:most]) <= set(found) <= {*present, *NEEDED}


@given(st.lists(st.sampled_from(OTHERS), unique=True), st.sampled_from([None, "", "many", "-1", "9" * 30]))
def test_a_limit_that_cannot_be_read_limits_nothing(present: list[str], most: str | None) -> None:
    value = measurands(present, most)
    assert value is not None
    assert value.split(",") == [*present, *NEEDED]


@pytest.mark.parametrize("most", ["0", "1"])
def test_one_measurand_is_the_register(most: str) -> None:
    assert measurands(["Voltage"], most) == "Energy.Active.Import.Register"
    assert measurands(["Energy.Active.Import.Register"], most) is None
