"""Finds or fetches the programs of PostgreSQL 15, the oldest version that the schema supports (Supabase's).

Order: `EVPOWER_PG15_BIN`, an installed /usr/lib/postgresql/15, an earlier download, Debian's package downloaded with
apt and unpacked into the checkout (no root, nothing installed).
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from infra.local.processes import ROOT, LocalSystemError

_INSTALLED = Path("/usr/lib/postgresql/15/bin")
_UNPACKED = ROOT / ".evpower" / "postgresql-15"
_PACKAGES = ("postgresql-15", "postgresql-client-15")


def programs() -> Path:
    """Folder with `postgres` and `initdb` of version 15; raises `LocalSystemError` when it cannot be had."""
    given = os.environ.get("EVPOWER_PG15_BIN")
    candidates = [Path(given)] if given else [_INSTALLED, _UNPACKED / _INSTALLED.relative_to("/")]
    for folder in candidates:
        if _is_version_15(folder):
            return folder
    if given:
        raise LocalSystemError(f"EVPOWER_PG15_BIN={given} holds no PostgreSQL 15")
    _download()
    if not _is_version_15(candidates[-1]):
        raise LocalSystemError(
            f"the unpacked PostgreSQL 15 in {candidates[-1]} does not run: {_complaint(candidates[-1])}"
        )
    return candidates[-1]


def _is_version_15(folder: Path) -> bool:
    return (folder / "initdb").exists() and " 15." in _complaint(folder)


def _complaint(folder: Path) -> str:
    """What `postgres --version` prints, or why it cannot run (a missing library)."""
    try:
        done = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)
    except OSError as exc:
        return str(exc)
    return (done.stdout + done.stderr).strip()


def _download() -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise LocalSystemError(
            "PostgreSQL 15 is neither installed nor downloadable here (no apt): install it and set EVPOWER_PG15_BIN"
        )
    _UNPACKED.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="evpower-apt-") as folder:
        done = _apt("download", *_PACKAGES, folder=folder)
        if done.returncode != 0 and os.geteuid() == 0:
            # A new machine has no package lists yet; only root may fetch them.
            _apt("update", folder=folder)
            done = _apt("download", *_PACKAGES, folder=folder)
        archives = sorted(Path(folder).glob("*.deb"))
        if done.returncode != 0 or len(archives) != len(_PACKAGES):
            raise LocalSystemError(
                "apt cannot download postgresql-15 (Debian 12 has it; `apt-get update` may be needed):\n"
                + (done.stdout + done.stderr).strip()
            )
        for archive in archives:
            subprocess.run(["dpkg-deb", "-x", str(archive), str(_UNPACKED)], check=True)


def _apt(*words: str, folder: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["apt-get", "-q", *words], cwd=folder, capture_output=True, text=True, check=False)
