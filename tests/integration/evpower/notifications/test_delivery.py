"""One row of the outbox to every phone and browser, through the providers' real protocols."""

from collections.abc import Callable
from datetime import timedelta

from infra.local.push_standin.server import Answer
from tests.integration.evpower.notifications.conftest import ANDROID, IPHONE, World

COMPLETED = {
    "type": "charging_complete",
    "event": "charging_completed",
    "session_id": "s-1",
    "sessionId": "s-1",
    "energy_kwh": "12.345",
    "amount": "166.66",
}


def fcm_error(status: int, code: str) -> Answer:
    detail = {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}
    return Answer(status, {"error": {"code": status, "status": code, "details": [detail]}})


async def test_every_provider_gets_the_contract_s_payload(world: World) -> None:
    await world.device(ANDROID, "android")
    await world.device(IPHONE, "ios", language="en")
    browser = await world.browser()
    outbox_id = await world.queued()
    assert await world.deliver(outbox_id) == "done"
    assert world.standin.faults == []
    for address, channel, title in (
        (ANDROID, "fcm", "Зарядка завершена"),
        (IPHONE, "apns", "Charging is complete"),
        (browser, "web_push", "Зарядка завершена"),
    ):
        (delivery,) = world.standin.shown(address)
        assert (delivery.channel, delivery.title, delivery.data) == (channel, title, COMPLETED)
        assert delivery.protocol == "2"
    row = await world.row(outbox_id)
    assert (row["state"], row["attempts"], len(row["delivered_to"])) == ("done", 1, 3)
    assert row["finished_at"] == world.clock.now()
    used = await world.sql("SELECT last_used_at FROM devices UNION ALL SELECT last_used_at FROM push_subscriptions")
    assert [found["last_used_at"] for found in used] == [world.clock.now()] * 3


async def test_the_row_is_delivered_once(world: World) -> None:
    await world.device(ANDROID, "android")
    outbox_id = await world.queued()
    assert [await world.deliver(outbox_id) for _ in range(2)] == ["done", "skipped"]
    assert len(world.standin.deliveries) == 1
    assert await world.deliver(outbox_id + 1000) == "skipped"


async def test_a_row_that_another_process_works_on_is_left_to_it(world: World) -> None:
    await world.device(ANDROID, "android")
    outbox_id = await world.queued()
    await world.sql(
        "UPDATE push_outbox SET attempts = 1, next_attempt_at = %s", world.clock.now() + timedelta(seconds=120)
    )
    assert await world.deliver(outbox_id) == "skipped"
    # Use case: that process has died. Its message comes again after the queue's visibility time-out of 180 s.
    world.clock.advance(timedelta(seconds=180))
    assert await world.deliver(outbox_id) == "done"


async def test_nobody_to_tell_is_done(world: World) -> None:
    outbox_id = await world.queued()
    assert await world.deliver(outbox_id) == "done"
    assert world.standin.requests == []


async def test_dead_addresses_are_removed(world: World) -> None:
    await world.device(ANDROID, "android")
    await world.device(IPHONE, "ios")
    await world.device(ANDROID + "-2", "web")
    alive, dead = await world.browser(), await world.browser()
    world.standin.answer(ANDROID, fcm_error(404, "UNREGISTERED"))
    world.standin.answer(IPHONE, Answer(410, {"reason": "Unregistered", "timestamp": 1}))
    world.standin.answer(dead, Answer(410))
    outbox_id = await world.queued()
    assert await world.deliver(outbox_id) == "done"
    assert [row["fcm_token"] for row in await world.sql("SELECT fcm_token FROM devices")] == [ANDROID + "-2"]
    assert [row["endpoint"][-16:] for row in await world.sql("SELECT endpoint FROM push_subscriptions")] == [alive]


async def test_tokens_that_were_never_any_are_removed(world: World) -> None:
    """Refused by the services themselves, not by plan."""
    await world.device("no-colon-in-this-fcm-token", "android")
    await world.device("abcd", "ios")
    assert await world.deliver(await world.queued()) == "done"
    assert await world.sql("SELECT fcm_token FROM devices") == []
    assert sorted(fault.reason for fault in world.standin.faults) == ["BadDeviceToken", "INVALID_ARGUMENT"]


