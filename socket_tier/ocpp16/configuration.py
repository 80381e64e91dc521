"""The charger's configuration: read after a boot, stored, and set right where the back end depends on it.

Reading and changing are ordinary commands with rows of their own, so that operators see them and their outcome
(OCPP 1.6 sections 5.8 and 5.3; keys in section 9). What an answer tells is stored in the transaction that ends its
command: whoever sees the command ended reads the configuration that it told.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from evpower.commands import service as commands
from evpower.commands.models import Command, CommandStatus, NewCommand
from evpower.commands.shown import MASK, is_secret_key
from evpower.config import Settings, get_settings
from evpower.db import Conn
from evpower.stations import service as stations
from evpower.stations.models import Admission
from socket_tier.charger import Charger
from socket_tier.ocpp16 import credentials

Answer: TypeAlias = Mapping[str, Any] | None

_REQUESTED_BY = "boot"
_LIFETIME = timedelta(minutes=5)
# Without these the bill and the predictive stop work in the dark.
_NEEDED_MEASURANDS = ("Energy.Active.Import.Register", "Power.Active.Import")
_LONGEST_NUMBER = 9


async def request(charger: Charger) -> None:
    """Ask the charger for all its keys; :func:`told` takes the answer."""
    now = charger.services.clock.now()

    async def work(conn: Conn) -> Command:
        return await commands.enqueue(conn, _command(charger.station_id, "GetConfiguration", {}, now), now)

    command = await charger.services.database.run(work)
    charger.services.dispatch(charger.station_id, command.id)


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
    station = await stations.load_for_admission(conn, command.station_id)
    for key, value in (changes(keys, station, get_settings()) if station is not None else {}).items():
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


def changes(keys: list[dict[str, Any]], admission: Admission, settings: Settings) -> dict[str, str]:
    """Keys to set, with their values: pure. Keys that the charger does not have or that are read-only are left."""
    known = {item["key"].lower(): item for item in keys}
    wanted = {
        "HeartbeatInterval": str(admission.heartbeat_interval_s or settings.heartbeat_interval_s),
        "MeterValueSampleInterval": str(admission.meter_interval_s or settings.meter_sample_interval_s),
    }
    sampled = known.get("metervaluessampleddata")
    if sampled is not None:
        present = [name.strip() for name in str(sampled["value"] or "").split(",") if name.strip()]
        if not set(_NEEDED_MEASURANDS) <= set(present):
            wanted["MeterValuesSampledData"] = ",".join(_measurands(present, known))
    result = {}
    for name, value in wanted.items():
        item = known.get(name.lower())
        if item is not None and not item["readonly"] and str(item["value"] or "").strip() != value:
            result[item["key"]] = value
    return result


def _measurands(present: list[str], known: Mapping[str, dict[str, Any]]) -> list[str]:
    """``present`` and what we need beside it, as many as the charger takes; what we need comes first of all.

    Use case: a charger accepts more than ``MeterValuesSampledDataMaxLength`` measurands and writes over its own memory.
    """
    said = str(known.get("metervaluessampleddatamaxlength", {}).get("value") or "").strip()
    longest = int(said) if said.isdecimal() and len(said) < _LONGEST_NUMBER else len(present) + len(_NEEDED_MEASURANDS)
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
