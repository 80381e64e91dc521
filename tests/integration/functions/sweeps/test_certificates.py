"""The sweep of certificates: what is left over, what ends, who is asked for a new one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import Conn, PooledDatabase
from functions.sweeps import certificates
from functions.sweeps.deps import SweepDeps
from tests.fakes.station_authority import TestAuthority, csr
from tests.integration.functions.sweeps.parts import Commands, sweep_deps

NOW = datetime.now(UTC)
ROOT = TestAuthority.make()


class World:
    """Stations and certificates, and the sweep."""

    def __init__(self, deps: SweepDeps, commands: Commands, db: PooledDatabase) -> None:
        self.deps, self.commands, self.db = deps, commands, db

    async def sql(self, query: str, *values: object) -> list[dict[str, Any]]:
        async def work(conn: Conn) -> list[dict[str, Any]]:
            cursor = await conn.execute(query, values)  # type: ignore[arg-type]
            return await cursor.fetchall() if cursor.description else []

        return await self.db.run(work)

    async def station(self, station_id: str, profile: int = 3) -> None:
        await self.sql(
            "INSERT INTO stations (id, serial_number, security_profile) VALUES (%s, %s, %s)",
            station_id, f"SN-{station_id}", profile,
        )  # fmt: skip

    async def certificate(self, station_id: str, days: float, **columns: Any) -> str:
        values = {
            "id": f"{station_id}-{days}", "station_id": station_id, "state": "accepted", "csr": "", "chain": "pem",
            "csr_fingerprint": str(days), "serial_number": "ab", "subject": "CN=x", "requested_at": NOW,
            "not_after": NOW + timedelta(days=days), **columns,
        }  # fmt: skip
        marks = ", ".join(["%s"] * len(values))
        await self.sql(f"INSERT INTO station_certificates ({', '.join(values)}) VALUES ({marks})", *values.values())
        return str(values["id"])

    async def run(self, days: float = 0) -> dict[str, int]:
        return await certificates.run(self.deps, NOW + timedelta(days=days))

    async def events(self) -> list[tuple[str, str, str]]:
        rows = await self.sql("SELECT station_id, type, severity FROM station_events ORDER BY id")
        return [(row["station_id"], row["type"], row["severity"]) for row in rows]


@pytest.fixture
def world(make_settings: Callable[..., Settings], db: PooledDatabase) -> World:
    deps, commands, _ = sweep_deps(make_settings, db, FrozenClock(NOW), **ROOT.settings)
    return World(deps, commands, db)


async def test_operators_are_told_once_at_each_threshold(world: World) -> None:
    await world.station("a", profile=1)
    await world.certificate("a", 40)
    assert (await world.run())["told"] == 0
    told = []
    for days in (11, 12, 34, 35, 41, 42):
        await world.run(days)
        told.append(len(await world.events()))
    assert told == [1, 1, 2, 2, 3, 3]
    assert [(kind, severity) for _, kind, severity in await world.events()] == [
        ("certificate_expiring", "warning"), ("certificate_expiring", "error"), ("certificate_expired", "error"),
    ]  # fmt: skip


async def test_a_late_sweep_tells_the_nearest_threshold_only(world: World) -> None:
    await world.station("a", profile=1)
    await world.certificate("a", 3)
    assert (await world.run())["told"] == 1
    assert (await world.run())["told"] == 0


async def test_certificates_that_are_nobodys_concern_any_more(world: World) -> None:
    await world.station("a")
    await world.certificate("a", 5, serial_number="1")
    await world.certificate("a", 300, serial_number="2")
    await world.station("b")
    await world.certificate("b", 5, revoked_at=NOW, ca_revoked_at=NOW)
    await world.station("c")
    await world.certificate("c", 5, state="rejected")
    counts = await world.run()
    assert (counts["told"], counts["renewals"]) == (0, 0)


async def test_roots_inside_chargers_end_as_well(world: World) -> None:
    await world.station("a", profile=0)
    await world.sql(
        """INSERT INTO installed_certificates (id, station_id, certificate_type, hash_algorithm, issuer_name_hash,
               issuer_key_hash, serial_number, subject, not_after, seen_at)
           VALUES ('i', 'a', 'CentralSystemRootCertificate', 'SHA256', 'x', 'y', '1', 'CN=Root', %s, %s)""",
        NOW + timedelta(days=20), NOW,
    )  # fmt: skip
    assert (await world.run())["told"] == 1
    (row,) = await world.sql("SELECT payload FROM station_events")
    assert row["payload"]["kind"] == "installed"


async def test_stations_of_profile_3_are_asked_for_a_new_request_once_a_day(world: World) -> None:
    for name, profile, days in (("a", 3, 20), ("b", 2, 20), ("c", 3, 200), ("d", 3, -1)):
        await world.station(name, profile)
        await world.certificate(name, days)
    await world.station("off")
    await world.certificate("off", 5)
    await world.sql("UPDATE stations SET status = 'inactive' WHERE id = 'off'")
    assert (await world.run())["renewals"] == 2
    asked = await world.sql("SELECT station_id, payload FROM station_commands ORDER BY station_id")
    assert [row["station_id"] for row in asked] == ["a", "d"]
    assert asked[0]["payload"] == {"requestedMessage": "SignChargePointCertificate"}
    assert len(world.commands.sent) == 2
    assert (await world.run(0.9))["renewals"] == 0
    assert (await world.run(1.1))["renewals"] == 2
    await world.certificate("a", 21, id="open", state="requested", chain=None)
    await world.sql("UPDATE stations SET status = 'inactive' WHERE id = 'd'")
    assert (await world.run(3))["renewals"] == 0


async def test_what_was_left_over_goes_on(world: World) -> None:
    await world.station("a")
    await world.certificate("a", 0, state="requested", chain=None, csr=csr("SN-a"), due_at=NOW, not_after=None,
                            serial_number=None)  # fmt: skip
    counts = await world.run()
    assert (counts["seen"], counts["sent"], counts["failures"]) == (1, 1, 0)
    assert world.commands.sent == ["CertificateSigned None"]
    (row,) = await world.sql("SELECT state, sends, serial_number FROM station_certificates")
    assert (row["state"], row["sends"]) == ("issued", 1)
    assert row["serial_number"]


async def test_a_request_that_is_no_longer_good_fails(world: World) -> None:
    """The station's serial number was changed meanwhile."""
    await world.station("a")
    await world.certificate("a", 0, state="requested", chain=None, csr=csr("SN-old"), due_at=NOW)
    counts = await world.run()
    assert (counts["seen"], counts["sent"]) == (1, 0)
    assert await world.events() == [("a", "certificate_failed", "error")]


async def test_a_revocation_reaches_the_authority(world: World) -> None:
    await world.station("a")
    await world.certificate("a", 100, revoked_at=NOW, due_at=NOW)
    await world.run()
    (row,) = await world.sql("SELECT ca_revoked_at, due_at FROM station_certificates")
    assert row["ca_revoked_at"] is not None
    assert row["due_at"] is None
    assert (await world.run())["seen"] == 0
