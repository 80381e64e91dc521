"""Commands from the outbox to the charger over SQS, Redis and two instances of the socket tier; all real but the
charger's socket."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from evpower.charging import service as charging
from evpower.charging.models import SessionState, StartRequest
from evpower.clock import SystemClock
from evpower.commands import service
from evpower.commands.models import REMOTE_STOP, Command, CommandStatus, NewCommand
from evpower.commands.queue import CommandMessage, SqsCommandQueue
from evpower.config import Settings
from evpower.db import Conn, PooledDatabase
from evpower.redis_client import open_redis
from infra.local.queues import SqsEndpoint
from infra.local.services import Valkey
from socket_tier.call_failures import CallRefused, CallTimedOut, ConnectionGone
from socket_tier.command_consumer import CommandConsumer
from socket_tier.dispatcher import Dispatcher
from socket_tier.registry import INBOX_BLOCK_S, Registry
from tests.fakes import network
from tests.fakes.rows import add_station, connect_station
from tests.fakes.stations import Answer, FakeConnection, until

CLOCK = SystemClock()


class Instance:
    """Registry, dispatcher and consumer of one instance, without sockets."""

    def __init__(self, name: str, settings: Settings, db: PooledDatabase, **dispatcher: float) -> None:
        self.name = name
        self.db = db
        self.changed: list[str] = []
        blocking = open_redis(settings, socket_timeout_s=INBOX_BLOCK_S + 2)
        self.registry = Registry(open_redis(settings), blocking, name, hand_off_timeout_s=1.0)
        values = {"poll_s": 60.0, "poll_degraded_s": 0.1, "call_timeout_s": 5.0, **dispatcher}
        self.dispatcher = Dispatcher(db, self.registry, CLOCK, changed=self._changed, **values)
        self.consumer = CommandConsumer(settings, self.registry, self.dispatcher, receivers=1, long_poll_s=1)

    async def _changed(self, stations: list[str]) -> None:
        self.changed += stations

    def start(self, *, consume: bool = False) -> None:
        self.registry.start()
        self.dispatcher.start()
        if consume:
            self.consumer.start()

    async def connect(self, station: str, answer: Answer | None = None, **options: bool) -> FakeConnection:
        """Connect the station here, as the server does after an upgrade."""
        epoch = await self.db.run(lambda conn: connect_station(conn, station, self.name, CLOCK.now()))
        connection = FakeConnection(station, epoch, **({"answer": answer} if answer else {}), **options)
        await self.registry.register(station, connection)
        await self.dispatcher.drain(station)
        return connection

    async def stop(self, patience_s: float = 1.0) -> None:
        await self.consumer.stop()
        await self.dispatcher.stop(patience_s)
        await self.registry.stop()


MakeInstance = Callable[..., Instance]


@pytest.fixture
def settings(sqs: SqsEndpoint, redis_url: str, make_settings: Callable[..., Settings]) -> Settings:
    environment = {name.lower(): value for name, value in sqs.environment.items()}
    return make_settings(redis_url=redis_url, **environment)


@pytest.fixture
async def make(settings: Settings, db: PooledDatabase) -> AsyncIterator[MakeInstance]:
    made: list[Instance] = []

    def instance(name: str, given: Settings | None = None, *, consume: bool = False, **options: float) -> Instance:
        made.append(Instance(name, given or settings, db, **options))
        made[-1].start(consume=consume)
        return made[-1]

    async with db.transaction() as conn:
        await add_station(conn, "st-1")
    yield instance
    for item in made:
        await item.stop()


async def queue_command(
    db: PooledDatabase, action: str = "Reset", *, lifetime: timedelta = timedelta(minutes=5), **payload: Any
) -> Command:
    now = CLOCK.now()
    new = NewCommand("st-1", action, payload or {"type": "Soft"}, now + lifetime, "test")
    return await db.run(lambda conn: service.enqueue(conn, new, now))


async def stored(db: PooledDatabase, command: Command) -> Command:
    found = await db.run(lambda conn: service.get(conn, command.id))
    assert found is not None
    return found


async def until_status(db: PooledDatabase, command: Command, status: CommandStatus) -> Command:
    async def reached() -> bool:
        return (await stored(db, command)).status is status

    await until(reached, f"command {status}")
    return await stored(db, command)


async def until_queue_empty(sqs: SqsEndpoint) -> None:
    client = sqs.client()
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    async def empty() -> bool:
        answer = await asyncio.to_thread(
            client.get_queue_attributes, QueueUrl=sqs.urls["commands.fifo"], AttributeNames=names
        )
        return all(value == "0" for value in answer["Attributes"].values())

    await until(empty, "the queue to be empty")


# --- two instances ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cluster", [False, True], ids=["single", "cluster"])
async def test_a_command_received_by_one_instance_reaches_the_other_exactly_once(
    make: MakeInstance,
    db: PooledDatabase,
    sqs: SqsEndpoint,
    settings: Settings,
    cluster: bool,
    request: pytest.FixtureRequest,
) -> None:
    if cluster:
        url = request.getfixturevalue("redis_cluster_url")
        settings = Settings.model_validate(settings.model_dump() | {"redis_url": url, "redis_cluster": True})
    a, b = make("a", settings, consume=True), make("b", settings)
    connection = await b.connect("st-1")
    command = await queue_command(db, "Reset", type="Hard")
    await SqsCommandQueue(settings).send(command)
    ended = await until_status(db, command, CommandStatus.ACCEPTED)
    assert connection.calls == [("Reset", {"type": "Hard"})]
    assert (ended.sent_instance, ended.response) == ("b", {"status": "Accepted"})
    await until_queue_empty(sqs)
    assert len(a.registry) == 0


async def test_a_message_is_deleted_without_waiting_for_the_charger(
    make: MakeInstance, db: PooledDatabase, sqs: SqsEndpoint, settings: Settings
) -> None:
    released = asyncio.Event()

    async def slow(_action: str, _payload: Mapping[str, Any]) -> dict[str, Any]:
        await released.wait()
        return {"status": "Accepted"}

    make("a", consume=True)
    connection = await make("b").connect("st-1", slow)
    command = await queue_command(db)
    await SqsCommandQueue(settings).send(command)
    await connection.called.wait()
    await until_queue_empty(sqs)
    assert (await stored(db, command)).status is CommandStatus.SENT
    released.set()
    await until_status(db, command, CommandStatus.ACCEPTED)


async def test_the_charger_moves_while_the_message_is_under_way(
    make: MakeInstance, db: PooledDatabase, sqs: SqsEndpoint, settings: Settings
) -> None:
    """Sent while the charger is on a, received when it is on b: b's connection gets it, a's does not."""
    a, b = make("a"), make("b")
    old = await a.connect("st-1")
    command = await queue_command(db)
    new = FakeConnection("st-1", await db.run(lambda c: connect_station(c, "st-1", "b", CLOCK.now())))
    await b.registry.register("st-1", new)
    await until(lambda: old.closed_with, "the old socket to be closed")
    await SqsCommandQueue(settings).send(command)
    a.consumer.start()
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert old.calls == []
    assert len(new.calls) == 1


async def test_an_old_holder_that_was_not_told_cannot_write_the_frame(make: MakeInstance, db: PooledDatabase) -> None:
    """Fencing is PostgreSQL's: a still believes that it holds the charger, b holds it."""
    a = make("a")
    old = await a.connect("st-1")
    await db.run(lambda conn: connect_station(conn, "st-1", "b", CLOCK.now()))
    command = await queue_command(db)
    assert a.dispatcher.submit("st-1", command.id) is True
    await until(lambda: not a.dispatcher._lines, "the dispatcher to be done")
    assert old.calls == []
    assert (await stored(db, command)).status is CommandStatus.QUEUED


