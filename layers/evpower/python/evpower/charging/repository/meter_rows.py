"""The parameters of the batch flush as JSON.

Structs of msgspec are made and written by native code, decimals and date-times included: a third of what dictionaries
written by orjson cost, and this is done for every reading of the network.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from evpower.charging.models import MeterMemory, MeterUpdate, Reading

_encoder = msgspec.json.Encoder()


class _ReadingRow(msgspec.Struct, omit_defaults=True, gc=False):
    station: str
    connector: int
    received: datetime
    raw: msgspec.Raw
    transaction: int | None = None
    session: str | None = None
    sampled: datetime | None = None
    context: str | None = None
    energy: Decimal | None = None
    power: Decimal | None = None
    current: Decimal | None = None
    voltage: Decimal | None = None
    soc: Decimal | None = None
    temperature: Decimal | None = None
    flags: str | None = None


class _SessionRow(msgspec.Struct, omit_defaults=True, gc=False):
    session: str | None
    station: str
    epoch: int
    received: datetime
    register: Decimal
    energy: Decimal
    candidate: Decimal | None = None
    since: datetime | None = None
    charger: datetime | None = None
    power: Decimal | None = None
    current: Decimal | None = None
    voltage: Decimal | None = None
    soc: Decimal | None = None
    temperature: Decimal | None = None
    cost: Decimal | None = None
    auto_stop: datetime | None = None
    review: str | None = None
    source: str | None = None
    memory: MeterMemory | None = None


def readings(updates: Sequence[MeterUpdate]) -> bytes:
    """Every reading of ``updates``, in their order."""
    return _encoder.encode([_reading(update, reading) for update in updates for reading in update.readings])


def sessions(newest: Mapping[str, MeterUpdate]) -> bytes:
    """The newest update of each session, sorted by session so that batches lock in one order."""
    return _encoder.encode([_session(newest[session_id]) for session_id in sorted(newest)])


def _reading(update: MeterUpdate, reading: Reading) -> _ReadingRow:
    return _ReadingRow(
        update.station_id,
        update.connector_id,
        update.received_at,
        msgspec.Raw(reading.raw),
        update.transaction_id,
        update.session_id,
        reading.sampled_at,
        reading.context,
        reading.energy_wh,
        reading.power_w,
        reading.current_a,
        reading.voltage_v,
        reading.soc_percent,
        reading.temperature_c,
        ",".join(reading.flags) if reading.flags else None,
    )


def _session(update: MeterUpdate) -> _SessionRow:
    meter = update.meter
    assert meter is not None
    return _SessionRow(
        update.session_id,
        update.station_id,
        update.epoch,
        update.received_at,
        meter.register_wh,
        meter.energy_wh,
        meter.candidate_wh,
        meter.since,
        meter.since_charger,
        meter.power_w,
        meter.current_a,
        meter.voltage_v,
        meter.soc_percent,
        meter.temperature_c,
        update.cost,
        update.auto_stop_at,
        ",".join(update.review) if update.review else None,
        meter.source,
        meter.memory,
    )
