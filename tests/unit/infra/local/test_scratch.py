"""Temporary directories end with their process, and a living process keeps its own."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local import scratch

_OWNER = (
    "import sys, time; from infra.local import scratch; print(scratch.make('evpower-pg'), flush=True); time.sleep(600)"
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary directories are made."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(scratch, "_SHARED_MEMORY", tmp_path / "memory")
    yield tmp_path
    tempfile.tempdir = None


def _owner() -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen([sys.executable, "-c", _OWNER], stdin=-1, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_process_left_is_removed_and_a_living_ones_is_not() -> None:
    (dead, left), (living, used) = _owner(), _owner()
    try:
        (left / "data").mkdir()
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        assert scratch.sweep() == [left]
        assert used.is_dir()
        assert not left.exists()
    finally:
        living.kill()
        living.wait()
    assert scratch.sweep() == [used]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start PostgreSQL as another user")
def test_root_removes_what_the_user_of_postgresql_left(folder: Path) -> None:
    left = folder / "evpower-pg-1-abcdefgh"
    left.mkdir()
    os.chown(left, 65534, 65534)
    assert scratch.sweep() == [left]


def test_nothing_else_is_touched(folder: Path) -> None:
    names = [
        "evpower-abcdefgh",
        "evpower-pg-abcdefgh",
        "other-1-abcdefgh",
        "evpower-pg-12-short",
        "evpower-1-abcdefgh.log",
    ]
    for name in names:
        (folder / name).mkdir()
    outside = folder / "outside"
    outside.mkdir()
    (folder / "evpower-1-abcdefgh").symlink_to(outside)
    assert scratch.sweep() == []
    assert outside.is_dir()
    assert all((folder / name).is_dir() for name in names)


def test_ones_own_stays_until_it_is_removed() -> None:
    with scratch.directory("evpower-bench") as path:
        assert f"-{os.getpid()}-" in path.name
        assert path.stat().st_mode & 0o777 == 0o711
        assert scratch.sweep() == []
        assert path.is_dir()
    assert not path.exists()
