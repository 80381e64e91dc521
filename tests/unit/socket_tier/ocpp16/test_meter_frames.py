"""MeterValues read from the frame at once: never laxer than the schema, never another reading than the usual way's."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.charging.models import Reading
from socket_tier import normalise, rpc
from socket_tier.ocpp16 import meter_frames
from socket_tier.ocpp16.schema import SCHEMAS

SAMPLE = SCHEMAS.request("MeterValues")["properties"]["meterValue"]["items"]["properties"]["sampledValue"]["items"]
WORDS = {name: member["enum"] for name, member in SAMPLE["properties"].items() if "enum" in member}


def frame(*samples: dict[str, Any], timestamp: str = "2026-01-15T06:00:00Z", **members: Any) -> bytes:
    payload = {"connectorId": 1, "transactionId": 7, "meterValue": [{"timestamp": timestamp, "sampledValue": samples}]}
    return orjson.dumps([2, "m1", "MeterValues", payload | members])


def quickly(data: bytes) -> tuple[Reading, ...] | None:
    found = meter_frames.read(data)
    return None if found is None else meter_frames.readings(found)


def test_what_a_frame_says() -> None:
    data = frame(
        {"value": "1234.5", "unit": "Wh", "context": "Sample.Periodic"},
        {"value": "7.2", "measurand": "Power.Active.Import", "unit": "kW"},
        {"value": "55", "measurand": "SoC", "unit": "Percent"},
        timestamp="2026-01-15T12:00:00.250+06:00",
    )
    found = meter_frames.read(data)
    assert found is not None
    assert (found.id, found.action) == ("m1", "MeterValues")
    assert (found.payload.connectorId, found.payload.transactionId) == (1, 7)
    (reading,) = meter_frames.readings(found) or ()
    assert reading.sampled_at == datetime(2026, 1, 15, 6, 0, 0, 250_000, tzinfo=UTC)
    assert reading.sampled_at.tzinfo is UTC
    assert (reading.energy_wh, reading.power_w, reading.soc_percent) == (Decimal("1234.5"), 7200, 55)
    assert reading.context == "Sample.Periodic"
    assert orjson.loads(reading.raw) == orjson.loads(data)[3]["meterValue"][0]


@pytest.mark.parametrize(
    "data",
    [
        frame({"value": "1"}, transactionId=None),
        frame({"value": "1"}, transactionId="7"),
        frame({"value": "1"}, connectorId=1.0),
        frame({"value": "1"}, vendor="X"),
        frame({"value": "1", "context": "Vendor.Sample"}),
        frame({"value": "1", "unit": None}),
        frame({"value": "1", "unit": ""}),
        frame({"value": 1}),
        frame({"unit": "Wh"}),
        frame(),
        frame({"value": "1\0"}),
        frame({"value": "1"}, timestamp="2026-01-15T06:00:00"),
        frame({"value": "1"}, timestamp="yesterday"),
        frame({"value": "1"}, meterValue=[]),
        frame({"value": "1"}).replace(b'"m1"', b"17"),
        frame({"value": "1"}).replace(b'"m1"', b'""'),
        frame({"value": "1"}).replace(b"[2,", b"[3,"),
        frame({"value": "1"}).replace(b'"1"}', b'"\xff"}'),
        frame({"value": "1"})[:-1],
        frame({"value": "1"}) + b"]",
        frame({"value": "1"})[:-1] + b",1]",
        b'[2,"m1","Heartbeat",{}]',
        b'[3,"m1",{"a":"\\"MeterValues\\""}]',
        b"",
    ],
)
def test_everything_odd_is_left_to_the_usual_way(data: bytes) -> None:
    assert quickly(data) is None


_TEXTS = st.one_of(
    st.integers(-(10**13), 10**13).map(str),
    st.decimals(-(10**6), 10**6, allow_nan=False).map(str),
    st.sampled_from(["", " 7 ", "1e3", "1E400", "NaN", "-0", "٣", "1_000", "100", "101", "99.95", "abc"]),
    st.text(max_size=8),
)
_TIMES = st.one_of(
    st.datetimes(min_value=datetime(1, 1, 1), timezones=st.just(UTC)).map(lambda t: t.isoformat()),  # noqa: DTZ001
    st.sampled_from(["1970-01-01T00:00:00Z", "0001-01-01T00:00:00+12:00", "9999-12-31T23:59:59-10:00", "2026-01-15"]),
)


def _samples() -> st.SearchStrategy[dict[str, Any]]:
    words = {name: st.sampled_from([*found, "Vendor.Word"]) for name, found in WORDS.items()}
    return st.fixed_dictionaries({"value": _TEXTS}, optional=words)


@given(st.lists(st.tuples(_TIMES, st.lists(_samples(), max_size=5)), max_size=3), st.integers(-1, 9))
def test_it_finds_the_readings_of_the_usual_way_or_nothing(
    entries: list[tuple[str, list[dict[str, Any]]]], transaction: int
) -> None:
    payload = {
        "connectorId": 1,
        "transactionId": transaction,
        "meterValue": [{"timestamp": at, "sampledValue": samples} for at, samples in entries],
    }
    data = orjson.dumps([2, "m1", "MeterValues", payload])
    usual = rpc.parse(data)
    assert isinstance(usual, rpc.Call)
    checked = SCHEMAS.check_request("MeterValues", usual.payload)
    found = quickly(data)
    if found is None:
        # What is exactly in order is not sent the long way round.
        assert checked.fault is not None or checked.quirks or b"\\u" in data
        return
    assert checked.fault is None
    assert not checked.quirks
    expected = normalise.readings(usual.payload["meterValue"])
    assert [_comparable(reading) for reading in found] == [_comparable(reading) for reading in expected]


def _comparable(reading: Reading) -> tuple[Any, ...]:
    raw = orjson.loads(reading.raw)
    return (
        reading.sampled_at,
        reading.energy_wh,
        reading.power_w,
        reading.current_a,
        reading.voltage_v,
        reading.soc_percent,
        reading.interval_wh,
        reading.temperature_c,
        reading.context,
        reading.flags,
        raw,
    )
