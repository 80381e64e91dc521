"""Temporary directories that never pile up: each belongs to a living process, and those of dead ones are removed.

The owner holds a lock (flock) on the directory itself. The kernel drops it however the process ends, so the next start
can tell what a killed run left from what another run is using.
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - Linux's memory file system; only fresh directories are made in it
_MEMORY_WANTED = 4 * 2**30
_OURS = re.compile(r"(evpower(-[a-z]+)?|evpg)-\d+-[a-z0-9_]{8}")

_held: dict[Path, int] = {}
_swept = False


def memory_directory() -> str | None:
    """Where files that need not survive are fastest: in memory, if there is plenty; None: the usual place."""
    try:
        roomy = os.access(_SHARED_MEMORY, os.W_OK) and shutil.disk_usage(_SHARED_MEMORY).free >= _MEMORY_WANTED
    except OSError:
        return None
    return str(_SHARED_MEMORY) if roomy else None


def make(kind: str, *, in_memory: bool = False, mode: int = 0o711) -> Path:
    """A fresh directory ``{kind}-{our pid}-...``, ours until :func:`remove` or until this process ends.

    ``kind`` is ``evpower``, ``evpower-word`` or ``evpg``. The first call removes what dead processes left.
    """
    global _swept
    if not _swept:
        _swept = True
        sweep()
    while True:
        base = memory_directory() if in_memory else None
        path = Path(tempfile.mkdtemp(prefix=f"{kind}-{os.getpid()}-", dir=base))
        if (lock := _lock(path, fcntl.LOCK_EX)) is not None:
            _held[path] = lock
            path.chmod(mode)
            return path


def remove(path: Path) -> None:
    """Remove a directory made by :func:`make`."""
    shutil.rmtree(path, ignore_errors=True)
    if (lock := _held.pop(path, None)) is not None:
        os.close(lock)


@contextlib.contextmanager
def directory(kind: str) -> Iterator[Path]:
    """A directory of :func:`make` until the block ends."""
    path = make(kind)
    try:
        yield path
    finally:
        remove(path)


def service_directory(directory: Path | None, kind: str, *, in_memory: bool = False) -> tuple[Path, bool]:
    """The directory of a service (``directory``, or a temporary one), and whether it is ours to remove."""
    if directory is None:
        return make(f"evpower-{kind}", in_memory=in_memory), True
    directory.mkdir(parents=True, exist_ok=True)
    return directory.resolve(), False


def sweep() -> list[Path]:
    """Remove this user's directories whose process is gone (root: everybody's); what was removed."""
    removed: list[Path] = []
    for base in {Path(tempfile.gettempdir()), _SHARED_MEMORY}:
        with contextlib.suppress(OSError):
            removed += [path for path in base.iterdir() if _OURS.fullmatch(path.name) and _remove_orphan(path)]
    return removed


def _remove_orphan(path: Path) -> bool:
    with contextlib.suppress(OSError):
        # Started by root, PostgreSQL runs as another user, and its directory is that user's.
        if path.is_symlink() or os.geteuid() not in (0, path.stat().st_uid):
            return False
        lock = _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if lock is None:
            return False
        try:
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock)
        return not path.exists()
    return False


def _lock(path: Path, how: int) -> int | None:
    """Lock a directory; None when another process holds it, or removed it while we waited."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, how)
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None
