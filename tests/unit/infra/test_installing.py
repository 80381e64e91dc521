"""Packages are installed also where TLS is opened on the way."""

import stat
import sys
from pathlib import Path

import pytest

from infra.installing import uv_install


def _stand_in(folder: Path, script: str) -> str:
    """A program in the place of Python: a shell script that records how it is called."""
    program = folder / "python"
    program.write_text(f'#!/bin/sh\necho "$*" >> {folder}/calls\n{script}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def _calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


def test_a_refused_certificate_is_tried_again_with_the_machine_s_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuses = '[ "$UV_SYSTEM_CERTS" = true ] || { echo "invalid peer certificate: UnknownIssuer" >&2; exit 2; }'
    monkeypatch.delenv("UV_SYSTEM_CERTS", raising=False)
    monkeypatch.setattr(sys, "executable", _stand_in(tmp_path, refuses))
    assert uv_install("--target", "folder").returncode == 0
    assert _calls(tmp_path) == ["-m uv pip install --quiet --target folder"] * 2


def test_any_other_failure_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", _stand_in(tmp_path, 'echo "no such version" >&2; exit 1'))
    done = uv_install("--target", "folder")
    assert (done.returncode, done.stderr) == (1, "no such version\n")
    assert len(_calls(tmp_path)) == 1
