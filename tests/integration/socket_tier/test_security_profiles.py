"""Security profiles 0 to 3 at the upgrade: what each demands, and whose word counts (ocpp.md §1, whitepaper 2)."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evpower.db import Conn, PooledDatabase
from evpower.stations import key_rotation
from evpower.stations import service as stations
from socket_tier.tier import SocketTier
from tests.fakes.network import Network
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier, url
from tests.integration.socket_tier.test_upgrade import KEY, refused, set_station

Q = Callable[..., Awaitable[list[dict[str, Any]]]]
PREFIX = "X-Amzn-Mtls-Clientcert"
TLS = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}
PLAIN = {**TLS, "X-Forwarded-Proto": "http"}
SUBJECT = {f"{PREFIX}-Subject": "CN=SN-station-1,O=Test"}
LOGIN = {"user": "station-1", "password": KEY}


@pytest.fixture
async def inside(make_tier: MakeTier, network: Network) -> SocketTier:
    """A tier behind a trusted proxy that asks for client certificates."""
    return await make_tier(
        allow_unauthenticated_stations=False, trusted_proxies="127.0.0.0/8", client_certificate_header=PREFIX
    )


async def sql(db: PooledDatabase, query: str, *values: object) -> list[dict[str, Any]]:
    async def work(conn: Conn) -> list[dict[str, Any]]:
        cursor = await conn.execute(query, values)  # type: ignore[arg-type]
        return await cursor.fetchall() if cursor.description else []

    return await db.run(work)


async def profile(db: PooledDatabase, number: int, *, key: bool = True) -> None:
    await set_station(db, f"security_profile = {number}")
    if key:
        await db.run(lambda conn: stations.set_authorization_key(conn, "station-1", KEY))


async def comes_in(tier: SocketTier, **options: Any) -> None:
    async with RawCharger.open(url(tier), **options) as charger:
        assert await charger.call("Heartbeat")


async def proven(db: PooledDatabase) -> int:
    (row,) = await sql(db, "SELECT connection_security FROM stations WHERE id = 'station-1'")
    level: int = row["connection_security"]
    return level


async def test_profile_1_demands_a_key_even_where_none_is_needed(make_tier: MakeTier, network: Network,
                                                                 db: PooledDatabase) -> None:  # fmt: skip
    tier = await make_tier(allow_unauthenticated_stations=True)
    await comes_in(tier)
    assert await proven(db) == 0
    await profile(db, 1, key=False)
    assert (await refused(url(tier)))[0] == 401
    await profile(db, 1)
    assert (await refused(url(tier)))[0] == 401
    await comes_in(tier, **LOGIN)
    assert await proven(db) == 1


async def test_profile_2_is_refused_in_plain_words_without_tls(inside: SocketTier, db: PooledDatabase) -> None:
    await profile(db, 2)
    code, body, _ = await refused(url(inside), headers=PLAIN, **LOGIN)
    assert (code, "wss://" in body) == (403, True)
    assert (await refused(url(inside), **LOGIN))[0] == 403  # a proxy that says nothing
    spoofed = {**TLS, "X-Forwarded-Proto": "https, http"}  # the first hop is the caller's own word
    assert (await refused(url(inside), headers=spoofed, **LOGIN))[0] == 403
    assert (await refused(url(inside), headers=TLS))[0] == 401
    await comes_in(inside, headers=TLS, **LOGIN)
    assert await proven(db) == 2


async def test_nobody_but_the_proxy_may_say_that_it_was_tls(make_tier: MakeTier, network: Network,
                                                             db: PooledDatabase) -> None:  # fmt: skip
    outside = await make_tier(trusted_proxies="192.0.2.0/24", client_certificate_header=PREFIX)
    await profile(db, 2)
    assert (await refused(url(outside), headers=TLS, **LOGIN))[0] == 403
    assert (await refused(url(outside), headers={**TLS, **SUBJECT}))[0] == 403
    await profile(db, 1)
    assert (await refused(url(outside), headers={**TLS, **SUBJECT}))[0] == 401
    await comes_in(outside, headers=TLS, **LOGIN)
    assert await proven(db) == 1


async def test_profile_3_demands_the_stations_own_certificate(inside: SocketTier, db: PooledDatabase) -> None:
    await profile(db, 3)
    assert (await refused(url(inside), headers=TLS, **LOGIN))[0] == 401
    assert (await refused(url(inside), headers={**PLAIN, **SUBJECT}))[0] == 403
    code, body, _ = await refused(url(inside), headers={**TLS, f"{PREFIX}-Subject": "CN=SN-station-2"}, **LOGIN)
    assert (code, "another station" in body) == (401, True)
    await comes_in(inside, headers={**TLS, **SUBJECT})
    assert await proven(db) == 3


async def test_certificate_headers_mean_nothing_unless_the_proxy_is_said_to_send_them(
    make_tier: MakeTier, network: Network
) -> None:
    """On a load balancer without mutual TLS anybody could send them through it."""
    tier = await make_tier(allow_unauthenticated_stations=False, trusted_proxies="127.0.0.0/8")
    assert (await refused(url(tier), headers={**TLS, **SUBJECT}))[0] == 401


async def test_a_subject_named_twice_is_nobodys(inside: SocketTier, db: PooledDatabase) -> None:
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus

    twice = [*TLS.items(), (f"{PREFIX}-Subject", "CN=SN-station-1"), (f"{PREFIX}-Subject", "CN=SN-station-2")]
    with pytest.raises(InvalidStatus) as refusal:
        async with connect(url(inside), subprotocols=["ocpp1.6"], additional_headers=twice):  # type: ignore[list-item]
            pass
    assert refusal.value.response.status_code == 401


async def issued(db: PooledDatabase, serial: str, **columns: Any) -> None:
    now = datetime.now(UTC)
    values = {
        "id": f"certificate-{serial}", "station_id": "station-1", "state": "accepted", "csr": "", "chain": "pem",
        "csr_fingerprint": serial, "serial_number": serial, "not_after": now + timedelta(days=30),
        "requested_at": now, **columns,
    }  # fmt: skip
    marks = ", ".join(["%s"] * len(values))
    await sql(db, f"INSERT INTO station_certificates ({', '.join(values)}) VALUES ({marks})", *values.values())


async def test_the_serial_number_decides_between_certificates_of_a_station(
    inside: SocketTier, db: PooledDatabase
) -> None:
    await profile(db, 3)
    moment = datetime.now(UTC)
    await issued(db, "ab12")
    await issued(db, "dead", revoked_at=moment)
    await issued(db, "01d", not_after=moment - timedelta(seconds=1))

    def shown(serial: str | None) -> dict[str, str]:
        return {**TLS, **SUBJECT, **({} if serial is None else {f"{PREFIX}-Serial-Number": serial})}

    for serial, why in (("DEAD", "revoked"), ("00:de:ad", "revoked")):
        code, body, _ = await refused(url(inside), headers=shown(serial))
        assert (code, why in body) == (401, True), serial
    # One that left the factory with the charger: good until ours was used.
    await comes_in(inside, headers=shown("99"))
    await comes_in(inside, headers=shown("00AB12"))
    (row,) = await sql(db, "SELECT used_at FROM station_certificates WHERE serial_number = 'ab12'")
    assert row["used_at"] is not None
    for serial in ("99", None):
        code, body, _ = await refused(url(inside), headers=shown(serial))
        assert (code, "not one of those" in body) == (401, True), serial


async def test_an_expired_certificate_of_ours_is_refused(inside: SocketTier, db: PooledDatabase) -> None:
    await issued(db, "1d", not_after=datetime.now(UTC) - timedelta(seconds=1))
    code, body, _ = await refused(url(inside), headers={**TLS, **SUBJECT, f"{PREFIX}-Serial-Number": "1D"})
    assert (code, "expired" in body) == (401, True)


async def test_a_profile_that_was_asked_for_is_demanded_from_its_first_proof_on(
    inside: SocketTier, db: PooledDatabase
) -> None:
    await profile(db, 1)
    await set_station(db, "requested_security_profile = 2")
    await comes_in(inside, headers=PLAIN, **LOGIN)  # the charger could not do it and came back
    await comes_in(inside, headers=TLS, **LOGIN)
    (row,) = await sql(db, "SELECT security_profile, requested_security_profile FROM stations WHERE id = 'station-1'")
    assert (row["security_profile"], row["requested_security_profile"]) == (2, None)
    assert (await refused(url(inside), headers=PLAIN, **LOGIN))[0] == 403
    events = await sql(db, "SELECT payload FROM station_events WHERE type = 'security_profile_raised'")
    assert [event["payload"] for event in events] == [{"security_profile": 2}]


async def test_revoked_keys_end_the_connection_and_open_nothing(inside: SocketTier, db: PooledDatabase) -> None:
    await profile(db, 1)
    async with RawCharger.open(url(inside), **LOGIN) as charger:
        await charger.call("Heartbeat")
        await until(lambda: inside.registry.local("station-1"), "the socket to be registered")
        await db.run(lambda conn: key_rotation.revoke_keys(conn, "station-1", "staff:test", datetime.now(UTC)))
        await inside.liveness.flush()
        assert (await charger.closed())[0] == 4001
    assert (await refused(url(inside), **LOGIN))[0] == 401


async def test_an_upgrade_that_was_decided_before_a_revocation_is_not_completed_after_it(
    inside: SocketTier, db: PooledDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    await profile(db, 1)
    check = inside._load

    async def slowly(reference: str) -> Any:
        found = await check(reference)
        await db.run(lambda conn: key_rotation.revoke_keys(conn, "station-1", "staff:test", datetime.now(UTC)))
        return found

    monkeypatch.setattr(inside.gate, "_load", slowly)
    async with RawCharger.open(url(inside), **LOGIN) as charger:
        assert (await charger.closed())[0] == 1013
