"""Certificates of a charger: its own, and the roots inside it (OCPP 1.6 security whitepaper A02, M03-M05)."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from evpower.admin import service as admin
from evpower.certificates import service as certificates
from evpower.certificates.models import CertificateUse, InstalledCertificate, StationCertificate
from evpower.commands.models import Command
from evpower.db import Conn
from evpower.stations import service as stations
from functions.api.deps import Deps
from functions.api.routes.admin_credentials import actor, sent_command
from functions.api.routing import DepsParam
from functions.api.schemas.admin_security import (
    CertificatesAnswer,
    CertificatesData,
    InstallBody,
    InstalledRoot,
    IssuedCertificate,
    RevokedAnswer,
    SentAnswer,
    SentData,
)
from functions.api.schemas.base import IdIn
from functions.api.staff import Act, ManagerParam, StaffCaller, StaffParam, staff_router

routes = staff_router("/api/v1/admin/stations")

_Order = Callable[[Conn, str], Awaitable[list[Command]]]


def _issued(item: StationCertificate) -> IssuedCertificate:
    return IssuedCertificate(
        id=item.id,
        state=item.state.value,
        subject=item.subject,
        issuer=item.issuer,
        serial_number=item.serial_number,
        not_before=item.not_before,
        not_after=item.not_after,
        command_id=item.command_id,
        error=item.error,
        requested_at=item.requested_at,
        issued_at=item.issued_at,
        answered_at=item.answered_at,
        used_at=item.used_at,
        revoked_at=item.revoked_at,
    )


def _root(item: InstalledCertificate) -> InstalledRoot:
    return InstalledRoot(
        id=item.id,
        certificate_type=item.certificate_type,
        hash_algorithm=item.hash_data.hash_algorithm,
        issuer_name_hash=item.hash_data.issuer_name_hash,
        issuer_key_hash=item.hash_data.issuer_key_hash,
        serial_number=item.hash_data.serial_number,
        subject=item.subject,
        not_after=item.not_after,
        seen_at=item.seen_at,
    )


@routes.get("/{station_id}/certificates", response_model=CertificatesAnswer, summary="Certificates of a station")
async def list_certificates(station_id: IdIn, staff: StaffParam) -> CertificatesAnswer:
    """Certificates that were issued to the charger, newest first, and the roots inside it as it last told them."""

    async def look(conn: Conn) -> CertificatesData:
        station = await admin.station(conn, staff.scope, station_id)
        issued, installed, read_at = await certificates.of_station(conn, station.id)
        return CertificatesData(
            station_id=station.id,
            issued=[_issued(item) for item in issued],
            installed=[_root(item) for item in installed],
            installed_read_at=read_at,
        )

    return CertificatesAnswer(data=await staff.run(look))


async def _send(staff: StaffCaller, deps: Deps, station_id: str, act: Act, order: _Order) -> SentAnswer:
    """Queue commands for the station, and hand them over after the commit."""

    async def work(conn: Conn) -> tuple[tuple[list[Command], bool], Mapping[str, Any]]:
        station = await admin.station(conn, staff.scope, station_id)
        made = await order(conn, station.id)
        found = await stations.resolve(conn, station.id)
        told = {"station_id": station.id, "command_ids": [command.id for command in made]}
        return (made, found is not None and found.connected), told

    made, connected = await staff.act(act, work)
    await deps.commands.send_all(made)
    return SentAnswer(data=SentData(commands=[sent_command(command) for command in made], connected=connected))


@routes.post(
    "/{station_id}/certificates", status_code=202, response_model=SentAnswer, summary="Install a root certificate"
)
async def install_certificate(station_id: IdIn, body: InstallBody, staff: ManagerParam, deps: DepsParam) -> SentAnswer:
    """Send InstallCertificate. A certificate that is no authority's, weak, or not valid now is refused here."""
    use, now = CertificateUse(body.certificate_type), deps.clock.now()

    async def order(conn: Conn, found_id: str) -> list[Command]:
        return [await certificates.install(conn, found_id, use, body.certificate, actor(staff), now)]

    details = {"station_id": station_id, "certificate_type": use.value}
    return await _send(staff, deps, station_id, Act("admin.certificate_install", details=details), order)


@routes.post(
    "/{station_id}/certificates/refresh", status_code=202, response_model=SentAnswer, summary="Read the installed roots"
)
async def refresh_certificates(station_id: IdIn, staff: StaffParam, deps: DepsParam) -> SentAnswer:
    """Send GetInstalledCertificateIds for each use; the list of certificates follows the answers."""
    now = deps.clock.now()

    async def order(conn: Conn, found_id: str) -> list[Command]:
        return await certificates.refresh(conn, found_id, actor(staff), now)

    act = Act("admin.certificates_refresh", details={"station_id": station_id})
    return await _send(staff, deps, station_id, act, order)


@routes.post(
    "/{station_id}/certificates/renew",
    status_code=202,
    response_model=SentAnswer,
    summary="Have the charger ask for a new certificate",
)
async def renew_certificate(station_id: IdIn, staff: ManagerParam, deps: DepsParam) -> SentAnswer:
    """Send ExtendedTriggerMessage SignChargePointCertificate: the charger makes a new key and has it signed."""
    now = deps.clock.now()

    async def order(conn: Conn, found_id: str) -> list[Command]:
        return [await certificates.renew(conn, found_id, actor(staff), now)]

    act = Act("admin.certificate_renew", details={"station_id": station_id})
    return await _send(staff, deps, station_id, act, order)


@routes.delete(
    "/{station_id}/certificates/{certificate_id}",
    status_code=202,
    response_model=SentAnswer,
    summary="Delete a root certificate from a charger",
)
async def delete_certificate(
    station_id: IdIn, certificate_id: IdIn, staff: ManagerParam, deps: DepsParam
) -> SentAnswer:
    """Send DeleteCertificate for one of the ``installed`` ones. Chargers refuse to delete the root that they use."""
    now = deps.clock.now()

    async def order(conn: Conn, found_id: str) -> list[Command]:
        return [await certificates.delete(conn, found_id, certificate_id, actor(staff), now)]

    details = {"station_id": station_id, "certificate_id": certificate_id}
    return await _send(staff, deps, station_id, Act("admin.certificate_delete", details=details), order)


@routes.post(
    "/{station_id}/certificates/{certificate_id}/revoke",
    response_model=RevokedAnswer,
    summary="Revoke a charger's certificate",
)
async def revoke_certificate(
    station_id: IdIn, certificate_id: IdIn, staff: ManagerParam, deps: DepsParam
) -> RevokedAnswer:
    """One of the ``issued`` ones opens nothing any more; a connection that was made with a certificate is ended."""
    now = deps.clock.now()

    async def work(conn: Conn) -> tuple[StationCertificate, Mapping[str, Any]]:
        station = await admin.station(conn, staff.scope, station_id)
        found = await certificates.revoke(conn, station.id, certificate_id, actor(staff), now)
        return found, {"station_id": station.id, "serial_number": found.serial_number}

    details = {"station_id": station_id, "certificate_id": certificate_id}
    return RevokedAnswer(data=_issued(await staff.act(Act("admin.certificate_revoke", details=details), work)))
