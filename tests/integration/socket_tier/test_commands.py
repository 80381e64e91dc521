"""Every command of OCPP 1.6 from its row to a charger's socket and back: each kind of answer, and none."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evpower.commands import service
from evpower.commands.models import Command, CommandStatus, NewCommand
from evpower.db import PooledDatabase
from socket_tier.outbound import OutboundCalls
from socket_tier.tier import SocketTier
from tests.fakes.network import Network
from tests.fakes.ocpp16_commands import CASES
from tests.fakes.raw_charger import RawCharger
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import MakeTier, url

Reply = Callable[[str, list[Any]], Awaitable[None]]


class Desk:
    """Queues commands for a connected charger and plays its answers."""

    def __init__(self, tier: SocketTier, db: PooledDatabase, charger: RawCharger) -> None:
        self.tier = tier
        self.db = db
        self.charger = charger

    async def queue(self, action: str, payload: dict[str, Any]) -> Command:
        now = datetime.now(UTC)
        new = NewCommand("station-1", action, payload, now + timedelta(minutes=5), "test")
        command = await self.db.run(lambda conn: service.enqueue(conn, new, now))
        assert self.tier.dispatcher.submit("station-1", command.id)
        return command

    async def frame(self, action: str) -> list[Any]:
        """The frame of the command as it reached the charger."""
        frame = await self.charger.command(action)
        assert frame[3] == CASES[action].request
        return frame

    async def ended(self, command: Command) -> Command:
        """The command once nothing runs for it any more."""
        await until(lambda: not self.tier.dispatcher._lines, "the dispatcher to be done")
        found = await self.db.run(lambda conn: service.get(conn, command.id))
        assert found is not None
        return found


@pytest.fixture
async def desk(tier: SocketTier, db: PooledDatabase, network: Network) -> AsyncIterator[Desk]:
    async with RawCharger.open(url(tier)) as charger:
        await charger.call("Heartbeat")  # a charger that has said something takes commands
        yield Desk(tier, db, charger)


async def test_each_command_is_accepted(desk: Desk) -> None:
    stored = {}
    for action, case in CASES.items():
        command = await desk.queue(action, case.request)
        call = await desk.frame(action)
        await desk.charger.send([3, call[1], case.good()])
        ended = await desk.ended(command)
        stored[action] = (ended.status, ended.response)
    assert stored == {action: (CommandStatus.ACCEPTED, case.good()) for action, case in CASES.items()}


async def test_each_command_is_accepted_in_other_letter_case(desk: Desk) -> None:
    stored = {}
    for action, case in CASES.items():
        answer = {**case.good(), **({"status": case.good()["status"].lower()} if "status" in case.good() else {})}
        command = await desk.queue(action, case.request)
        call = await desk.frame(action)
        await desk.charger.send([3, call[1], answer])
        ended = await desk.ended(command)
        stored[action] = (ended.status, ended.response)
    assert stored == {action: (CommandStatus.ACCEPTED, case.good()) for action, case in CASES.items()}


async def test_each_command_is_rejected_with_each_of_its_words(desk: Desk) -> None:
    stored, expected = {}, {}
    for action, case in CASES.items():
        for word in case.rejected:
            command = await desk.queue(action, case.request)
            call = await desk.frame(action)
            await desk.charger.send([3, call[1], {"status": word}])
            ended = await desk.ended(command)
            stored[action, word] = (ended.status, ended.response)
            expected[action, word] = (CommandStatus.REJECTED, {"status": word})
    assert stored == expected


async def test_each_command_is_refused_by_an_error(desk: Desk) -> None:
    stored = {}
    for action, case in CASES.items():
        command = await desk.queue(action, case.request)
        call = await desk.frame(action)
        await desk.charger.send([4, call[1], "NotSupported", "not in this firmware", {}])
        ended = await desk.ended(command)
        stored[action] = (ended.status, ended.error)
    assert stored == dict.fromkeys(CASES, (CommandStatus.FAILED, "NotSupported: not in this firmware"))


async def test_an_answer_that_is_none_fails_the_command(desk: Desk) -> None:
    stored = {}
    for action in ("ReserveNow", "GetLocalListVersion", "GetLog"):
        command = await desk.queue(action, CASES[action].request)
        call = await desk.frame(action)
        await desk.charger.send([3, call[1], {"status": "Perhaps"}])
        stored[action] = (await desk.ended(command)).status
    assert set(stored.values()) == {CommandStatus.FAILED}


async def test_without_an_answer_only_stops_and_reads_are_written_again(
    make_tier: MakeTier, db: PooledDatabase, network: Network
) -> None:
    tier = await make_tier(ocpp_call_timeout_s=0.1)
    stored = {}
    async with RawCharger.open(url(tier)) as charger:
        await charger.call("Heartbeat")
        desk = Desk(tier, db, charger)
        for action, case in CASES.items():
            command = await desk.queue(action, case.request)
            await desk.frame(action)
            ended = await desk.ended(command)
            stored[action] = ended.status
            while ended.status is CommandStatus.QUEUED:  # as the sweep does, until the charger answers in time
                assert tier.dispatcher.submit("station-1", command.id)
                frames = [await desk.frame(action), *(charger.calls.get_nowait() for _ in range(charger.calls.qsize()))]
                await charger.send([3, frames[-1][1], case.good()])
                ended = await desk.ended(command)
            if case.repeatable:
                assert (ended.status, ended.attempt > 1) == (CommandStatus.ACCEPTED, True)
    assert stored == {
        action: CommandStatus.QUEUED if case.repeatable else CommandStatus.TIMED_OUT for action, case in CASES.items()
    }


async def test_what_a_charger_works_on_for_long_has_twice_the_time(
    make_tier: MakeTier, db: PooledDatabase, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read from what each call is given, not by waiting: a machine that stalls passes any deadline."""
    given: dict[str, float] = {}
    whole = OutboundCalls.call

    async def noted(calls: OutboundCalls, action: str, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        given[action] = timeout
        return await whole(calls, action, request, timeout)

    monkeypatch.setattr(OutboundCalls, "call", noted)
    tier = await make_tier(ocpp_call_timeout_s=20.0)
    leases: dict[str, timedelta] = {}
    async with RawCharger.open(url(tier)) as charger:
        await charger.call("Heartbeat")
        desk = Desk(tier, db, charger)
        for action, case in CASES.items():
            command = await desk.queue(action, case.request)
            call = await desk.frame(action)
            sent = await db.run(lambda conn, command=command: service.get(conn, command.id))  # type: ignore[misc]
            assert sent is not None
            assert sent.lease_until is not None
            assert sent.sent_at is not None
            leases[action] = sent.lease_until - sent.sent_at
            await charger.send([3, call[1], case.good()])
            assert (await desk.ended(command)).status is CommandStatus.ACCEPTED
    slow = {"SendLocalList", "CertificateSigned", "InstallCertificate"}
    assert given == {action: 40.0 if action in slow else 20.0 for action in CASES}
    # The sweep must not judge a command whose answer may still come.
    assert [action for action in CASES if leases[action] < timedelta(seconds=given[action])] == []
