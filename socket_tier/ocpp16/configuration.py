"""The charger's configuration: read after a boot, stored, and set right where the back end depends on it.

Reading and changing are ordinary commands with rows of their own, so that operators see them and their outcome
(OCPP 1.6 sections 5.8 and 5.3; keys in section 9). What an answer tells is stored in the transaction that ends its
command: whoever sees the command ended reads the configuration that it told.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from evpower.charging import service as charging
from evpower.commands import service as commands
from evpower.commands.models import Command, CommandStatus, NewCommand
from evpower.commands.shown import MASK, is_secret_key
from evpower.config import Settings, get_settings
from evpower.db import Conn
from evpower.stations import charger_settings
from evpower.stations import service as stations
from evpower.stations.models import Admission
from evpower.stations.sampling import INTERVAL_KEY
from socket_tier.ocpp16 import credentials

Answer: TypeAlias = Mapping[str, Any] | None

_REQUESTED_BY = "boot"
_LIFETIME = timedelta(minutes=5)
# Without these the bill and the predictive stop work in the dark.
_NEEDED_MEASURANDS = ("Energy.Active.Import.Register", "Power.Active.Import")
_LONGEST_NUMBER = 9


async def request(conn: Conn, station_id: str, now: datetime) -> None:
    """Queue the question for all keys; :func:`told` takes the answer."""
    await commands.enqueue(conn, _command(station_id, "GetConfiguration", {}, now), now)


async def told(conn: Conn, command: Command, outcome: CommandStatus, answer: Answer) -> None:
    """GetConfiguration: keep what it told and change what differs from what we need.

    Use case: an operator asks for two keys. The others stay as they were read. So do all when the charger answers with
    a refusal, which is no member of this answer and passes as an unknown one.
    """
    if answer is None or ("status" in answer and "configurationKey" not in answer):
        return
    assert command.finished_at is not None
    now = command.finished_at
    keys = [
        {"key": str(item.get("key", "")), "value": _stored(item), "readonly": bool(item.get("readonly"))}
        for item in answer.get("configurationKey") or []
        if item.get("key")
    ]
    unknown = [str(key) for key in answer.get("unknownKey") or []]
    whole = not command.payload.get("key")
    await stations.store_configuration(conn, command.station_id, keys, unknown, now, whole=whole)
    if await charger_settings.note_sampling(conn, command.station_id, ((item["key"], item["value"]) for item in keys)):
        await charging.sampling_changed(conn, command.station_id)
    station = await stations.load_for_admission(conn, command.station_id)
    if station is None:
        return
    present = {item["key"]: (str(item["value"] or "").strip(), item["readonly"]) for item in keys}
    to_set = await charger_settings.values_to_set(
        conn,
        command.station_id,
        present,
        wanted_values(present, station, get_settings()),
        now,
        after_boot=command.requested_by == _REQUESTED_BY,
    )
    for key, value in to_set.items():
        change = _command(command.station_id, "ChangeConfiguration", {"key": key, "value": value}, now)
        await commands.enqueue(conn, change, now)


def _stored(item: dict[str, Any]) -> Any:
    """Use case: a charger tells its AuthorizationKey, which OCPP 1.6 makes write-only."""
    return MASK if is_secret_key(str(item.get("key"))) and item.get("value") else item.get("value")


async def changed(conn: Conn, command: Command, outcome: CommandStatus, answer: Answer) -> None:
    """ChangeConfiguration: keep the value that was set; one that waits for a reboot is read after it."""
    await credentials.configuration_changed(conn, command, outcome, answer)
    key, value = str(command.payload.get("key", "")), str(command.payload.get("value", ""))
    if answer is None or answer.get("status") != "Accepted" or is_secret_key(key):
        return
    assert command.finished_at is not None
    await stations.store_value(conn, command.station_id, key, value, command.finished_at)
    if await charger_settings.note_sampling(conn, command.station_id, [(key, value)]):
        await charging.sampling_changed(conn, command.station_id)


def wanted_values(present: Mapping[str, tuple[str, bool]], admission: Admission, settings: Settings) -> dict[str, str]:
    """Key, spelled as the charger does -> the value that we need. Pure. Keys that it does not have are left out."""
    spelled = {key.lower(): key for key in present}
    wanted = {
        "HeartbeatInterval": str(admission.heartbeat_interval_s or settings.heartbeat_interval_s),
        INTERVAL_KEY: str(admission.meter_interval_s or settings.meter_sample_interval_s),
    }
    sampled = spelled.get("metervaluessampleddata")
    if sampled is not None:
        names = [name.strip() for name in present[sampled][0].split(",") if name.strip()]
        longest = present.get(spelled.get("metervaluessampleddatamaxlength", ""), ("", True))[0]
        is_complete = set(_NEEDED_MEASURANDS) <= set(names)
        wanted[sampled] = present[sampled][0] if is_complete else ",".join(_measurands(names, longest))
    return {spelled[name.lower()]: value for name, value in wanted.items() if name.lower() in spelled}


def _measurands(present: list[str], max_length: str) -> list[str]:
    """``present`` and what we need beside it, as many as the charger takes; what we need comes first of all.

    ``max_length``: the value of ``MeterValuesSampledDataMaxLength``, "" where there is none.

    Use case: a charger accepts more than ``MeterValuesSampledDataMaxLength`` measurands and writes over its own memory.
    """
    is_number = max_length.isdecimal() and len(max_length) < _LONGEST_NUMBER
    longest = int(max_length) if is_number else len(present) + len(_NEEDED_MEASURANDS)
    needed = _NEEDED_MEASURANDS[: max(longest, 1)]
    others = [name for name in present if name not in _NEEDED_MEASURANDS][: max(longest - len(needed), 0)]
    kept = {*needed, *others}
    return [name for name in present if name in kept] + [name for name in needed if name not in present]


def _command(station_id: str, action: str, payload: dict[str, Any], now: datetime) -> NewCommand:
    return NewCommand(
        station_id=station_id,
        action=action,
        payload=payload,
        expires_at=now + _LIFETIME,
        requested_by=_REQUESTED_BY,
    )
