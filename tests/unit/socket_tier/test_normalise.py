"""MeterValues made into readings (ocpp.md §3 MeterValues)."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.charging.models import Reading
from socket_tier import normalise


def one(*samples: dict[str, Any], timestamp: str = "2026-01-15T06:00:00Z") -> Reading:
    (reading,) = normalise.readings([{"timestamp": timestamp, "sampledValue": list(samples)}])
    return reading


def energy(value: str, **members: str) -> dict[str, Any]:
    return {"value": value, "measurand": "Energy.Active.Import.Register", **members}


def test_a_bare_value_is_the_energy_register_in_wh() -> None:
    assert one({"value": "1234"}).energy_wh == Decimal("1234.0")


@pytest.mark.parametrize(
    ("value", "unit", "wh"),
    [("1.5", "kWh", "1500.0"), ("1.5", "KWH", "1500.0"), ("1500", "Wh", "1500.0"), ("12.34567", "kWh", "12345.7"),
     (" 7 ", "Wh", "7.0"), ("1e3", "Wh", "1000.0")],
)  # fmt: skip
def test_energy_is_wh_whatever_its_unit(value: str, unit: str, wh: str) -> None:
    assert one(energy(value, unit=unit)).energy_wh == Decimal(wh)


def test_all_measurands_of_a_message_make_one_reading() -> None:
    reading = one(
        energy("100", unit="Wh", context="Sample.Periodic"),
        {"value": "7.2", "measurand": "Power.Active.Import", "unit": "kW"},
        {"value": "31.5", "measurand": "Current.Import", "unit": "A"},
        {"value": "229.1", "measurand": "Voltage", "unit": "V"},
        {"value": "55", "measurand": "SoC", "unit": "Percent"},
        {"value": "313.15", "measurand": "Temperature", "unit": "K"},
        {"value": "50", "measurand": "Frequency"},
    )
    assert reading.energy_wh == 100
    assert reading.power_w == 7200
    assert reading.current_a == Decimal("31.5")
    assert reading.voltage_v == Decimal("229.1")
    assert reading.soc_percent == 55
    assert reading.temperature_c == 40
    assert reading.context == "Sample.Periodic"
    assert reading.sampled_at == datetime(2026, 1, 15, 6, tzinfo=UTC)
    assert reading.flags == ()


def test_phases_are_summed_when_there_is_no_total() -> None:
    reading = one(
        energy("10", phase="L1"),
        energy("20", phase="L2"),
        energy("30", phase="L3"),
        {"value": "1000", "measurand": "Power.Active.Import", "phase": "L1-N"},
        {"value": "1100", "measurand": "Power.Active.Import", "phase": "L2-N"},
        {"value": "5", "measurand": "Power.Active.Import", "phase": "N"},
    )
    assert reading.energy_wh == 60
    assert reading.power_w == 2100


def test_a_total_wins_over_its_phases() -> None:
    assert one(energy("10", phase="L1"), energy("61"), energy("20", phase="L2")).energy_wh == 61


def test_voltages_are_averaged_and_line_voltages_left_out() -> None:
    volts = {"measurand": "Voltage", "unit": "V"}
    reading = one(
        {**volts, "value": "228", "phase": "L1-N"},
        {**volts, "value": "230", "phase": "L2-N"},
        {**volts, "value": "232", "phase": "L3-N"},
        {**volts, "value": "400", "phase": "L1-L2"},
    )
    assert reading.voltage_v == 230
    assert one({**volts, "value": "400", "phase": "L1-L2"}).voltage_v == 400


def test_the_outlet_is_the_place_that_counts() -> None:
    assert one(energy("105", location="Inlet"), energy("100", location="Outlet")).energy_wh == 100
    assert one(energy("105", location="Inlet")).energy_wh == 105


def test_signed_values_are_kept_raw_only() -> None:
    reading = one({"value": "OCMF|{}", "format": "SignedData"}, energy("5"))
    assert reading.energy_wh == 5
    assert reading.flags == (normalise.SIGNED,)
    assert "OCMF" in reading.raw


@pytest.mark.parametrize("value", ["", "abc", "NaN", "Infinity", "-inf", "1,234", "12 34", "x" * 500])
def test_what_is_no_number_is_left_out_and_flagged(value: str) -> None:
    reading = one(energy(value))
    assert reading.energy_wh is None
    assert reading.flags == (normalise.UNREADABLE,)


@pytest.mark.parametrize("value", ["1e400", "1e999999", "9" * 30, "1e13"])
def test_what_no_meter_shows_is_left_out_and_flagged(value: str) -> None:
    reading = one(energy(value, unit="kWh"))
    assert reading.energy_wh is None
    assert reading.flags == (normalise.OUT_OF_RANGE,)


def test_an_unknown_unit_of_energy_is_never_guessed() -> None:
    reading = one(energy("5", unit="MJ"))
    assert reading.energy_wh is None
    assert reading.flags == (normalise.UNKNOWN_UNIT,)


def test_nul_characters_never_reach_the_database() -> None:
    reading = one({"value": "12\x00", "vendor\x00": "a\x00b", "context": "Sample\x00.Periodic"})
    assert reading.energy_wh == 12
    assert "\\u0000" not in reading.raw
    assert orjson.loads(reading.raw)["sampledValue"][0]["vendor"] == "ab"
    assert reading.context == "Sample.Periodic"


def test_the_register_at_the_begin_of_a_transaction_is_not_counted() -> None:
    reading = one(energy("0", context="Transaction.Begin"))
    assert reading.energy_wh is None
    assert reading.flags == (normalise.BEGIN,)


def test_an_unreadable_time_leaves_the_values() -> None:
    reading = one(energy("5"), timestamp="")
    assert reading.sampled_at is None
    assert reading.energy_wh == 5


def test_a_negative_register_is_passed_on_for_the_meter_to_judge() -> None:
    assert one(energy("-5")).energy_wh == -5


numbers = st.decimals(min_value=-(10**9), max_value=10**9, places=3, allow_nan=False)


@given(numbers, st.sampled_from(["Wh", "kWh"]))
def test_energy_never_changes_by_more_than_rounding(value: Decimal, unit: str) -> None:
    wh = value * 1000 if unit == "kWh" else value
    found = one(energy(str(value), unit=unit)).energy_wh
    assert found is not None
    assert abs(found - wh) <= Decimal("0.05")


@given(st.lists(st.dictionaries(
    st.sampled_from(["measurand", "unit", "phase", "location", "context", "format"]), st.text(max_size=12), max_size=4
), max_size=4), st.text(max_size=30))  # fmt: skip
def test_no_text_of_a_charger_raises(samples: list[dict[str, str]], value: str) -> None:
    try:
        orjson.dumps(value)
        orjson.dumps(samples)
    except orjson.JSONEncodeError:  # lone surrogates never come out of the JSON parser
        return
    reading = one(*[{**sample, "value": value} for sample in samples])
    assert "\\u0000" not in reading.raw.replace("\\\\", "")


BEGIN, PERIODIC, END = "Transaction.Begin", "Sample.Periodic", "Transaction.End"


@pytest.mark.parametrize("is_begin_last", [True, False])
def test_the_register_of_the_begin_does_not_hide_the_present_one(is_begin_last: bool) -> None:
    samples = [energy("160440", context=PERIODIC), energy("157440", context=BEGIN)]
    reading = one(*(samples if is_begin_last else reversed(samples)))
    assert (reading.energy_wh, reading.context, reading.flags) == (160440, PERIODIC, ())


def test_the_latest_context_that_can_be_read_counts_for_each_measurand() -> None:
    watts = {"measurand": "Power.Active.Import", "unit": "W"}
    reading = one(
        energy("900", context=END, unit="MJ"),
        energy("800", context="Sample.Clock"),
        energy("700", context="Interruption.Begin"),
        {**watts, "value": "0", "context": END},
        {**watts, "value": "9000", "context": PERIODIC},
    )
    assert (reading.energy_wh, reading.power_w, reading.context) == (800, 0, "Sample.Clock")
    assert reading.flags == (normalise.UNKNOWN_UNIT,)


def test_phases_of_different_contexts_are_not_mixed() -> None:
    mixed = [
        energy(str(wh), phase=phase, **({"context": context} if context else {}))
        for phase, began, now in (("L1", 10, 11), ("L2", 20, 22), ("L3", 30, 33))
        for wh, context in ((now, ""), (began, BEGIN))
    ]
    assert one(*mixed).energy_wh == 66


def test_a_sample_without_context_is_a_periodic_one() -> None:
    assert one(energy("5"), energy("6", context=PERIODIC)).energy_wh == 6
    assert one(energy("6", context=PERIODIC), energy("5")).energy_wh == 5


def test_energy_of_an_interval_is_no_register() -> None:
    reading = one({"value": "0.25", "measurand": normalise.INTERVAL, "unit": "kWh"})
    assert (reading.energy_wh, reading.interval_wh) == (None, 250)


_ORDER = (BEGIN, "Interruption.Begin", "Interruption.End", PERIODIC, END)


@given(
    st.lists(st.tuples(st.sampled_from(_ORDER), st.one_of(st.integers(0, 10**6), st.none())), min_size=1, max_size=8)
)
def test_whatever_the_order_the_latest_usable_register_counts(samples: list[tuple[str, int | None]]) -> None:
    reading = one(*(energy("?" if wh is None else str(wh), context=context) for context, wh in samples))
    usable = [
        (_ORDER.index(context), position, wh)
        for position, (context, wh) in enumerate(samples)
        if wh is not None and context != BEGIN
    ]
    assert reading.energy_wh == (max(usable)[2] if usable else None)
