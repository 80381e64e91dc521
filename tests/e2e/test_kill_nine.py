"""kill -9, at random but seeded, of the socket tier and the functions while 200 cars charge: nothing is lost."""

import pytest

from tests.e2e import chaos


@pytest.mark.timeout(600)
async def test_fifty_kills_during_two_hundred_sessions_lose_nothing() -> None:
    report = await chaos.run(chaos.Plan(seed=1, sessions=200, kills=50))
    print("\n".join(report.lines()))
    assert report.findings == []
    assert report.sessions == 200
    assert report.kills.total() >= 50
    assert report.kills["socket_tier"] >= 10
    assert report.acknowledged > 1_000