async def test_a_message_delivered_twice_writes_one_frame(
    make: MakeInstance, db: PooledDatabase, sqs: SqsEndpoint, settings: Settings
) -> None:
    a = make("a")
    connection = await a.connect("st-1")
    command = await queue_command(db)
    queue = SqsCommandQueue(settings)
    for attempt in (1, 2, 3):  # different attempts are different messages to SQS
        await queue.send(CommandMessage(command.id, "st-1", attempt))
    a.consumer.start()
    await until_queue_empty(sqs)
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert len(connection.calls) == 1


async def test_a_repeated_send_of_one_attempt_is_one_message(
    db: PooledDatabase, sqs: SqsEndpoint, settings: Settings, make: MakeInstance
) -> None:
    command = await queue_command(db)
    queue = SqsCommandQueue(settings)
    await queue.send_all([command, command, CommandMessage(command.id, "st-1")])
    answer = sqs.client().get_queue_attributes(
        QueueUrl=sqs.urls["commands.fifo"], AttributeNames=["ApproximateNumberOfMessages"]
    )
    assert answer["Attributes"]["ApproximateNumberOfMessages"] == "1"


async def test_an_unreadable_message_does_not_block_its_station(
    make: MakeInstance, db: PooledDatabase, sqs: SqsEndpoint, settings: Settings
) -> None:
    sqs.client().send_message(
        QueueUrl=sqs.urls["commands.fifo"], MessageBody="{", MessageGroupId="st-1", MessageDeduplicationId="x"
    )
    a = make("a")
    connection = await a.connect("st-1")
    command = await queue_command(db)
    await SqsCommandQueue(settings).send(command)
    a.consumer.start()
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert len(connection.calls) == 1


