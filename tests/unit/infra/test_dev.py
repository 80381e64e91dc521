"""`./dev` itself: what it says, and that a wrong name costs no installation."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from infra.local.processes import ROOT
from infra.local.suites import SUITES
from tests.load.bench import BENCHES

_SCRIPT = (ROOT / "dev").read_text()


def _names(variable: str) -> list[str]:
    found = re.search(rf'^{variable}="(.*)"$', _SCRIPT, re.MULTILINE)
    assert found is not None
    return found[1].split()


def _run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "EVPOWER_VENV": str(tmp_path / "venv"),
        "EVPOWER_PYTHON": "/nonexistent",
        "PATH": "/bin",
    }
    return subprocess.run(
        ["/bin/bash", str(ROOT / "dev"), *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_it_knows_every_suite_and_benchmark() -> None:
    assert _names("suites") == [*SUITES, "localstack", "pg15"]
    assert _names("benches") == list(BENCHES)


def test_its_usage_names_every_command_suite_and_benchmark(tmp_path: Path) -> None:
    shown = _run(tmp_path).stdout
    commands = re.findall(r"^  ([a-z]+)\)", _SCRIPT, re.MULTILINE)
    assert len(commands) >= 10
    for name in [*commands, *_names("suites"), *_names("benches")]:
        assert re.search(rf"\b{name}\b", shown), name


@pytest.mark.parametrize("arguments", [("test", "nope"), ("test", "unit", "nope"), ("bench", "nope")], ids=" ".join)
def test_a_wrong_name_is_told_before_anything_is_installed(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = _run(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("dev: there is no ")
    assert "'nope'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "venv").exists()
