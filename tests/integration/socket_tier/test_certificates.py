"""From a charger's signing request to the certificate inside it, through the running socket tier."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from evpower.certificates import issuing, service
from evpower.certificates.authority import AuthorityAway, authority_from
from evpower.certificates.models import CertificateUse
from evpower.commands import service as commands
from evpower.commands.models import Command
from evpower.db import PooledDatabase
from evpower.errors import ValidationFailed
from infra.local.simulator import ChargePoint
from infra.local.simulator.link import LinkSettings
from socket_tier.ocpp16 import sign_certificate
from socket_tier.tier import SocketTier
from tests.fakes.network import Network
from tests.fakes.raw_charger import RawCharger
from tests.fakes.station_authority import TestAuthority, csr
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier, url
from tests.integration.socket_tier.test_security_profiles import PREFIX, TLS, sql
from tests.integration.socket_tier.test_upgrade import refused

STATION = "station-1"
ROOT = TestAuthority.make()


@pytest.fixture
async def signing(make_tier: MakeTier, network: Network) -> SocketTier:
    """A tier with an authority, behind a proxy that asks for client certificates."""
    return await make_tier(
        **ROOT.settings, trusted_proxies="127.0.0.0/8", client_certificate_header=PREFIX, ocpp_call_timeout_s=2.0
    )


@asynccontextmanager
async def charge_point(tier: SocketTier) -> AsyncIterator[ChargePoint]:
    point = ChargePoint(f"ws://127.0.0.1:{tier.port}/ocpp", STATION, connectors=1)
    async with point:
        await point.wait_online()
        yield point


async def rows(db: PooledDatabase) -> list[dict[str, Any]]:
    return await sql(db, "SELECT * FROM station_certificates ORDER BY requested_at")


async def reaches(db: PooledDatabase, *states: str) -> list[dict[str, Any]]:
    async def there() -> bool:
        return tuple(row["state"] for row in await rows(db)) == states

    await until(there, f"certificates in the states {states}")
    return await rows(db)


async def send(tier: SocketTier, db: PooledDatabase, work: Any) -> Command:
    """A command as a route makes it, and its end."""
    command: Command = await db.run(work)
    tier.dispatcher.drain_soon([STATION])

    async def ended() -> bool:
        found = await db.run(lambda conn: commands.get(conn, command.id))
        return found is not None and found.status.terminal

    await until(ended, f"{command.action} to end")
    found = await db.run(lambda conn: commands.get(conn, command.id))
    assert found is not None
    return found


async def test_a_charger_gets_a_certificate_and_comes_in_with_it(signing: SocketTier, db: PooledDatabase) -> None:
    async with charge_point(signing) as point:
        command = await send(signing, db, lambda conn: service.renew(conn, STATION, "test", datetime.now(UTC)))
        assert command.status == "accepted"
        (row,) = await reaches(db, "accepted")
        await point.wait_for(lambda: point.certificates.own)
        (leaf,) = point.certificates.own
        leaf.verify_directly_issued_by(ROOT.certificate)
        assert leaf.subject.rfc4514_string() == f"CN={STATION}"
        assert row["serial_number"] == f"{leaf.serial_number:x}"
        assert (row["sends"], row["attempts"], row["due_at"], row["error"]) == (1, 1, None, None)
        shown = {**TLS, f"{PREFIX}-Subject": leaf.subject.rfc4514_string(),
                 f"{PREFIX}-Serial-Number": f"{leaf.serial_number:X}"}  # fmt: skip
        await sql(db, "UPDATE stations SET security_profile = 3")
        point.link.settings = replace(point.link.settings, headers=tuple(shown.items()))
        point.drop_tcp()
        await point.wait_for(lambda: point.link.record.connections == 2 and point.link.is_online)
        assert (await rows(db))[0]["used_at"] is not None
        await db.run(lambda conn: service.revoke(conn, STATION, row["id"], "test", datetime.now(UTC)))
        await signing.liveness.flush()
        await point.wait_for(lambda: 401 in point.link.record.refusals)
    events = await sql(db, "SELECT type, payload FROM station_events WHERE type LIKE 'certificate%%'")
    assert [event["type"] for event in events] == ["certificate_accepted"]


@pytest.mark.parametrize(
    ("request_text", "why"),
    [
        (csr("somebody-else"), "not for this station"),
        (csr(STATION, key=rsa.generate_private_key(65537, 1024)), "bits"),
        ("nonsense", "cannot be read"),
    ],
)
async def test_requests_that_are_not_signed(
    signing: SocketTier, db: PooledDatabase, request_text: str, why: str
) -> None:
    async with RawCharger.open(url(signing)) as charger:
        assert await charger.call("SignCertificate", csr=request_text) == {"status": "Rejected"}
        assert await charger.call("Heartbeat")
    assert await rows(db) == []
    (event,) = await sql(db, "SELECT severity, payload FROM station_events WHERE type = 'certificate_refused'")
    assert event["severity"] == "warning"
    assert why in event["payload"]["reason"]


async def test_without_an_authority_nothing_is_signed(
    make_tier: MakeTier, network: Network, db: PooledDatabase
) -> None:
    tier = await make_tier()
    async with RawCharger.open(url(tier)) as charger:
        assert await charger.call("SignCertificate", csr=csr(STATION)) == {"status": "Rejected"}
    assert await rows(db) == []


async def test_a_certificate_revoked_on_its_way_does_not_reach_the_charger(
    signing: SocketTier, db: PooledDatabase
) -> None:
    """Use case: the charger would take it over and be refused with it."""
    now = datetime.now(UTC)
    request = csr(STATION)
    made = await db.run(lambda conn: service.request_signature(conn, STATION, request, now))
    assert made is not None
    settings = signing.settings
    command = await issuing.advance(db, authority_from(settings), settings, made, now, early=True)
    assert command is not None
    await db.run(lambda conn: service.revoke(conn, STATION, made, "test", now))
    found = await db.run(lambda conn: commands.get(conn, command.id))
    assert found is not None
    assert found.status == "cancelled"
    # The charger asks again with the same key: a new certificate, not silence.
    again = await db.run(lambda conn: service.request_signature(conn, STATION, request, now))
    assert again not in (None, made)


async def test_a_repeated_request_is_one_and_a_newer_one_takes_its_place(
    signing: SocketTier, db: PooledDatabase
) -> None:
    first, second = csr("SN-station-1"), csr("SN-station-1")
    async with RawCharger.open(url(signing)) as charger:
        await charger.call("Heartbeat")  # takes commands from now on
        for text in (first, first, second):
            assert await charger.call("SignCertificate", csr=text) == {"status": "Accepted"}
        found = await rows(db)
        assert [row["csr"] for row in found] == [first, second]
        assert found[0]["state"] == "failed"
        assert "newer" in found[0]["error"]


async def test_a_station_asks_ten_times_an_hour_at_most(signing: SocketTier, db: PooledDatabase) -> None:
    async with RawCharger.open(url(signing)) as charger:
        answers = [(await charger.call("SignCertificate", csr=csr(STATION)))["status"] for _ in range(12)]
    assert answers == ["Accepted"] * 10 + ["Rejected"] * 2
    assert len(await rows(db)) == 10


async def test_the_sweep_goes_on_after_a_crash(
    signing: SocketTier, db: PooledDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def died(*_: Any) -> None:
        """The process ends between its answer and its work."""

    monkeypatch.setattr(sign_certificate, "_issue", died)
    async with charge_point(signing) as point:
        assert await point.ask_for_certificate() == "Accepted"
        (row,) = await reaches(db, "requested")
        authority = authority_from(signing.settings)
        now = datetime.now(UTC)
        assert await db.run(lambda conn: issuing.due(conn, now, 10)) == []
        later = now + service.FIRST_LOOK_AFTER
        assert await db.run(lambda conn: issuing.due(conn, later, 10)) == [row["id"]]
        command = await issuing.advance(db, authority, signing.settings, row["id"], later)
        assert command is not None
        assert await issuing.advance(db, authority, signing.settings, row["id"], later) is None  # it is leased
        signing.dispatcher.drain_soon([STATION])
        await reaches(db, "accepted")


async def test_a_certificate_without_an_answer_is_sent_again_but_not_for_ever(
    signing: SocketTier, db: PooledDatabase
) -> None:
    async with RawCharger.open(url(signing)) as charger:
        await charger.boot()
        assert await charger.call("SignCertificate", csr=csr(STATION)) == {"status": "Accepted"}
        now = datetime.now(UTC)
        for sends in range(1, issuing.MAX_SENDS + 1):
            call = await charger.command("CertificateSigned")
            await charger.send([4, call[1], "InternalError", "", {}])

            async def failed() -> bool:
                found = await sql(db, "SELECT status FROM station_commands WHERE action = 'CertificateSigned'")
                return [row["status"] for row in found].count("failed") == sends  # noqa: B023 - awaited in this turn

            await until(failed, "the command to fail")
            (row,) = await rows(db)
            assert (row["state"], row["sends"]) == ("issued", sends)
            now += issuing.LOOK_AGAIN + timedelta(minutes=1)
            await issuing.advance(db, None, signing.settings, row["id"], now)
            signing.dispatcher.drain_soon([STATION])
        (row,) = await rows(db)
        assert (row["state"], row["due_at"]) == ("failed", None)
    (event,) = await sql(db, "SELECT severity FROM station_events WHERE type = 'certificate_failed'")
    assert event["severity"] == "error"


async def test_a_charger_that_refuses_its_certificate_is_not_asked_again(
    signing: SocketTier, db: PooledDatabase
) -> None:
    async with RawCharger.open(url(signing)) as charger:
        await charger.boot()
        await charger.call("SignCertificate", csr=csr(STATION))
        call = await charger.command("CertificateSigned")
        await charger.send([3, call[1], {"status": "Rejected"}])
        (row,) = await reaches(db, "rejected")
        assert row["due_at"] is None


async def test_an_authority_that_is_away_is_asked_again_and_given_up_at_last(
    signing: SocketTier, db: PooledDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        async def sign(self, order: Any, now: datetime) -> Any:
            assert order.reference in (None, "order at the authority")
            raise AuthorityAway("maintenance", "order at the authority")

        async def revoke(self, serial_number: str) -> None: ...

    monkeypatch.setattr(sign_certificate, "authority_from", lambda _settings: Away())
    async with RawCharger.open(url(signing)) as charger:
        assert await charger.call("SignCertificate", csr=csr(STATION)) == {"status": "Accepted"}

        async def tried() -> bool:
            return (await rows(db))[0]["error"] == "maintenance"

        await until(tried, "the first attempt")
    now = datetime.now(UTC)
    for _ in range(issuing.MAX_ATTEMPTS):
        (row,) = await rows(db)
        assert row["ca_reference"] == "order at the authority"
        now += timedelta(hours=2)
        await issuing.advance(db, Away(), signing.settings, row["id"], now)
    (row,) = await rows(db)
    assert (row["state"], row["attempts"]) == ("failed", issuing.MAX_ATTEMPTS)


async def test_roots_inside_a_charger(signing: SocketTier, db: PooledDatabase) -> None:
    now = datetime.now(UTC)
    use = CertificateUse.CENTRAL_SYSTEM

    async def known() -> list[tuple[str, str | None]]:
        _, found, _ = await db.run(lambda conn: service.of_station(conn, STATION))
        return [(item.certificate_type, item.subject) for item in found]

    async with charge_point(signing) as point:
        with pytest.raises(ValidationFailed):
            await db.run(lambda conn: service.install(conn, STATION, use, csr(STATION), "test", now))
        command = await send(signing, db, lambda conn: service.install(conn, STATION, use, ROOT.pem, "test", now))
        assert command.status == "accepted"
        assert await known() == [(use.value, "CN=Test Root")]
        point.certificates.install(CertificateUse.MANUFACTURER.value, TestAuthority.make("Maker").pem)

        async def refresh(conn: Any) -> Command:
            return (await service.refresh(conn, STATION, "test", datetime.now(UTC)))[-1]

        await send(signing, db, refresh)

        async def both() -> bool:
            return await known() == [(use.value, "CN=Test Root"), (CertificateUse.MANUFACTURER.value, None)]

        await until(both, "both roots to be known")
        _, (ours, theirs), read_at = await db.run(lambda conn: service.of_station(conn, STATION))
        assert read_at is not None
        assert ours.not_after == ROOT.certificate.not_valid_after_utc
        for item in (ours, theirs):
            command = await send(
                signing, db, lambda conn, item=item: service.delete(conn, STATION, item.id, "test", now)
            )
            assert command.status == "accepted"
        assert await known() == []
        await send(signing, db, lambda conn: service.install(conn, STATION, use, ROOT.pem, "test", now))
        _, (again,), _ = await db.run(lambda conn: service.of_station(conn, STATION))
        point.certificates.roots.clear()  # somebody removed it at the charger
        command = await send(signing, db, lambda conn: service.delete(conn, STATION, again.id, "test", now))
        assert command.status == "rejected"
        assert await known() == []


async def test_a_charger_that_has_none_tells_so(signing: SocketTier, db: PooledDatabase) -> None:
    now = datetime.now(UTC)
    async with charge_point(signing) as point:
        use = CertificateUse.CENTRAL_SYSTEM
        await send(signing, db, lambda conn: service.install(conn, STATION, use, ROOT.pem, "test", now))
        point.certificates.roots.clear()

        async def refresh(conn: Any) -> Command:
            return (await service.refresh(conn, STATION, "test", datetime.now(UTC)))[0]

        assert (await send(signing, db, refresh)).status == "accepted"
        assert (await db.run(lambda conn: service.of_station(conn, STATION)))[1] == []


async def test_another_station_cannot_be_asked_for(signing: SocketTier, db: PooledDatabase) -> None:
    """The certificate's name is the station's of the socket, never the message's."""
    await sql(db, "INSERT INTO stations (id, serial_number) VALUES ('station-2', 'SN-station-2')")
    async with RawCharger.open(url(signing)) as charger:
        for name in ("station-2", "SN-station-2"):
            assert await charger.call("SignCertificate", csr=csr(name)) == {"status": "Rejected"}
    headers = {**TLS, f"{PREFIX}-Subject": f"CN={STATION}"}
    assert (await refused(url(signing, "station-2"), headers=headers))[0] == 401


def test_the_simulator_can_be_given_the_headers_of_a_proxy() -> None:
    assert LinkSettings("ws://x", "y").headers == ()
