"""``./dev up`` as a user meets it: the ready line, the README's walk-through word by word, Ctrl-C, nothing left."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from infra.local.demo.driver import Driver
from infra.local.processes import ROOT, accepts_connections, free_port
from infra.local.simulator import ChargePoint

README = ROOT / "README.md"


@dataclass
class Running:
    """A started system and what its ready line says."""

    process: asyncio.subprocess.Process
    port: int
    ready: dict[str, Any]
    log: Path
    token: str = ""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """``python -m infra.local.up`` on a free port, with a data directory of its own."""
    port, data = free_port(), tmp_path_factory.mktemp("up")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "layers/evpower/python")])}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "infra.local.up", "--port", str(port), "--socket-tier-port", str(free_port())),
        *("--data", str(data / "state")),
        stdout=asyncio.subprocess.PIPE,
        stderr=(data / "up.log").open("wb"),
        env=environment,
        cwd=ROOT,
    )
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 100)).decode()
    assert line.startswith("ready "), (data / "up.log").read_text()
    running = Running(process, port, json.loads(line.removeprefix("ready ")), data / "up.log")
    running.token = await log_in(running)
    yield running
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.wait(), 60)


def walk_through() -> list[str]:
    """The lines of the README's shell blocks, without those that find the running system."""
    blocks = re.findall(r"```bash\n(.*?)```", README.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("call ")]
    assert len(lines) >= 6
    return lines


async def log_in(up: Running) -> str:
    """The README's login: ask for a code, read it where ``./dev up`` prints it, type it; the token."""
    block = next(text for text in re.findall(r"```bash\n(.*?)```", README.read_text(), re.DOTALL) if "send-otp" in text)
    steps = block.partition("call()")[0].replace("127.0.0.1:9210", f"127.0.0.1:{up.port}")
    ask, _, answer = steps.partition("CODE=123456")
    await bash(ask)
    codes = re.findall(rf"SMS to {re.escape(up.ready['demo']['phone'])}: .*?(\d{{6}})\b", up.log.read_text())
    without_asking = "\n".join(line for line in ask.splitlines() if "send-otp" not in line)
    return (await bash(f'{without_asking}\nCODE={codes[-1]} {answer}\necho "$T"')).decode().strip()


async def bash(script: str) -> bytes:
    """What a script prints."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", script, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors
    return output


async def shell(up: Running, line: str) -> Any:
    """Run one line of the README as the reader would."""
    definition = next(text for text in README.read_text().splitlines() if text.startswith("call()"))
    script = f"B=http://127.0.0.1:{up.port}\nT={up.token}\n{definition}\n{line}\n"
    return json.loads(await bash(script))


async def test_the_walk_through_of_the_readme(up: Running) -> None:
    known: dict[str, str] = {}
    async with Driver(f"http://127.0.0.1:{up.port}", up.token) as driver:
        for line in walk_through():
            for name, value in known.items():
                line = line.replace(name, value)
            if "charging/stop" in line:
                await driver.wait_session(known["SESSION_ID"], lambda s: s["energy_consumed"] > 0)
            answer = await shell(up, line)
            assert answer["success"] is True, (line, answer)
            if "topup-qr" in line:
                known["INVOICE_ID"] = answer["invoice_id"]
                await shell_pay(answer["app_link"])
                await driver.wait_paid(answer["invoice_id"])
            if "payment/status" in line:
                assert answer["status"] == 1
            if "charging/stop" in line:
                assert answer["provisional"] is False, answer
            if "charging/start" in line:
                known["SESSION_ID"] = answer["session_id"]
            if "balance/history" in line:
                kinds = [row["transaction_type"] for row in answer["data"]]
                assert kinds == ["charge_refund", "charge_reserve", "balance_topup"]
    assert set(known) == {"INVOICE_ID", "SESSION_ID"}


async def shell_pay(page: str) -> None:
    """The README's way to press Pay without a browser."""
    process = await asyncio.create_subprocess_exec(
        "curl", "-sf", "-X", "POST", "-o", os.devnull, page.replace("/page/", "/pay/")
    )
    assert await process.wait() == 0


async def test_a_charger_of_ones_own_boots(up: Running) -> None:
    async with ChargePoint(f"ws://127.0.0.1:{up.port}/ocpp", "EVP-DEMO-3") as point:
        await point.wait_online()


async def test_the_demo_chargers_are_on_the_map(up: Running) -> None:
    answer = await shell(up, "call $B/api/v1/locations?include_stations=true")
    states = {s["serial_number"]: s["status"] for place in answer["locations"] for s in place["stations"]}
    assert states["EVP-DEMO-1"] == "available"
    assert states["EVP-DEMO-4"] == "offline"


async def test_ctrl_c_stops_everything(up: Running) -> None:
    ours = children_of(up.process.pid)
    assert len(ours) >= 8
    up.process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(up.process.wait(), 60) == 0
    assert [pid for pid in ours if Path(f"/proc/{pid}").exists()] == []
    assert not accepts_connections(up.port)


def children_of(pid: int) -> list[int]:
    """Every process below ``pid``."""
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(entry.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
        if parent == pid:
            child = int(entry.parent.name)
            found += [child, *children_of(child)]
    return found
