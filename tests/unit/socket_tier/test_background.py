"""Background work shows its progress; what stands is begun anew, and no loop goes without."""

import ast
import asyncio
from pathlib import Path

import pytest

from socket_tier import background
from socket_tier.background import Background, Work
from tests.fakes.stations import until

SOURCE = Path(background.__file__).parent
# Endless loops that are no background work of the instance, and what bounds them.
OF_ONE_SOCKET = {
    "location_stream.py:_ping_forever": "one app's socket; ends with it",
    "stream_client.py:send_forever": "one app's socket; each frame has a time-out",
    "stream_client.py:receive_forever": "one app's socket; waits for the app",
    "connection.py:_durably": "one message; the patience of its route",
    "dispatcher.py:_persistently": "one command; the patience of its outcome",
    "meter_flush.py:_persistently": "one flush, step by step; the patience of its messages",
    "draining.py:wait_until_draining": "the process's own end; each question has a time-out",
}


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "WATCH_S", 0.01)
    monkeypatch.setattr(background, "_PAUSE_AFTER_END_S", 0.01)


def endless_loops() -> dict[str, ast.AsyncFunctionDef]:
    """Coroutines of the tier with a ``while True``, by file and name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.AsyncFunctionDef) and any(
                isinstance(inner, ast.While) and isinstance(inner.test, ast.Constant) and inner.test.value is True
                for inner in ast.walk(node)
            ):
                found[f"{path.relative_to(SOURCE)}:{node.name}"] = node
    return found


def test_every_endless_loop_shows_its_progress() -> None:
    """A new loop takes a ``Work`` and wraps what it does in a step, or says here what bounds it."""
    loops = endless_loops()
    assert OF_ONE_SOCKET.keys() <= loops.keys()
    for name, node in loops.items():
        if name in OF_ONE_SOCKET:
            continue
        kinds = {ast.unparse(argument.annotation) for argument in node.args.args if argument.annotation}
        assert "Work" in kinds, f"{name} is an endless loop without a sign of progress"


async def test_a_step_has_a_deadline_and_the_loop_goes_on() -> None:
    work = Work("loop")
    with pytest.raises(TimeoutError):
        async with work.step(0.01):
            await asyncio.Event().wait()
    async with work.step():
        pass
    assert work.steps == 2
    assert not work.in_trouble(10**9)


async def test_what_stands_is_begun_anew_and_blamed_until_it_ends_a_step() -> None:
    works = Background()
    runs = 0
    may_end = asyncio.Event()

    async def loop(work: Work) -> None:
        nonlocal runs
        runs += 1
        work.stuck_after_s = 0.01
        while True:
            with work.step_of_thread():
                await may_end.wait()
            await asyncio.sleep(0.01)

    works.start("loop", loop)
    works.start("watch", works.watch)
    try:
        await until(lambda: runs == 2, "the loop to be begun anew")
        assert works.in_trouble() == ["loop"]
        may_end.set()
        await until(lambda: not works.in_trouble(), "the loop to go on")
        assert works.works["loop"].steps > 0
    finally:
        await works.stop()


async def test_what_stands_each_time_is_left_alone_after_a_few_attempts() -> None:
    """It may be what cannot be ended: each attempt could leave something behind."""
    works = Background()
    runs = 0

    async def loop(work: Work) -> None:
        nonlocal runs
        runs += 1
        work.stuck_after_s = 0.01
        with work.step_of_thread():
            await asyncio.Event().wait()

    works.start("loop", loop)
    works.start("watch", works.watch)
    try:
        await until(lambda: works.works["loop"].given_up == 3 and works.works["loop"].stands(10**9), "the last attempt")
        for _ in range(10):
            await asyncio.sleep(0.01)
        assert runs == 4
        assert works.in_trouble() == ["loop"]
    finally:
        await works.stop()


async def test_a_step_that_was_given_up_does_not_speak_for_its_successor() -> None:
    work = Work("loop")
    first = work.step_of_thread()
    first.__enter__()
    work.give_up(0)
    second = work.step_of_thread()
    second.__enter__()
    first.__exit__(None, None, None)
    assert work.stands(10**9)
    second.__exit__(None, None, None)
    assert not work.stands(10**9)
    assert work.steps == 1


async def test_a_loop_that_ends_begins_again() -> None:
    works = Background()
    runs = 0

    async def loop(_work: Work) -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise RuntimeError("a defect")
        await asyncio.Event().wait()

    works.start("loop", loop)
    try:
        await until(lambda: runs == 3, "the loop to begin again")
    finally:
        await works.stop()
    assert works.works == {}
