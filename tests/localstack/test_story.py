"""The whole story through the deployed product: API Gateway, Lambda, SQS, socket tier, charger, and the money."""

from infra.local.cloud_system import CloudSystem
from infra.local.demo.driver import Driver
from infra.local.demo.login import sign_in
from infra.local.demo.phone import Phone
from infra.local.demo.story import Story
from infra.local.demo.transcript import Transcript
from infra.local.demo_data import CLIENT_PHONE, SIMULATED_STATIONS


async def test_the_story_is_told_and_every_som_adds_up(cloud: CloudSystem) -> None:
    login = await sign_in(cloud.base_url, cloud.sms.outbox_url, CLIENT_PHONE)
    async with Driver(cloud.base_url, login["access_token"], timeout_s=30) as driver:
        first, second = SIMULATED_STATIONS
        story = Story(driver, (first, second), Transcript(), phone=Phone(cloud.push))
        assert await story.tell() == []
