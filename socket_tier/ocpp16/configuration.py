"""The charger's configuration: read after a boot, stored, and set right where the back end depends on it.

Reading and changing are ordinary commands with rows of their own, so that operators see them and their outcome
(OCPP 1.6 sections 5.8 and 5.3; keys in section 9).
"""

from datetime import datetime, timedelta
from typing import Any

from evpower.commands import service as commands
from evpower.commands.models import Command, NewCommand
from evpower.commands.shown import MASK, is_secret_key
from evpower.config import Settings
from evpower.db import Conn
from evpower.stations import service as stations
from evpower.stations.models import Admission
from socket_tier.charger import Charger

_REQUESTED_BY = "boot"
_LIFETIME = timedelta(minutes=5)
# Without these the bill and the predictive stop work in the dark.
_NEEDED_MEASURANDS = ("Energy.Active.Import.Register", "Power.Active.Import")


async def request(charger: Charger) -> None:
    """Ask the charger for all its keys; :func:`store` takes the answer."""
    now = charger.services.clock.now()

    async def work(conn: Conn) -> Command:
        return await commands.enqueue(conn, _command(charger.station_id, "GetConfiguration", {}, now), now)

    command = await charger.services.database.run(work)
    charger.services.dispatch(charger.station_id, command.id)


async def store(charger: Charger, request: dict[str, Any], answer: dict[str, Any]) -> None:
    """Keep what GetConfiguration told and change what differs from what we need.

    Use case: an operator asks for two keys. The others stay as they were read. So do all when the charger answers with
    a refusal, which is no member of this answer and passes as an unknown one.
    """
    if "status" in answer and "configurationKey" not in answer:
        return
    services = charger.services
    now = services.clock.now()
    keys = [
        {"key": str(item.get("key", "")), "value": _stored(item), "readonly": bool(item.get("readonly"))}
        for item in answer.get("configurationKey") or []
        if item.get("key")
    ]
    unknown = [str(key) for key in answer.get("unknownKey") or []]
    wanted = changes(keys, charger.admission, services.settings)

    async def work(conn: Conn) -> list[Command]:
        whole = not request.get("key")
        await stations.store_configuration(conn, charger.station_id, keys, unknown, now, whole=whole)
        return [
            await commands.enqueue(
                conn, _command(charger.station_id, "ChangeConfiguration", {"key": key, "value": value}, now), now
            )
            for key, value in wanted.items()
        ]

    for command in await services.database.run(work):
        services.dispatch(charger.station_id, command.id)


def _stored(item: dict[str, Any]) -> Any:
    """Use case: a charger tells its AuthorizationKey, which OCPP 1.6 makes write-only."""
    return MASK if is_secret_key(str(item.get("key"))) and item.get("value") else item.get("value")


async def changed(charger: Charger, request: dict[str, Any], answer: dict[str, Any]) -> None:
    """Keep the value that ChangeConfiguration has set; one that waits for a reboot is read after it."""
    key, value = str(request.get("key", "")), str(request.get("value", ""))
    if answer.get("status") != "Accepted" or is_secret_key(key):
        return
    now = charger.services.clock.now()
    await charger.services.database.run(lambda conn: stations.store_value(conn, charger.station_id, key, value, now))


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
        missing = [name for name in _NEEDED_MEASURANDS if name not in present]
        if missing:
            wanted["MeterValuesSampledData"] = ",".join(present + missing)
    result = {}
    for name, value in wanted.items():
        item = known.get(name.lower())
        if item is not None and not item["readonly"] and str(item["value"] or "").strip() != value:
            result[item["key"]] = value
    return result


def _command(station_id: str, action: str, payload: dict[str, Any], now: datetime) -> NewCommand:
    return NewCommand(
        station_id=station_id,
        action=action,
        payload=payload,
        expires_at=now + _LIFETIME,
        requested_by=_REQUESTED_BY,
    )
