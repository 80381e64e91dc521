"""Ctrl-C while `./dev up` starts: one quiet end, whatever it was doing, and nothing left running or lying about."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.local import scratch
from infra.local.processes import ROOT, free_port

_TRACES = ("Traceback", "KeyboardInterrupt", "initdb", "FATAL", "Error")


def _start(temporary: Path) -> subprocess.Popen[str]:
    ports = ["--port", str(free_port()), "--socket-tier-port", str(free_port())]
    environment = {**os.environ, "EVPOWER_VENV": sys.prefix, "TMPDIR": str(temporary)}
    return subprocess.Popen(
        ["/bin/bash", str(ROOT / "dev"), "up", *ports],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a process group of its own, as in a terminal
    )


def _when_python_starts(process: subprocess.Popen[str]) -> str:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None:
        for pid in children.read_text().split():
            try:
                if b"infra.local.command" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return ""
            except OSError:
                continue
    raise AssertionError("it ended by itself")


def _after(words: str) -> Callable[[subprocess.Popen[str]], str]:
    def wait(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if words in line:
                return said
        raise AssertionError(said)

    return wait


_STOPPING = "evpower: stopping"
_MOMENTS = {
    # On a busy machine Python may have got further by the time that this process sees it.
    "python starts": (_when_python_starts, {"dev: stopped before anything was started", _STOPPING}),
    "services": (_after("starting PostgreSQL"), {_STOPPING}),
    "migrations": (_after("applying migrations"), {_STOPPING}),
    "product": (_after("starting the functions"), {_STOPPING}),
}


@pytest.mark.parametrize("moment", _MOMENTS)
def test_an_early_ctrl_c_ends_it_quietly(tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wait, last_words = _MOMENTS[moment]
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(parent.stat().st_mode | 0o011)  # PostgreSQL's user passes here when we are root
    process = _start(tmp_path)
    try:
        wait(process)
        rest = _pressed(process)
    finally:
        process.kill()
    assert process.returncode == 0
    assert rest.splitlines()[-1] in last_words
    assert not [word for word in _TRACES if word in rest], rest
    assert _running(tmp_path) == []
    # What was made in the instant of the end is removed by the next start.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    scratch.sweep()
    assert list(tmp_path.iterdir()) == []


def _pressed(process: subprocess.Popen[str]) -> str:
    """Ctrl-C, and again if nothing happens: bash can miss a signal in the instant before it waits for its child."""
    for _ in range(8):
        os.killpg(process.pid, signal.SIGINT)
        try:
            return process.communicate(timeout=15)[0]
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("it does not end")


def test_the_system_ends_with_the_script_in_front_of_it(tmp_path: Path) -> None:
    process = _start(tmp_path)
    _after("starting PostgreSQL")(process)
    process.kill()
    assert process.stdout is not None
    said = process.stdout.read()  # until the last process that holds it has ended
    assert said.splitlines()[-1:] == ["evpower: stopping"]
    assert _running(tmp_path) == []


def _running(temporary: Path) -> list[str]:
    """Command lines of all processes, in whatever group, that were given this temporary directory."""
    found: list[str] = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"TMPDIR={temporary}".encode() in entry.read_bytes().split(b"\0"):
                found.append((entry.parent / "cmdline").read_text())
        except OSError:
            continue
    return found
