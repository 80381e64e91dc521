"""Flows of credentials and certificates: a charger gets keys, a profile, roots and a certificate of its own."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from evpower.certificates import issuing, service
from evpower.certificates.authority import authority_from
from evpower.commands import service as commands
from evpower.commands.models import Command, CommandStatus
from evpower.config import Settings
from evpower.stations import key_rotation
from evpower.stations import service as stations
from tests.fakes.station_authority import TestAuthority, csr
from tests.integration.contract.recorder import Recorder
from tests.integration.functions.api.conftest import SERIAL, STATION
from tests.integration.functions.api.staff_world import FIRST, FIRST_OPERATOR

ROOT = TestAuthority.make("Example Root")


async def record_security(on: Recorder) -> None:
    """K1-K5, E1-E6."""
    await _keys(on)
    await _certificates(on)
    await on.call("K3", client=FIRST, station_id=STATION)


async def _keys(on: Recorder) -> None:
    now = on.api.deps.clock.now()
    shown = (await on.call("K2", {"delivery": "by_hand"}, client=FIRST, station_id=STATION))["data"]
    admission = await on.api.db.run(lambda conn: stations.load_for_admission(conn, STATION))
    assert admission is not None
    (candidate,) = admission.candidate_keys
    used = (shown["new_key_id"], candidate.hash)
    assert await on.api.db.run(lambda conn: key_rotation.connected(conn, STATION, proven=1, candidate=used, now=now))
    await on.api.db.run(lambda conn: stations.claim_connection(conn, STATION, "test-instance", now, security=1))
    await on.call("K2", {"delivery": "send"}, client=FIRST, station_id=STATION)
    given = {"delivery": "by_hand", "key": "a-key-of-the-factory"}
    second = await on.call("K2", given, client=FIRST, station_id=STATION)
    await on.call("K5", {"security_profile": 1}, client=FIRST, station_id=STATION)
    await on.call("K1", client=FIRST_OPERATOR, station_id=SERIAL)
    await on.call("K4", client=FIRST, station_id=STATION, new_key_id=second["data"]["new_key_id"])
    await on.call("K5", {"security_profile": 1, "delivery": "record"}, client=FIRST, station_id=STATION)


async def _answered(on: Recorder, command_id: str) -> Command:
    """The command as it is when the charger has accepted it."""
    async with on.api.db.transaction() as conn:
        command = await commands.get(conn, command_id)
        assert command is not None
        sent = replace(command, status=CommandStatus.SENT)
        await conn.execute("UPDATE station_commands SET status = 'sent' WHERE id = %s", (command_id,))
        await commands.finish(conn, sent, CommandStatus.ACCEPTED, on.api.deps.clock.now())
    return command


async def _certificates(on: Recorder) -> None:
    db, now = on.api.db, on.api.deps.clock.now()
    body = {"certificate_type": "CentralSystemRootCertificate", "certificate": ROOT.pem}
    sent = await on.call("E2", body, client=FIRST, station_id=STATION)
    command = await _answered(on, sent["data"]["commands"][0]["id"])
    await db.run(lambda conn: service.install_answered(conn, command, CommandStatus.ACCEPTED, now))
    sent = await on.call("E3", client=FIRST_OPERATOR, station_id=STATION)
    await _answered(on, sent["data"]["commands"][0]["id"])
    await on.call("E4", client=FIRST, station_id=STATION)
    settings = Settings.model_validate({**on.api.deps.settings.model_dump(), **ROOT.settings})
    for text in (csr(SERIAL), csr(SERIAL)):  # the second takes the place of the first, which fails
        certificate_id = await db.run(lambda conn, text=text: service.request_signature(conn, STATION, text, now))
    assert certificate_id is not None
    signed = await issuing.advance(db, authority_from(settings), settings, certificate_id, now, early=True)
    assert signed is not None
    ended: Any = signed
    await db.run(lambda conn: service.signed_answered(conn, ended, CommandStatus.ACCEPTED, now + timedelta(seconds=1)))
    (row,) = await on.api.sql("SELECT serial_number FROM station_certificates WHERE id = %s", certificate_id)
    await db.run(lambda conn: service.note_use(conn, STATION, row["serial_number"], now))
    await on.call("E6", client=FIRST, station_id=STATION, certificate_id=certificate_id)
    listed = await on.call("E1", client=FIRST_OPERATOR, station_id=STATION)
    root = listed["data"]["installed"][0]["id"]
    await on.call("E5", client=FIRST, station_id=STATION, certificate_id=root)
