"""The command: chargers against any URL, obeying standard input, failing when the server errs."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.local.simulator.__main__ import build, obey, parse_arguments

from .conftest import Central

ROOT = Path(__file__).resolve().parents[5]


async def wait_until(central: Central, condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20), central.changed:
        await central.changed.wait_for(condition)


async def start_process(central: Central, *options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "infra.local.simulator",
        central.url,
        *options,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_two_chargers_obey_standard_input(central: Central) -> None:
    process = await start_process(
        central, "--station", "A:secret", "--station", "B", "--connectors", "1", "--manual", "--control"
    )
    assert process.stdin is not None
    await wait_until(central, lambda: len(central.of("StatusNotification")) == 4)
    process.stdin.write(b"plug A 1\nstart A 1 CARD\nnonsense A 1\nnonsense A\njump A 1\n")
    await wait_until(central, lambda: central.of("StartTransaction"))
    process.stdin.write(b"unplug A 1\n")
    await wait_until(central, lambda: central.of("StopTransaction"))
    process.stdin.write(b"status\nquit\n")
    output, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0, errors
    assert output.count(b"? unknown command 'nonsense'") == 2
    assert b"? 'jump' needs another argument" in output
    assert b"A online" in output
    assert sorted(a is None for a in central.authorizations) == [False, True]


async def test_a_protocol_violation_ends_it_with_1(central: Central) -> None:
    process = await start_process(central, "--station", "A", "--quiet")
    await wait_until(central, lambda: central.of("StatusNotification"))
    await central.say("nonsense")
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1
    assert b"not JSON" in errors


async def test_a_signal_ends_it_with_0(central: Central) -> None:
    process = await start_process(central, "--station", "A")
    await wait_until(central, lambda: central.of("StatusNotification"))
    process.terminate()
    await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("plug C 1", "which station"),
        ("plug A", "connector number"),
        ("plug A 9", "connector number"),
        ("x A 1", "unknown"),
    ],
)
async def test_commands_that_make_no_sense_are_explained(line: str, words: str) -> None:
    points = build(parse_arguments(["ws://127.0.0.1:9", "--station", "A", "--station", "B"]))
    with pytest.raises(ValueError, match=words):
        await obey(points, line)


def test_a_url_of_another_kind_is_refused_with_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse_arguments(["http://127.0.0.1:9210/ocpp", "--station", "A"])
    assert end.value.code == 2
    assert "'http://127.0.0.1:9210/ocpp' does not begin with ws:// or wss://" in capsys.readouterr().err