async def test_a_command_of_an_absent_charger_waits_for_its_return(
    make: MakeInstance, db: PooledDatabase, sqs: SqsEndpoint, settings: Settings
) -> None:
    a = make("a", consume=True)
    command = await queue_command(db)
    await SqsCommandQueue(settings).send(command)
    await until_queue_empty(sqs)
    assert (await stored(db, command)).status is CommandStatus.QUEUED
    connection = await a.connect("st-1")
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert len(connection.calls) == 1


async def test_a_station_that_is_not_accepted_gets_no_command(make: MakeInstance, db: PooledDatabase) -> None:
    a = make("a")
    connection = await a.connect("st-1", accepts_commands=False)
    command = await queue_command(db)
    assert a.dispatcher.submit("st-1", command.id) is True
    await a.dispatcher.drain("st-1")
    assert connection.calls == []
    connection.accepts_commands = True
    await a.dispatcher.drain("st-1")
    await until_status(db, command, CommandStatus.ACCEPTED)


async def test_commands_of_one_station_run_one_after_the_other(make: MakeInstance, db: PooledDatabase) -> None:
    running, most, first = 0, 0, asyncio.Event()

    async def slow(_action: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if payload["number"] == 0:
            await first.wait()
        running -= 1
        return {"status": "Accepted"}

    a = make("a")
    connection = await a.connect("st-1", slow)
    commands = [await queue_command(db, number=number) for number in range(5)]
    for command in commands:
        a.dispatcher.submit("st-1", command.id)
    await connection.called.wait()
    # What waits in line has not been claimed: `sent` is said of no frame that may still not leave.
    assert [(await stored(db, command)).status for command in commands] == ["sent"] + ["queued"] * 4
    first.set()
    await until_status(db, commands[-1], CommandStatus.ACCEPTED)
    assert [payload["number"] for _, payload in connection.calls] == [0, 1, 2, 3, 4]
    assert most == 1


# --- parts away -------------------------------------------------------------------------------------------------


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    server = Valkey()
    yield server.start()
    server.stop()


async def test_redis_away_the_holder_finds_its_commands_in_postgresql(
    make: MakeInstance, db: PooledDatabase, sqs: SqsEndpoint, settings: Settings, own_valkey: Valkey
) -> None:
    settings = Settings.model_validate(settings.model_dump() | {"redis_url": own_valkey.url})
    own_valkey.children[0].stop(timeout_s=5)
    b = make("b", settings)
    make("a", settings, consume=True)
    connection = await b.connect("st-1")
    await until(lambda: b.registry.degraded, "the missing Redis to be noticed")
    command = await queue_command(db)
    await SqsCommandQueue(settings).send(command)
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert len(connection.calls) == 1


async def test_redis_away_the_old_socket_still_learns_that_it_was_replaced(
    make: MakeInstance, db: PooledDatabase, settings: Settings, own_valkey: Valkey
) -> None:
    settings = Settings.model_validate(settings.model_dump() | {"redis_url": own_valkey.url})
    own_valkey.children[0].stop(timeout_s=5)
    a, b = make("a", settings), make("b", settings)
    old = await a.connect("st-1")
    new = await b.connect("st-1")
    await until(lambda: old.closed_with, "the old socket to be closed")
    assert new.closed_with is None


async def test_redis_restarted_empty(
    make: MakeInstance, db: PooledDatabase, sqs: SqsEndpoint, settings: Settings, own_valkey: Valkey
) -> None:
    """The message arrives in the moment in which no owner key exists; the holder claims the row when it writes it."""
    settings = Settings.model_validate(settings.model_dump() | {"redis_url": own_valkey.url})
    a, b = make("a", settings), make("b", settings, poll_degraded_s=60)
    connection = await b.connect("st-1")
    own_valkey.children[0].stop(timeout_s=5)
    await until(lambda: a.registry.degraded and b.registry.degraded, "the outage to be noticed")
    command = await queue_command(db)
    assert await a.consumer.handle(CommandMessage(command.id, "st-1")) is True
    own_valkey.start()
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert len(connection.calls) == 1


async def test_sqs_away_the_holder_finds_its_commands_in_postgresql(
    make: MakeInstance, db: PooledDatabase, settings: Settings
) -> None:
    away = Settings.model_validate(settings.model_dump() | {"aws_endpoint_url": "http://127.0.0.1:9"})
    a = make("a", away, consume=True)
    connection = await a.connect("st-1")
    await until(lambda: a.consumer.degraded, "the missing queue to be noticed")
    command = await queue_command(db)
    await SqsCommandQueue(away).send(command)  # does not raise
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert len(connection.calls) == 1


# --- crashes and broken sockets ---------------------------------------------------------------------------------


async def sweep_after_lease(db: PooledDatabase) -> Any:
    return await db.run(lambda conn: service.expire_and_redeliver(conn, CLOCK.now() + timedelta(seconds=120)))


@pytest.mark.parametrize(("action", "after"), [(REMOTE_STOP, CommandStatus.QUEUED), ("Reset", CommandStatus.FAILED)])
async def test_an_instance_dies_between_claim_and_answer(
    make: MakeInstance, db: PooledDatabase, action: str, after: CommandStatus
) -> None:
    never = asyncio.Event()

    async def silent(_action: str, _payload: Mapping[str, Any]) -> dict[str, Any]:
        await never.wait()
        return {}

    a = make("a")
    connection = await a.connect("st-1", silent)
    command = await queue_command(db, action)
    a.dispatcher.submit("st-1", command.id)
    await connection.called.wait()
    await a.stop(patience_s=0)
    assert (await stored(db, command)).status is CommandStatus.SENT
    swept = await sweep_after_lease(db)
    assert (await stored(db, command)).status is after
    if after is CommandStatus.QUEUED:
        assert [item.id for item in swept.to_send] == [command.id]
        again = await make("b").connect("st-1")
        await until_status(db, command, CommandStatus.ACCEPTED)
        assert len(again.calls) == 1


@pytest.mark.parametrize(
    ("action", "error", "after"),
    [
        ("Reset", CallTimedOut(written=True), CommandStatus.TIMED_OUT),
        ("Reset", CallRefused("NotSupported", ""), CommandStatus.FAILED),
        ("Reset", ConnectionGone(), CommandStatus.FAILED),
        ("Reset", ConnectionGone(written=False), CommandStatus.QUEUED),
        ("Reset", CallTimedOut(written=False), CommandStatus.QUEUED),
        (REMOTE_STOP, ConnectionGone(), CommandStatus.QUEUED),
        (REMOTE_STOP, CallTimedOut(written=True), CommandStatus.QUEUED),
        (REMOTE_STOP, CallRefused("InternalError", "x"), CommandStatus.FAILED),
    ],
)
async def test_a_call_without_an_answer(
    make: MakeInstance, db: PooledDatabase, action: str, error: Exception, after: CommandStatus
) -> None:
    async def fail(_action: str, _payload: Mapping[str, Any]) -> dict[str, Any]:
        raise error

    a = make("a")
    await a.connect("st-1", fail)
    command = await queue_command(db, action)
    a.dispatcher.submit("st-1", command.id)
    await until(lambda: not a.dispatcher._lines, "the dispatcher to be done")
    ended = await stored(db, command)
    assert ended.status is after
    assert ended.error == str(error)


async def test_a_stop_lost_with_its_socket_is_written_on_the_next_one(make: MakeInstance, db: PooledDatabase) -> None:
    async def gone(_action: str, _payload: Mapping[str, Any]) -> dict[str, Any]:
        raise ConnectionGone

    await make("a").connect("st-1", gone)
    command = await queue_command(db, REMOTE_STOP, transactionId=7)
    a = make("a2")
    first = await a.connect("st-1", gone)
    await until(lambda: first.calls and not a.dispatcher._lines, "the first try")
    second = await make("b").connect("st-1")
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert second.calls == [(REMOTE_STOP, {"transactionId": 7})]


@pytest.mark.parametrize("home", ["same", "other"])
async def test_the_charger_is_back_before_its_lost_stop_is_queued_again(
    make: MakeInstance, db: PooledDatabase, home: str
) -> None:
    """Its new holder has already looked for queued commands; the stop follows it without waiting for a poll."""
    dead = asyncio.Event()

    async def lost(_action: str, _payload: Mapping[str, Any]) -> dict[str, Any]:
        await dead.wait()
        raise ConnectionGone

    a, b = make("a"), make("b")
    old = await a.connect("st-1", lost)
    command = await queue_command(db, REMOTE_STOP, transactionId=7)
    a.dispatcher.submit("st-1", command.id)
    await old.called.wait()
    new = await (a if home == "same" else b).connect("st-1")
    await until(lambda: old.closed_with, "the old socket to be closed")
    dead.set()
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert len(new.calls) == 1


async def test_a_command_claimed_for_a_socket_that_was_just_replaced_goes_to_the_new_one(
    make: MakeInstance, db: PooledDatabase
) -> None:
    a = make("a")
    old = await a.connect("st-1")
    epoch = await db.run(lambda conn: connect_station(conn, "st-1", "a", CLOCK.now()))
    command = await queue_command(db)
    async with db.transaction() as blocker:
        # The claim waits for this lock; meanwhile the new socket takes its place.
        await blocker.execute("SELECT 1 FROM station_commands WHERE id = %s FOR UPDATE", (command.id,))
        a.dispatcher.submit("st-1", command.id)
        new = FakeConnection("st-1", epoch)
        await a.registry.register("st-1", new)
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert old.calls == []
    assert len(new.calls) == 1


async def test_the_answer_is_recorded_although_the_database_was_away_for_a_moment(
    make: MakeInstance, db: PooledDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = make("a")
    failures = 3
    finish = service.finish

    async def flaky(*args: Any, **kwargs: Any) -> bool:
        nonlocal failures
        if failures:
            failures -= 1
            raise psycopg.OperationalError("the connection is lost")
        return await finish(*args, **kwargs)

    monkeypatch.setattr(service, "finish", flaky)
    await a.connect("st-1")
    command = await queue_command(db)
    a.dispatcher.submit("st-1", command.id)
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert failures == 0


# --- what an outcome causes -------------------------------------------------------------------------------------


async def start_charging(db: PooledDatabase, station_id: str) -> tuple[str, str]:
    """Session and RemoteStart command of a driver with 500 som who wants to charge for 100."""

    async def work(conn: Conn) -> tuple[str, str]:
        request = StartRequest("client-1", station_id, 1, amount_som=Decimal(100))
        started = await charging.start(conn, request, CLOCK.now())
        return started.session.id, started.command_id

    return await db.run(work)


async def test_a_rejected_start_gives_the_money_back_at_once(make: MakeInstance, db: PooledDatabase) -> None:
    async def reject(_action: str, _payload: Mapping[str, Any]) -> dict[str, Any]:
        return {"status": "Rejected"}

    place = await network.build(db, CLOCK.now())
    a = make("a")
    await a.connect(place.station_id, reject)
    session_id, command_id = await start_charging(db, place.station_id)
    assert await network.balance_of(db, "client-1") == 400
    a.dispatcher.submit(place.station_id, command_id)
    await until(lambda: a.changed, "the change to be published")
    assert a.changed == [place.station_id]
    command = await db.run(lambda conn: service.get(conn, command_id))
    session = await db.run(lambda conn: charging.get_session(conn, session_id, None))
    assert command is not None
    assert command.status is CommandStatus.REJECTED
    assert not session.state.live
    assert await network.balance_of(db, "client-1") == 500
    assert await network.money_faults(db) == []


async def test_an_accepted_start_leaves_the_session_waiting_for_the_cable(
    make: MakeInstance, db: PooledDatabase
) -> None:
    place = await network.build(db, CLOCK.now())
    a = make("a")
    connection = await a.connect(place.station_id)
    session_id, command_id = await start_charging(db, place.station_id)
    a.dispatcher.submit(place.station_id, command_id)
    await connection.called.wait()
    await until(lambda: not a.dispatcher._lines, "the dispatcher to be done")
    session = await db.run(lambda conn: charging.get_session(conn, session_id, None))
    assert session.state is SessionState.PENDING
    assert connection.calls[0][0] == "RemoteStartTransaction"
    assert connection.calls[0][1] == {"connectorId": 1, "idTag": session.id_tag}
    assert await network.balance_of(db, "client-1") == 400


async def test_an_outcome_after_the_sweeps_judgement_moves_no_money(make: MakeInstance, db: PooledDatabase) -> None:
    """The lease lapsed while the charger thought; its Rejected comes too late and is not applied half."""
    answer = asyncio.Event()

    async def late(_action: str, _payload: Mapping[str, Any]) -> dict[str, Any]:
        await answer.wait()
        return {"status": "Rejected"}

    place = await network.build(db, CLOCK.now())
    a = make("a")
    connection = await a.connect(place.station_id, late)
    session_id, command_id = await start_charging(db, place.station_id)
    a.dispatcher.submit(place.station_id, command_id)
    await connection.called.wait()
    await sweep_after_lease(db)
    answer.set()
    await until(lambda: not a.dispatcher._lines, "the dispatcher to be done")
    command = await db.run(lambda conn: service.get(conn, command_id))
    session = await db.run(lambda conn: charging.get_session(conn, session_id, None))
    assert command is not None
    assert command.status is CommandStatus.FAILED
    assert session.state is SessionState.PENDING
    assert await network.balance_of(db, "client-1") == 400


async def test_a_defect_while_a_message_is_handled_does_not_end_the_receiving(
    make: MakeInstance, settings: Settings, db: PooledDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RuntimeError is also what a library raises in a state that it did not expect, not only a loop that is gone."""
    a = make("a", consume=True)
    connection = await a.connect("st-1")
    handle, calls = a.consumer.handle, []

    async def broken_once(message: CommandMessage) -> bool:
        calls.append(message)
        if len(calls) == 1:
            raise RuntimeError("not expected")
        return await handle(message)

    monkeypatch.setattr(a.consumer, "handle", broken_once)
    command = await queue_command(db)
    await SqsCommandQueue(settings).send(command)
    await until(lambda: calls, "the message to be received")
    await until(lambda: not a.consumer._failing and len(calls) > 1, "the message to come again", 30)
    await until_status(db, command, CommandStatus.ACCEPTED)
    assert len(connection.calls) == 1
