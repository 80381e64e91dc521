"""The local system as a whole: it starts, heals what can be healed, says what cannot, and leaves nothing behind."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from infra.local.configuration import LocalOptions
from infra.local.demo.login import sign_in
from infra.local.processes import ROOT, accepts_connections, free_port
from infra.local.system import LocalSystem

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(autouse=True)
def _own_services(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


async def _until(condition: Callable[[], object], what: str, timeout_s: float = 60) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while not await asyncio.to_thread(condition):
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"waited {timeout_s} s for {what}")


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[LocalSystem]:
    options = LocalOptions(data=tmp_path / "data", durable=False, schedules=False)
    async with LocalSystem(options) as running:
        yield running


async def test_everything_runs_and_listens_on_loopback_only(system: LocalSystem) -> None:
    async with httpx.AsyncClient(base_url=system.base_url, timeout=20) as http:
        assert (await http.get("/readyz")).status_code == 200
        health = (await http.get("/health")).json()
        assert health["connected_stations"] == 2
        assert system.demo is not None
        login = await sign_in(system.base_url, system.sms.outbox_url, system.demo.phone)
        headers = {"Authorization": f"Bearer {login['access_token']}"}
        balance = await http.get("/api/v1/balance/current", headers=headers)
        assert balance.json()["balance"] == 0
    for name, pids in system.processes.items():
        assert pids, f"{name} has no process"
        for pid in pids:
            for connection in psutil.Process(pid).net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    assert connection.laddr.ip == "127.0.0.1", f"{name} listens on {connection.laddr}"
    answer = await system.run_sweep("station_status")
    assert not answer.function_error, answer.payload


async def test_killed_processes_come_back(system: LocalSystem) -> None:
    for name in ("socket-tier-1", "payment-standin"):
        await system.wait_back(name, system.kill(name))
    for name in ("api", "sweeps"):
        pid = system.kill(name)
        await _until(lambda name=name, pid=pid: set(system.processes[name]) - {pid}, f"{name} to come back")  # type: ignore[misc]
    async with httpx.AsyncClient(base_url=system.base_url, timeout=20) as http:
        async with asyncio.timeout(60):
            while (await http.get("/health")).json().get("connected_stations") != 2:  # the chargers come back too
                await asyncio.sleep(0.2)
    assert not system.failure.done()


async def test_a_dead_database_is_reported_with_its_log(system: LocalSystem) -> None:
    system.kill("postgres")
    async with asyncio.timeout(20):
        failure = await asyncio.shield(system.failure)
    assert "postgres ended (status -9)" in str(failure)


async def test_nothing_is_left_after_stop() -> None:
    system = LocalSystem(LocalOptions(durable=False, schedules=False))
    async with system:
        pids = [pid for found in system.processes.values() for pid in found]
        logs = system.logs
        assert logs.is_dir()
    assert len(pids) >= 10
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
    assert not logs.exists()


# --- the command `./dev up` ----------------------------------------------------------------------------------


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "layers/evpower/python")])}


class _Command:
    """`python -m infra.local.up` as a user starts it."""

    def __init__(self, *arguments: str) -> None:
        self.port, tier = free_port(), free_port()
        command = [sys.executable, "-m", "infra.local.up", "--port", str(self.port), "--socket-tier-port", str(tier)]
        self.process = subprocess.Popen(
            [*command, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=_environment(),
        )

    def ready(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("ready "), line or self.process.stderr.read()  # type: ignore[union-attr]
        described: dict[str, Any] = json.loads(line.removeprefix("ready "))
        return described

    def children(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.process.pid).children(recursive=True)]


def _gone(pids: list[int]) -> bool:
    return not [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


async def test_up_stops_cleanly_and_keeps_its_data(tmp_path: Path) -> None:
    command = _Command("--data", str(tmp_path / "kept"))
    described = await asyncio.to_thread(command.ready)
    with psycopg.connect(described["database"]) as conn:
        conn.execute("UPDATE clients SET name = 'renamed'")
    children = command.children()
    command.process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(command.process.wait, 60) == 0
    await _until(lambda: _gone(children), "every process to end")
    again = _Command("--data", str(tmp_path / "kept"))
    described = await asyncio.to_thread(again.ready)
    with psycopg.connect(described["database"]) as conn:
        assert conn.execute("SELECT name FROM clients").fetchall() == [("renamed",)]
    again.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(again.process.wait, 60) == 0


async def test_kill_nine_of_the_supervisor_leaves_no_process() -> None:
    command = _Command("--no-demo")
    described = await asyncio.to_thread(command.ready)
    assert "demo" not in described
    children = command.children()
    command.process.kill()
    await asyncio.to_thread(command.process.wait)
    await _until(lambda: _gone(children), "every process to end")


async def test_a_taken_port_is_said_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "infra.local.up", "--port", str(port)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=_environment(),
        )
    assert done.returncode == 1
    assert f"port {port} (gateway) is taken" in done.stderr
    assert "Traceback" not in done.stderr


async def test_data_that_cannot_be_kept_there_is_a_plain_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "infra.local.up", "--data", str(tmp_path / "file")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=_environment(),
    )
    assert done.returncode == 1
    assert done.stderr == f"evpower: cannot keep data in {tmp_path / 'file'}: File exists\n"


async def test_two_systems_cannot_share_a_data_directory(tmp_path: Path) -> None:
    first = _Command("--no-demo", "--data", str(tmp_path))
    await asyncio.to_thread(first.ready)
    second = _Command("--no-demo", "--data", str(tmp_path))
    _, error = await asyncio.to_thread(second.process.communicate, timeout=30)
    assert second.process.returncode == 1
    assert "in use by another" in error
    os.kill(first.process.pid, signal.SIGTERM)
    assert await asyncio.to_thread(first.process.wait, 60) == 0
    assert not accepts_connections(first.port)