async def test_wrong_settings_of_ours_do_not_remove_everybody_s_phones(
    make_world: Callable[..., World], world: World
) -> None:
    await world.device(ANDROID, "android")
    await world.device(IPHONE, "ios")
    world.standin.answer(ANDROID, fcm_error(403, "SENDER_ID_MISMATCH"))
    world.standin.answer(IPHONE, Answer(400, {"reason": "DeviceTokenNotForTopic"}))
    assert await world.deliver(await world.queued()) == "failed"
    mistaken = make_world(apns_topic="kg.example.other", apns_team_id="ANOTHERTEA")
    assert await mistaken.deliver(await mistaken.queued()) == "postponed"
    assert len(await world.sql("SELECT 1 FROM devices")) == 2


async def test_a_phone_that_registered_again_meanwhile_stays(world: World) -> None:
    await world.device(ANDROID, "android")

    class Late:
        """The provider answers after the phone has registered the same token again."""

        def __init__(self, sender: object) -> None:
            self.sender = sender

        async def send(self, address, push):  # type: ignore[no-untyped-def]
            result = await self.sender.send(address, push)  # type: ignore[attr-defined]
            await world.sql("UPDATE devices SET updated_at = updated_at + interval '1 second'")
            return result

    senders = {channel: Late(sender) for channel, sender in world.deps.senders.items()}
    object.__setattr__(world.deps, "senders", senders)
    world.standin.answer(ANDROID, fcm_error(404, "UNREGISTERED"))
    assert await world.deliver(await world.queued()) == "done"
    assert len(await world.sql("SELECT 1 FROM devices")) == 1


async def test_a_provider_that_is_busy_is_tried_again_and_the_others_are_spared(world: World) -> None:
    await world.device(ANDROID, "android")
    await world.device(IPHONE, "ios")
    world.standin.answer(ANDROID, Answer(503, {"error": {"status": "UNAVAILABLE"}}, {"Retry-After": "45"}))
    outbox_id = await world.queued()
    assert await world.deliver(outbox_id) == "postponed"
    assert world.queue.sent == [((outbox_id,), 46)]
    row = await world.row(outbox_id)
    assert (row["state"], row["next_attempt_at"]) == ("queued", world.clock.now() + timedelta(seconds=45))
    assert await world.deliver(outbox_id) == "skipped", "before its time"
    world.clock.advance(timedelta(seconds=46))
    assert await world.deliver(outbox_id) == "done"
    assert [delivery.address for delivery in world.standin.deliveries] == [IPHONE, ANDROID]


async def test_an_answer_that_was_lost_shows_the_message_once(world: World) -> None:
    """The provider took it, its answer was an error: the second attempt carries the same collapse id."""
    browser = await world.browser()
    for address, platform in ((ANDROID, "android"), (IPHONE, "ios")):
        await world.device(address, platform)
    for address in (ANDROID, IPHONE, browser):
        world.standin.answer(address, Answer(500, after_taking=True))
    outbox_id = await world.queued()
    assert await world.deliver(outbox_id) == "postponed"
    world.clock.advance(timedelta(seconds=30))
    assert await world.deliver(outbox_id) == "done"
    for address in (ANDROID, IPHONE, browser):
        assert len([delivery for delivery in world.standin.deliveries if delivery.address == address]) == 2
        assert len(world.standin.shown(address)) == 1


async def test_attempts_end(world: World) -> None:
    await world.device(ANDROID, "android")
    world.standin.answer(ANDROID, *[Answer(503)] * 20)
    outbox_id = await world.queued()
    outcomes = []
    for _ in range(8):
        outcomes.append(await world.deliver(outbox_id))
        world.clock.advance(timedelta(seconds=700))
    assert outcomes == ["postponed"] * 5 + ["failed"] + ["skipped"] * 2
    assert [delay for _, delay in world.queue.sent] == [11, 31, 121, 301, 601]


async def test_old_news_is_not_sent_again_and_again(world: World) -> None:
    await world.device(ANDROID, "android")
    world.standin.answer(ANDROID, Answer(503))
    outbox_id = await world.queued()
    world.clock.advance(timedelta(hours=6))
    assert await world.deliver(outbox_id) == "failed"


async def test_old_news_is_not_sent_at_all(world: World) -> None:
    await world.device(ANDROID, "android")
    outbox_id = await world.queued()
    world.clock.advance(timedelta(hours=6, seconds=1))
    assert await world.deliver(outbox_id) == "failed"
    assert world.standin.requests == []


