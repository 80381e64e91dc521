"""What the charger does with the commands beyond the core: lists, reservations, profiles, jobs, certificates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra.local.simulator.certificates import read
from infra.local.simulator.jobs import Retries, Update
from infra.local.simulator.outlet import Reservation
from infra.local.simulator.rpc import Answer

if TYPE_CHECKING:
    from infra.local.simulator.charge_point import ChargePoint

Payload = dict[str, Any]
_LOCATION_SCHEMES = ("http://", "https://")


def _status(value: str, then: Callable[[], Awaitable[None]] | None = None) -> Answer:
    return Answer({"status": value}, then)


# --- local list -------------------------------------------------------------------------------------------------


async def _send_local_list(point: ChargePoint, payload: Payload) -> Answer:
    longest, most = (point.configuration.number(f"{key}MaxLength") for key in ("SendLocalList", "LocalAuthList"))
    return _status(point.local_list.update(payload, longest, most))


async def _local_list_version(point: ChargePoint, _payload: Payload) -> Answer:
    return Answer({"listVersion": point.local_list.version})


# --- reservations -----------------------------------------------------------------------------------------------


async def _reserve(point: ChargePoint, payload: Payload) -> Answer:
    outlet = point.outlets.get(int(payload["connectorId"]))
    expires_at = datetime.fromisoformat(payload["expiryDate"])
    if outlet is None or expires_at <= datetime.now(UTC):
        return _status("Rejected")  # connector 0: ReserveConnectorZeroSupported is false
    if outlet.status == "Faulted":
        return _status("Faulted")
    if not outlet.operative:
        return _status("Unavailable")
    reservation = Reservation(int(payload["reservationId"]), str(payload["idTag"]), expires_at)
    other = outlet.reservation is not None and outlet.reservation.number != reservation.number
    if other or outlet.transaction is not None or outlet.waiting_tag is not None or outlet.vehicle is not None:
        return _status("Occupied")
    outlet.reservation = reservation

    async def tell() -> None:
        point.charging.set_status(outlet, point.charging.resting_status(outlet))
        point.spawn(point.charging.expire(outlet, reservation))

    return _status("Accepted", tell)


async def _cancel_reservation(point: ChargePoint, payload: Payload) -> Answer:
    number = int(payload["reservationId"])
    kept = [o for o in point.outlets.values() if o.reservation is not None and o.reservation.number == number]
    for outlet in kept:
        outlet.reservation = None

    async def tell() -> None:
        for outlet in kept:
            point.charging.set_status(outlet, point.charging.resting_status(outlet))

    return _status("Accepted", tell) if kept else _status("Rejected")


# --- smart charging ---------------------------------------------------------------------------------------------


async def _set_profile(point: ChargePoint, payload: Payload) -> Answer:
    number, profile = int(payload["connectorId"]), payload["csChargingProfiles"]
    outlet = point.outlets.get(number)
    if number != 0 and outlet is None:
        return _status("Rejected")
    point.charging.follow_all()
    status = point.profiles.put(number, profile, charging=outlet is not None and outlet.transaction is not None)
    point.charging.follow_all()
    return _status(status)


async def _clear_profile(point: ChargePoint, payload: Payload) -> Answer:
    point.charging.follow_all()
    status = point.profiles.clear(payload)
    point.charging.follow_all()
    return _status(status)


async def _composite(point: ChargePoint, payload: Payload) -> Answer:
    number, seconds = int(payload["connectorId"]), int(payload["duration"])
    if number not in {0, *point.outlets} or seconds <= 0:
        return _status("Rejected")
    start = point.charging.now()
    powers = {outlet.number: outlet.power_w for outlet in point.outlets.values()}
    busy = [outlet.transaction for outlet in point.outlets.values() if outlet.transaction is not None]
    began = {transaction.connector: transaction.started_at for transaction in busy}
    unit = str(payload.get("chargingRateUnit", "W"))
    schedule = point.profiles.composite(number, start, seconds, unit, powers, began)
    stamp = point.charging.stamp(start)
    return Answer({"status": "Accepted", "connectorId": number, "scheduleStart": stamp, "chargingSchedule": schedule})


# --- firmware and logs ------------------------------------------------------------------------------------------


async def _update_firmware(point: ChargePoint, payload: Payload) -> Answer:
    async def work() -> None:
        when = datetime.fromisoformat(payload["retrieveDate"])
        point.spawn(point.jobs.update(Update(str(payload["location"]), when, Retries.of(payload))))

    return Answer({}, work)


async def _signed_update(point: ChargePoint, payload: Payload) -> Answer:
    firmware = payload["firmware"]
    chain = read(str(firmware["signingCertificate"]))
    if not chain:
        return _status("InvalidCertificate")
    update = Update(
        str(firmware["location"]),
        datetime.fromisoformat(firmware["retrieveDateTime"]),
        Retries.of(payload),
        int(payload["requestId"]),
        chain[0],
        str(firmware["signature"]),
    )

    async def work() -> None:
        point.spawn(point.jobs.update(update))

    return _status("Accepted", work)


async def _diagnostics(point: ChargePoint, payload: Payload) -> Answer:
    async def work() -> None:
        job = point.jobs.upload(
            str(payload["location"]), "DiagnosticsStatusNotification", "diagnostics", retries=Retries.of(payload)
        )
        point.spawn(job)

    return Answer({"fileName": point.jobs.file_name("diagnostics")}, work)


async def _get_log(point: ChargePoint, payload: Payload) -> Answer:
    location, kind = str(payload["log"]["remoteLocation"]), str(payload["logType"])
    if not location.startswith(_LOCATION_SCHEMES):
        return _status("Rejected")

    async def work() -> None:
        job = point.jobs.upload(
            location, "LogStatusNotification", kind, int(payload["requestId"]), retries=Retries.of(payload)
        )
        point.spawn(job)

    status = "AcceptedCanceled" if point.jobs.uploading else "Accepted"
    return Answer({"status": status, "filename": point.jobs.file_name(kind)}, work)


# --- certificates -----------------------------------------------------------------------------------------------


async def _certificate_signed(point: ChargePoint, payload: Payload) -> Answer:
    return _status(point.certificates.sign(str(payload["certificateChain"])))


async def _install_certificate(point: ChargePoint, payload: Payload) -> Answer:
    return _status(point.certificates.install(str(payload["certificateType"]), str(payload["certificate"])))


async def _delete_certificate(point: ChargePoint, payload: Payload) -> Answer:
    return _status(point.certificates.delete(payload["certificateHashData"]))


async def _certificate_ids(point: ChargePoint, payload: Payload) -> Answer:
    return Answer(point.certificates.ids(str(payload["certificateType"])))


MANAGEMENT: dict[str, Callable[[ChargePoint, Payload], Awaitable[Answer]]] = {
    "SendLocalList": _send_local_list,
    "GetLocalListVersion": _local_list_version,
    "ReserveNow": _reserve,
    "CancelReservation": _cancel_reservation,
    "SetChargingProfile": _set_profile,
    "ClearChargingProfile": _clear_profile,
    "GetCompositeSchedule": _composite,
    "UpdateFirmware": _update_firmware,
    "SignedUpdateFirmware": _signed_update,
    "GetDiagnostics": _diagnostics,
    "GetLog": _get_log,
    "CertificateSigned": _certificate_signed,
    "InstallCertificate": _install_certificate,
    "DeleteCertificate": _delete_certificate,
    "GetInstalledCertificateIds": _certificate_ids,
}
