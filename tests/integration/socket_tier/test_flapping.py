"""A charger that dials twice: its sockets displace each other until the one that is there is left in peace."""

from contextlib import AsyncExitStack
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from evpower.db import PooledDatabase
from socket_tier.contested import DISPLACED, PEACE_S
from socket_tier.tier import SocketTier
from tests.fakes.network import Network
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier, url


async def refusal(address: str) -> Any:
    """The answer to an upgrade that is not let in."""
    with pytest.raises(InvalidStatus) as refused:
        async with RawCharger.open(address):
            pass
    return refused.value.response


async def flap(tiers: list[SocketTier], sockets: AsyncExitStack) -> RawCharger:
    """Let sockets displace each other, on one instance after the other; the last one, still open."""
    holder = await sockets.enter_async_context(RawCharger.open(url(tiers[-1])))
    for number in range(DISPLACED):
        newcomer = await sockets.enter_async_context(RawCharger.open(url(tiers[number % len(tiers)])))
        assert (await holder.closed())[0] == 4001
        holder = newcomer
    return holder


@pytest.mark.parametrize("instances", [1, 2])
async def test_the_socket_that_answers_is_left_in_peace(make_tier: MakeTier, network: Network, instances: int) -> None:
    tiers = [await make_tier(instance_id=f"i{number}") for number in range(instances)]
    async with AsyncExitStack() as sockets:
        holder = await flap(tiers, sockets)
        for tier in tiers:

            async def counted(tier: SocketTier = tier) -> bool:
                return tier.contested.peace("station-1", 0.0) > 0  # an instance may hear of a displacement a bit later

            await until(counted, "the displacements to be counted")
            response = await refusal(url(tier))
            assert response.status_code == 503
            assert 1 <= int(response.headers["Retry-After"]) <= PEACE_S
        assert (await holder.call("Heartbeat"))["currentTime"], "it works on"


async def test_a_socket_that_answers_no_ping_is_displaced_even_so(
    tier: SocketTier, network: Network, db: PooledDatabase
) -> None:
    """Use case: the flapping was a network that drops. What holds the place is a half-open connection."""
    async with AsyncExitStack() as sockets:
        holder = await flap([tier], sockets)
        assert (await refusal(url(tier))).status_code == 503
        holder.socket.transport.pause_reading()  # nothing is read any more, so no ping is answered
        async with RawCharger.open(url(tier)) as newcomer:
            assert (await newcomer.call("Heartbeat"))["currentTime"]


async def test_a_station_that_reconnects_normally_never_waits(tier: SocketTier, network: Network) -> None:
    for _ in range(3 * DISPLACED):
        async with RawCharger.open(url(tier)) as charger:
            assert (await charger.call("Heartbeat"))["currentTime"]
