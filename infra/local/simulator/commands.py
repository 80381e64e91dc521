"""What the charger does with each command of the server. One small function per action, one table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from websockets.exceptions import ConnectionClosed

from infra.local.simulator.configuration import find_outlet
from infra.local.simulator.management import MANAGEMENT
from infra.local.simulator.rpc import Answer, AnswerLostError, CallError, NotImplementedCallError

if TYPE_CHECKING:
    from infra.local.simulator.charge_point import ChargePoint

Payload = dict[str, Any]


def _status(value: str, then: Callable[[], Awaitable[None]] | None = None) -> Answer:
    return Answer({"status": value}, then)


async def _remote_start(point: ChargePoint, payload: Payload) -> Answer:
    if point.faults.reject_remote_start:
        return _status("Rejected")
    outlet = find_outlet(point.outlets, payload.get("connectorId"))
    busy = outlet is None or outlet.transaction is not None or outlet.waiting_tag is not None
    if outlet is None or busy or outlet.is_kept_from(str(payload["idTag"])):
        return _status("Rejected")
    if not outlet.operative or outlet.status == "Faulted":
        return _status("Rejected")
    if point.faults.never_start:
        return _status("Accepted")
    outlet.waiting_tag = str(payload["idTag"])

    async def start() -> None:
        point.charging.remote_start(outlet)

    return _status("Accepted", start)


async def _remote_stop(point: ChargePoint, payload: Payload) -> Answer:
    outlet = point.outlet_of(int(payload["transactionId"]))
    if outlet is None or point.faults.reject_remote_stop:
        return _status("Rejected")

    async def stop() -> None:
        point.charging.finish(outlet, "Remote")

    return _status("Accepted", stop)


async def _reset(point: ChargePoint, payload: Payload) -> Answer:
    hard = payload["type"] == "Hard"

    async def restart() -> None:
        point.spawn(point.restart("HardReset" if hard else "SoftReset"))

    return _status("Accepted", restart)


async def _unlock(point: ChargePoint, payload: Payload) -> Answer:
    outlet = point.outlets.get(int(payload["connectorId"]))
    if outlet is None:
        return _status("NotSupported")

    async def release() -> None:
        if outlet.transaction is not None:
            point.charging.finish(outlet, "UnlockCommand")

    return _status("Unlocked", release)


async def _get_configuration(point: ChargePoint, payload: Payload) -> Answer:
    return Answer(point.configuration.read(payload.get("key")))


async def _change_configuration(point: ChargePoint, payload: Payload) -> Answer:
    key, value = str(payload["key"]), str(payload["value"])
    if key == "AuthorizationKey":
        return _change_key(point, value)
    return _status(point.configuration.write(key, value))


def _change_key(point: ChargePoint, value: str) -> Answer:
    """A new password (security whitepaper A01): used from the next connection on, which comes at once."""
    answer = point.faults.key_change if 16 <= len(value) <= 40 else "Rejected"

    async def reconnect() -> None:
        point.link.change_password(value)
        point.spawn(point.link.close())

    if answer == "RebootRequired":
        point.password_after_restart = value
    return _status(answer, reconnect if answer == "Accepted" else None)


async def _change_availability(point: ChargePoint, payload: Payload) -> Answer:
    number, operative = int(payload["connectorId"]), payload["type"] == "Operative"
    chosen = list(point.outlets.values()) if number == 0 else [o for o in point.outlets.values() if o.number == number]
    if not chosen:
        return _status("Rejected")
    for outlet in chosen:
        outlet.operative = operative
    busy = any(outlet.transaction is not None for outlet in chosen)

    async def tell() -> None:
        for outlet in chosen:
            if outlet.transaction is None:
                point.charging.set_status(outlet, point.charging.resting_status(outlet))

    return _status("Scheduled" if busy else "Accepted", tell)


_JOB_MESSAGES = ("DiagnosticsStatusNotification", "FirmwareStatusNotification", "LogStatusNotification")


async def _trigger(point: ChargePoint, payload: Payload) -> Answer:
    wanted = payload["requestedMessage"]
    signed = "SignedFirmwareStatusNotification"
    job = signed if wanted == "FirmwareStatusNotification" and signed in point.jobs.states else wanted
    number = payload.get("connectorId")
    if number is not None and number not in point.outlets:
        return _status("Rejected")
    chosen = list(point.outlets.values()) if number is None else [point.outlets[number]]

    async def send() -> None:
        if wanted == "BootNotification":
            point.spawn(point.link.reboot_on_same_socket())
        elif wanted == "Heartbeat":
            point.spawn(point.heartbeat())
        elif wanted == "StatusNotification":
            for outlet in chosen:
                point.link.put(point.charging.status_message(outlet))
        elif wanted == "SignChargePointCertificate":
            point.spawn(_ask_for_certificate(point))
        elif wanted in _JOB_MESSAGES:
            point.jobs.repeat(job)
        else:
            for outlet in chosen:
                outlet.advance(point.charging.now())
                point.link.put(point.charging.meter_message(outlet, "Trigger"))

    return _status("Accepted", send)


async def _ask_for_certificate(point: ChargePoint) -> None:
    with suppress(AnswerLostError, CallError, ConnectionClosed):  # the server asks again
        await point.ask_for_certificate()


async def _clear_cache(_point: ChargePoint, _payload: Payload) -> Answer:
    return _status("Accepted")


async def _data_transfer(_point: ChargePoint, _payload: Payload) -> Answer:
    return _status("UnknownVendorId")


COMMANDS: dict[str, Callable[[ChargePoint, Payload], Awaitable[Answer]]] = {
    "RemoteStartTransaction": _remote_start,
    "RemoteStopTransaction": _remote_stop,
    "Reset": _reset,
    "UnlockConnector": _unlock,
    "GetConfiguration": _get_configuration,
    "ChangeConfiguration": _change_configuration,
    "ChangeAvailability": _change_availability,
    "TriggerMessage": _trigger,
    "ClearCache": _clear_cache,
    "DataTransfer": _data_transfer,
    "ExtendedTriggerMessage": _trigger,
    **MANAGEMENT,
}


async def handle_command(point: ChargePoint, action: str, payload: Payload) -> Answer:
    """Answer a command of the server. Raises `NotImplementedCallError` for what `Faults.unsupported` names."""
    if action in point.faults.unsupported:
        raise NotImplementedCallError(action)
    return await COMMANDS[action](point, payload)
