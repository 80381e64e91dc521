"""Built assets of Lambda do not pile up."""

import os
import time
from pathlib import Path

import pytest

from infra import layers


def _build(content: str) -> Path:
    def fill(folder: Path) -> None:
        (folder / "code.py").write_text(content)

    return layers._built("function-x", [content.encode()], fill, "/var/task")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where assets are built, by a machine that cannot compile them."""
    monkeypatch.setattr(layers, "_BUILD", tmp_path)
    monkeypatch.setattr(layers, "find_interpreter", lambda: None)
    return tmp_path


def _age(folder: Path) -> None:
    then = time.time() - layers._KEPT_S - 60
    os.utime(folder, (then, then))


def test_a_build_removes_what_nobody_used_lately(folder: Path) -> None:
    unused, used = _build("a = 1\n"), _build("a = 2\n")
    half_made = folder / ".evpower-4711"
    half_made.mkdir()
    for old in (unused, used, half_made):
        _age(old)
    assert _build("a = 2\n") == used  # used again: it is young now
    built = _build("a = 3\n")
    assert {path.name for path in folder.iterdir()} == {used.name, built.name}
    assert (used / "code.py").read_text() == "a = 2\n"


def test_a_young_asset_stays_for_a_synthesis_under_way(folder: Path) -> None:
    first = _build("a = 1\n")
    assert _build("a = 2\n") != first
    assert first.is_dir()
