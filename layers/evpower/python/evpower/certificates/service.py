"""Rules of certificates: what a charger may have signed, which certificate opens its station, what is inside it."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from evpower.certificates import repository
from evpower.certificates import x509 as reading
from evpower.certificates.models import (
    CertificateState,
    CertificateUse,
    HashData,
    InstalledCertificate,
    StationCertificate,
)
from evpower.certificates.x509 import NotUsable
from evpower.commands import service as commands
from evpower.commands.models import Command, CommandStatus, NewCommand
from evpower.config import get_settings
from evpower.db import Conn
from evpower.errors import NotFound, ValidationFailed
from evpower.ids import new_id
from evpower.stations import key_rotation
from evpower.stations import service as stations
from evpower.stations.failures import CredentialsConflict

__all__ = ["NotUsable", "request_signature"]

REQUESTS_PER_HOUR = 10
FIRST_LOOK_AFTER = timedelta(minutes=2)
"""The sweep takes over a request whose socket tier has died."""
_LIFETIME = timedelta(days=1)
_SHOWN = 100


# --- What the charger asks for ------------------------------------------------------------------------------------


async def request_signature(conn: Conn, station_id: str, csr: str, now: datetime) -> str | None:
    """Keep a charger's signing request; its id, or None for one that is open already.

    A newer request takes the place of an open one: the charger has made a new key.

    Raises:
        NotUsable: the request must not be signed, or the station asks too often.
    """
    names = await repository.lock_station(conn, station_id)
    if names is None:
        raise NotUsable("the station was removed")
    facts = reading.read_csr(csr, frozenset(names), get_settings().cpo_name)
    if await repository.open_request(conn, station_id, facts.fingerprint):
        return None
    if await repository.count_requests(conn, station_id, now - timedelta(hours=1)) >= REQUESTS_PER_HOUR:
        raise NotUsable(f"more than {REQUESTS_PER_HOUR} requests within an hour")
    await repository.replace_open(conn, station_id, "the charger has sent a newer request")
    certificate_id = new_id()
    await repository.add_request(conn, certificate_id, station_id, csr, facts.fingerprint, now + FIRST_LOOK_AFTER, now)
    return certificate_id


async def objection(conn: Conn, station_id: str, serial: str | None, now: datetime) -> str | None:
    """Why a certificate that the load balancer has verified must not open this station; None: it may.

    Certificates that are not ours (a charger leaves its factory with one) are good until the station has used one of
    ours: a charger that only received its new certificate still shows the old one.
    """
    ours = await repository.shown_before(conn, station_id)
    number = reading.serial_text(serial) if serial else None
    for certificate, _ in ours:
        if certificate.serial_number == number:
            if certificate.revoked_at is not None:
                return "The client certificate has been revoked."
            if certificate.not_after is not None and certificate.not_after <= now:
                return "The client certificate has expired."
            return None
    if any(used for _, used in ours):
        return "The client certificate is not one of those that were issued to this station."
    return None


async def note_use(conn: Conn, station_id: str, serial: str, now: datetime) -> None:
    """The station has connected with this certificate."""
    await repository.note_use(conn, station_id, reading.serial_text(serial), now)


# --- What operators do --------------------------------------------------------------------------------------------


async def of_station(
    conn: Conn, station_id: str
) -> tuple[list[StationCertificate], list[InstalledCertificate], datetime | None]:
    """Certificates issued to the station, newest first; roots inside it; when it last told them."""
    return (
        await repository.of_station(conn, station_id, _SHOWN),
        await repository.installed(conn, station_id),
        await repository.last_read(conn, station_id),
    )


async def install(conn: Conn, station_id: str, use: CertificateUse, text: str, by: str, now: datetime) -> Command:
    """Send a root certificate to the charger. Raises: ValidationFailed for a text that must not be installed."""
    try:
        reading.read_root(text, now)
    except NotUsable as fault:
        raise ValidationFailed(
            str(fault),
            field="certificate",
            fields=[{"field": "certificate", "problem": "not usable", "detail": str(fault)}],
        ) from fault
    return await _command(
        conn, station_id, "InstallCertificate", {"certificateType": use.value, "certificate": text}, by, now
    )


async def delete(conn: Conn, station_id: str, installed_id: str, by: str, now: datetime) -> Command:
    """Have the charger delete a root. Raises: NotFound."""
    found = await repository.find_installed(conn, station_id, installed_id)
    if found is None:
        raise NotFound("the charger has no such certificate, as far as it has told")
    payload = {"certificateHashData": found.hash_data.message()}
    return await _command(conn, station_id, "DeleteCertificate", payload, by, now)


async def refresh(conn: Conn, station_id: str, by: str, now: datetime) -> list[Command]:
    """Ask the charger which roots it has."""
    return [
        await _command(conn, station_id, "GetInstalledCertificateIds", {"certificateType": use.value}, by, now)
        for use in CertificateUse
    ]


async def renew(conn: Conn, station_id: str, by: str, now: datetime) -> Command:
    """Have the charger make a new key and send its signing request (security whitepaper A02)."""
    payload = {"requestedMessage": "SignChargePointCertificate"}
    return await _command(conn, station_id, "ExtendedTriggerMessage", payload, by, now)


async def revoke(conn: Conn, station_id: str, certificate_id: str, by: str, now: datetime) -> StationCertificate:
    """From now on the certificate opens nothing; the station's connection ends, if certificates are its key.

    Raises:
        NotFound: no such certificate was issued to the station.
    """
    await repository.lock_station(conn, station_id)  # before its certificates, as when the charger connects
    security, _ = await key_rotation.overview(conn, station_id)
    found = await repository.revoke(conn, station_id, certificate_id, by, now)
    if found is None:
        raise NotFound("no such certificate was issued to the station")
    if found.command_id is not None:
        # Use case: it has not reached the charger, which would take it over and be refused with it.
        await commands.cancel_waiting(conn, station_id, found.command_id, by, now)
    if security.connection_security == 3:
        await key_rotation.end_connection(conn, station_id)
    return found


async def send_profile(conn: Conn, station_id: str, profile: int, by: str, now: datetime) -> Command:
    """Ask the charger to go up to a security profile, after a look at what it needs for it (security whitepaper A05).

    Raises:
        StationNotFound, CredentialsConflict: as ``key_rotation.send_profile``, or a certificate is missing.
    """
    if profile >= 2:
        roots = await repository.installed(conn, station_id)
        if not any(item.certificate_type == CertificateUse.CENTRAL_SYSTEM for item in roots):
            raise CredentialsConflict(
                "the charger has told of no CentralSystemRootCertificate: install or refresh first"
            )
    if profile >= 3 and not await repository.has_usable(conn, station_id, now):
        raise CredentialsConflict("the charger has accepted no certificate that is good now: renew first")
    return await key_rotation.send_profile(conn, station_id, profile, by, now)


async def _command(
    conn: Conn, station_id: str, action: str, payload: Mapping[str, object], by: str, now: datetime
) -> Command:
    new = NewCommand(station_id, action, payload, expires_at=now + _LIFETIME, requested_by=by)
    return await commands.enqueue(conn, new, now)


# --- What the charger answers -------------------------------------------------------------------------------------


async def signed_answered(conn: Conn, command: Command, outcome: CommandStatus, now: datetime) -> None:
    """CertificateSigned has ended. Without an answer the sweep sends it again."""
    if outcome not in (CommandStatus.ACCEPTED, CommandStatus.REJECTED):
        return
    accepted = outcome is CommandStatus.ACCEPTED
    chain = reading.certificates(str(command.payload.get("certificateChain", "")))
    serial = reading.facts(chain[0]).serial_number if chain else None
    state = CertificateState.ACCEPTED if accepted else CertificateState.REJECTED
    found = await repository.answer(conn, command.station_id, command.id, serial, state, now)
    await stations.add_event(
        conn,
        command.station_id,
        f"certificate_{state.value}",
        now,
        payload={"certificate_id": found, "serial_number": serial},
        severity="info" if accepted else "warning",
    )


async def install_answered(conn: Conn, command: Command, outcome: CommandStatus, now: datetime) -> None:
    """InstallCertificate has ended; whoever sent it, the stored picture follows."""
    text, use = str(command.payload.get("certificate", "")), str(command.payload.get("certificateType", ""))
    found = reading.certificates(text)
    if outcome is CommandStatus.ACCEPTED and found:
        await repository.add_installed(
            conn, new_id(), command.station_id, use, reading.hash_data(found[0]), text, reading.facts(found[0]), now
        )


async def delete_answered(conn: Conn, command: Command, outcome: CommandStatus, status: str | None) -> None:
    """DeleteCertificate has ended; a charger that has no such certificate has none."""
    if outcome is CommandStatus.ACCEPTED or status == "NotFound":
        data = command.payload.get("certificateHashData")
        if isinstance(data, dict):
            await repository.remove_installed(conn, command.station_id, HashData.from_message(data))


async def ids_answered(conn: Conn, command: Command, outcome: CommandStatus, told: list[object], now: datetime) -> None:
    """GetInstalledCertificateIds has ended; ``told``: its certificateHashData."""
    if outcome is not CommandStatus.ACCEPTED:
        return
    station_id, use = command.station_id, str(command.payload.get("certificateType", ""))
    texts = await repository.known_texts(conn, station_id, use)
    known = [(text, certificate) for text in texts for certificate in reading.certificates(text)[:1]]
    for item in told[:_SHOWN]:
        if not isinstance(item, dict):
            continue
        named = HashData.from_message(item)
        text, facts = None, None
        for candidate, certificate in known:
            # The charger chooses the hash; a root that we installed is recognised under any of them.
            if named.hash_algorithm in ("SHA256", "SHA384", "SHA512") and (
                reading.hash_data(certificate, named.hash_algorithm).names_the_same(named)
            ):
                text, facts = candidate, reading.facts(certificate)
        await repository.add_installed(conn, new_id(), station_id, use, named, text, facts, now)
    await repository.remove_unseen(conn, station_id, use, now)
