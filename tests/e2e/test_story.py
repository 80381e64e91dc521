"""The demo's story, told by the tests: public interfaces only."""

from infra.local.demo.story import Story
from infra.local.demo.transcript import Transcript
from infra.local.simulator import Vehicle
from tests.e2e.world import World


async def test_the_demo_story_adds_up(world: World) -> None:
    serials = (await world.station(power_kw=1320, price=13.5), await world.station(power_kw=1320, price=11))
    for serial in serials:
        # As `./dev up` runs its chargers: 22 kW, 60 times faster than real.
        await world.charger(serial, power_kw=22.0, time_scale=60.0, vehicle=Vehicle())
    driver = await world.driver()
    story = Story(driver, serials, Transcript())
    assert await story.tell() == []
    assert [spent.cost > 0 for spent in story.sessions] == [True, True]
    assert await driver.balance() == round(500 - sum(spent.cost for spent in story.sessions), 2)