async def test_a_refused_message_is_not_repeated(world: World) -> None:
    await world.device(ANDROID, "android")
    world.standin.answer(ANDROID, fcm_error(400, "INVALID_ARGUMENT"))
    assert await world.deliver(await world.queued()) == "failed"
    assert len(await world.sql("SELECT 1 FROM devices")) == 1
    assert world.queue.sent == []


async def test_what_cannot_be_rendered_does_not_come_for_ever(world: World) -> None:
    await world.device(ANDROID, "android")
    outbox_id = await world.queued(event="no_such_event")
    assert await world.deliver(outbox_id) == "failed"
    assert (await world.row(outbox_id))["state"] == "failed"
    worn = await world.queued()
    await world.sql("UPDATE push_outbox SET attempts = 12 WHERE id = %s", worn)
    assert await world.deliver(worn) == "failed"
    assert world.standin.deliveries == []


async def test_a_provider_that_is_not_there_at_all(make_world: Callable[..., World], world: World) -> None:
    offline = make_world(fcm_api_url="https://127.0.0.1:1", apns_api_url="https://127.0.0.1:1")
    await world.device(ANDROID, "android")
    await world.device(IPHONE, "ios")
    assert await offline.deliver(await offline.queued()) == "postponed"


async def test_a_certificate_that_nobody_vouches_for_gets_no_message(
    make_world: Callable[..., World], world: World
) -> None:
    suspicious = make_world(push_ca_file="")
    await world.device(IPHONE, "ios")
    assert await suspicious.deliver(await suspicious.queued()) == "postponed"
    assert world.standin.requests == []


async def test_a_channel_that_is_not_configured(make_world: Callable[..., World], world: World) -> None:
    partial = make_world(apns_key="")
    await world.device(IPHONE, "ios")
    await world.device(ANDROID, "android")
    both = await partial.queued()
    assert await partial.deliver(both) == "done"
    assert [delivery.channel for delivery in world.standin.deliveries] == ["fcm"]
    await world.sql("DELETE FROM devices WHERE platform = 'android'")
    assert await partial.deliver(await partial.queued()) == "failed"


async def test_owners_and_their_operators_are_reached_in_browsers_while_they_are_active(world: World) -> None:
    await world.sql(
        """INSERT INTO users (id, role, admin_id, is_active) VALUES ('owner-1', 'admin', NULL, true),
               ('other', 'admin', NULL, true), ('op-1', 'operator', 'owner-1', true),
               ('op-2', 'operator', 'other', true), ('op-3', 'operator', 'owner-1', false)"""
    )
    staff = ("owner-1", "op-1", "op-2", "op-3", "other")
    browsers = {await world.browser(user, "owner"): user for user in staff}
    as_client = await world.browser("owner-1", "client")

    async def tell(event: str) -> set[str]:
        world.standin.deliveries.clear()
        outbox_id = await world.queued(event, {"station_id": "st-1", "serial_number": "SN", "offline_since": "x"})
        await world.sql("UPDATE push_outbox SET user_type = 'owner', user_id = 'owner-1' WHERE id = %s", outbox_id)
        assert await world.deliver(outbox_id) == "done"
        assert world.standin.shown(as_client) == []
        return {browsers[delivery.address] for delivery in world.standin.deliveries}

    assert await tell("station_offline") == {"owner-1", "op-1"}
    assert world.standin.deliveries[0].data == {
        "type": "station_offline",
        "event": "station_offline",
        "station_id": "st-1",
        "serial_number": "SN",
        "offline_since": "x",
    }
    assert await tell("test") == {"owner-1"}
    await world.sql("UPDATE users SET is_active = false WHERE id = 'owner-1'")
    assert await tell("station_offline") == set()


async def test_another_client_s_phone_gets_nothing(world: World) -> None:
    await world.sql("INSERT INTO clients (id) VALUES ('client-b')")
    await world.device(ANDROID, "android", client="client-b")
    assert await world.deliver(await world.queued()) == "done"
    assert world.standin.deliveries == []


async def test_a_connection_that_the_provider_has_closed_costs_nothing(world: World) -> None:
    for token, platform in ((ANDROID, "android"), (IPHONE, "ios")):
        await world.device(token, platform)
    assert await world.deliver(await world.queued()) == "done"
    await world.standin.stop()
    await world.standin.start()
    assert await world.deliver(await world.queued()) == "done"
    assert len(world.standin.deliveries) == 4
