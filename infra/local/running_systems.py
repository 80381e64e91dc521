"""Which systems of this checkout run: one file of addresses for each, held by its process.

Several may run at once, on other ports. The owner keeps its file locked (flock); the kernel drops the lock however the
process ends, so what a killed run left is told from what runs.
"""

import contextlib
import fcntl
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from infra.local.processes import ROOT

FOLDER = ROOT / ".evpower" / "running"


@contextlib.contextmanager
def listed(description: Mapping[str, Any], port: int, folder: Path = FOLDER) -> Iterator[None]:
    """List a system under the port of its gateway until the block ends. Raises OSError in a read-only checkout."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{port}.json"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(description, ensure_ascii=False))
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # a port has one owner: the file is ours


def running(folder: Path = FOLDER) -> dict[int, dict[str, Any]]:
    """Descriptions of the systems that run, by port, the one started last first."""
    found: dict[int, dict[str, Any]] = {}
    paths = [path for path in folder.glob("*.json") if path.stem.isdecimal()]
    for path in sorted(paths, key=lambda entry: entry.stat().st_mtime, reverse=True):
        with contextlib.suppress(OSError, ValueError), path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                found[int(path.stem)] = json.load(file)
    return found
