"""The registry of socket owners on a real Valkey, single and in cluster mode."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from evpower.config import Settings
from evpower.redis_client import open_redis
from infra.local.services import Valkey, ValkeyCluster
from socket_tier.registry import INBOX_BLOCK_S, REPLACED_CODE, Owner, Registry
from tests.fakes.stations import FakeConnection, until

MakeRegistry = Callable[..., Awaitable[Registry]]


def settings_for(url: str, *, cluster: bool = False) -> Settings:
    return Settings.model_validate({"environment": "test", "redis_url": url, "redis_cluster": cluster})


def registry_of(settings: Settings, instance: str, **options: float) -> Registry:
    values = {"hand_off_timeout_s": 1.0, **options}
    return Registry(open_redis(settings), open_redis(settings, socket_timeout_s=INBOX_BLOCK_S + 2), instance, **values)


@pytest.fixture(params=["single", "cluster"])
async def make_registry(request: pytest.FixtureRequest) -> AsyncIterator[MakeRegistry]:
    """Registries of several instances that share one Valkey."""
    cluster = request.param == "cluster"
    url = request.getfixturevalue("redis_cluster_url" if cluster else "redis_url")
    made: list[Registry] = []

    async def make(instance: str, **options: float) -> Registry:
        registry = registry_of(settings_for(url, cluster=cluster), instance, **options)
        registry.start()
        made.append(registry)
        return registry

    yield make
    for registry in made:
        await registry.stop()


async def test_a_registered_station_is_found_by_every_instance(make_registry: MakeRegistry) -> None:
    a, b = await make_registry("a"), await make_registry("b")
    connection = FakeConnection("ST-1", epoch=7)
    await b.register("ST-1", connection)
    assert b.local("ST-1") is connection
    assert a.local("ST-1") is None
    assert (await a.owner("ST-1")).owner == Owner("b", 7)
    assert await a.connected_count() == 1
    assert await a.connected_stations() == ["ST-1"]
    await b.unregister(connection)
    assert (await a.owner("ST-1")).owner is None
    assert await a.connected_count() == 0


async def test_the_newest_socket_wins_and_the_old_instance_closes_its_own(make_registry: MakeRegistry) -> None:
    a, b = await make_registry("a"), await make_registry("b")
    old, new = FakeConnection("ST-1", epoch=7), FakeConnection("ST-1", epoch=8)
    await a.register("ST-1", old)
    await b.register("ST-1", new)
    await until(lambda: old.closed_with, "the notice of lost ownership")
    assert old.closed_with is not None
    assert old.closed_with[0] == REPLACED_CODE
    assert a.local("ST-1") is None
    # Closing the old socket must not unregister the new one.
    await a.unregister(old)
    assert (await a.owner("ST-1")).owner == Owner("b", 8)
    assert new.closed_with is None


async def test_a_lower_epoch_never_overwrites_a_higher_one(make_registry: MakeRegistry) -> None:
    a, b = await make_registry("a"), await make_registry("b")
    new, late = FakeConnection("ST-1", epoch=8), FakeConnection("ST-1", epoch=7)
    await b.register("ST-1", new)
    await a.register("ST-1", late)  # its registration was slow
    await until(lambda: late.closed_with, "the loser to be closed")
    assert (await a.owner("ST-1")).owner == Owner("b", 8)
    assert a.local("ST-1") is None
    assert new.closed_with is None


async def test_two_sockets_of_one_station_on_one_instance(make_registry: MakeRegistry) -> None:
    a = await make_registry("a")
    old, new, late = (FakeConnection("ST-1", epoch=e) for e in (7, 9, 8))
    await a.register("ST-1", old)
    await a.register("ST-1", new)
    await a.register("ST-1", late)
    await until(lambda: old.closed_with and late.closed_with, "both losers to be closed")
    assert a.local("ST-1") is new
    await a.unregister(old)
    await a.unregister(late)
    assert a.local("ST-1") is new
    assert (await a.owner("ST-1")).owner == Owner("a", 9)


async def test_a_hand_off_is_acknowledged_by_the_owner(make_registry: MakeRegistry) -> None:
    a, b = await make_registry("a"), await make_registry("b")
    taken: list[tuple[str, str]] = []
    b.on_hand_off = lambda station, command: taken.append((station, command)) is None
    await b.register("ST-1", FakeConnection("ST-1", epoch=7))
    owner = (await a.owner("ST-1")).owner
    assert owner is not None
    assert await a.hand_off(owner, "ST-1", "command-1") is True
    assert taken == [("ST-1", "command-1")]


async def test_an_owner_that_lost_the_socket_refuses_and_forgets_its_key(make_registry: MakeRegistry) -> None:
    a = await make_registry("a")
    crashed = await make_registry("b", refresh_s=60)
    connection = FakeConnection("ST-1", epoch=7)
    await crashed.register("ST-1", connection)
    crashed._connections.clear()  # as after a restart of the instance under the same name
    owner = (await a.owner("ST-1")).owner
    assert owner is not None
    assert await a.hand_off(owner, "ST-1", "command-1") is False
    assert (await a.owner("ST-1")).owner is None


async def test_a_dead_instance_gives_no_acknowledgement(make_registry: MakeRegistry) -> None:
    a = await make_registry("a", hand_off_timeout_s=0.2)
    assert await a.hand_off(Owner("nobody", 7), "ST-1", "command-1") is None


async def test_odd_station_ids_stay_single_slot(make_registry: MakeRegistry) -> None:
    a = await make_registry("a")
    for station in ("ST{1}", "}{", "станция 1", "a:b:7", "x" * 255):
        connection = FakeConnection(station, epoch=7)
        await a.register(station, connection)
        assert (await a.owner(station)).owner == Owner("a", 7)
        await a.unregister(connection)
        assert (await a.owner(station)).owner is None


async def test_the_owner_key_is_refreshed_while_the_socket_lives(make_registry: MakeRegistry) -> None:
    a = await make_registry("a", owner_ttl_s=0.6, refresh_s=0.1)
    b = await make_registry("b", owner_ttl_s=0.6, refresh_s=60)
    await a.register("ST-1", FakeConnection("ST-1", epoch=7))
    await b.register("ST-2", FakeConnection("ST-2", epoch=8))

    async def gone() -> bool:
        return (await b.owner("ST-2")).owner is None

    # Longer than one lifetime of the key: the one that is not refreshed expires, the other does not.
    await until(gone, "the key without refresh to expire")
    assert (await b.owner("ST-1")).owner == Owner("a", 7)


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    server = Valkey()
    yield server.start()
    server.stop()


async def test_redis_away_and_back(own_valkey: Valkey) -> None:
    """Nothing raises while Redis is away; afterwards keys are written again and the reclaimed stations are told."""
    registry = registry_of(settings_for(own_valkey.url), "a", refresh_s=60)
    reclaimed: list[str] = []
    registry.on_reclaimed = reclaimed.extend
    registry.start()
    try:
        first, second = FakeConnection("ST-1", epoch=7), FakeConnection("ST-2", epoch=8)
        await registry.register("ST-1", first)
        own_valkey.children[0].stop(timeout_s=5)
        await until(lambda: registry.degraded, "the registry to notice")
        await registry.register("ST-2", second)
        assert registry.local("ST-2") is second
        assert (await registry.owner("ST-1")).known is False
        assert await registry.connected_count() is None
        assert await registry.hand_off(Owner("b", 1), "ST-9", "command-1") is None
        registry.drop_stale({"ST-1": 9, "ST-2": 8})
        await until(lambda: first.closed_with, "the socket that PostgreSQL knows to be replaced")
        assert registry.local("ST-2") is second
        own_valkey.start()

        async def back() -> bool:
            return (await registry.owner("ST-2")).owner == Owner("a", 8)

        await until(back, "the owner key to be written again")
        await until(lambda: reclaimed == ["ST-2"], "the notice of the reclaimed station")
        assert not registry.degraded
    finally:
        await registry.stop()


@pytest.fixture
def own_cluster() -> Iterator[ValkeyCluster]:
    cluster = ValkeyCluster()
    yield cluster.start()
    cluster.stop()


async def test_a_cluster_away_and_back(own_cluster: ValkeyCluster) -> None:
    """One node away: the keys of the others live on. All away: nothing raises. Back: everything is written again."""
    settings = settings_for(own_cluster.url, cluster=True)
    registry = registry_of(settings, "a", owner_ttl_s=2, refresh_s=0.2)
    registry.start()
    try:
        stations = [f"ST-{number}" for number in range(30)]
        for epoch, station in enumerate(stations, 1):
            await registry.register(station, FakeConnection(station, epoch))

        async def known() -> int:
            return sum([(await registry.owner(station)).owner is not None for station in stations])

        assert await known() == 30
        own_cluster.nodes[2].children[0].stop(timeout_s=5)
        await until(lambda: registry.degraded, "the missing node to be noticed")
        for node in own_cluster.nodes[:2]:
            node.children[0].stop(timeout_s=5)
        assert (await registry.owner("ST-1")).known is False
        await registry.register("ST-x", FakeConnection("ST-x", 99))
        assert registry.local("ST-x") is not None
        for node in own_cluster.nodes:
            node.start()

        async def back() -> bool:
            return await known() == 30

        await until(back, "every owner key", timeout_s=30)
    finally:
        await registry.stop()


async def test_a_hung_redis_does_not_hang_a_connect(own_valkey: Valkey) -> None:
    registry = registry_of(settings_for(own_valkey.url), "a", refresh_s=60)
    try:
        own_valkey.pause()
        connection = FakeConnection("ST-1", epoch=7)
        await registry.register("ST-1", connection)
        assert registry.local("ST-1") is connection
        assert registry.degraded
    finally:
        own_valkey.resume()
        await registry.stop()
