"""The first minute of a newcomer: a checkout in a folder that nobody else may enter, made under the umask 077.

Use case: on a fresh server one is root and clones into root's home, whose mode is 700. PostgreSQL runs as another user
there, who may not pass that folder.
"""

import asyncio
import os
import pwd
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local import scratch
from infra.local.postgres import embedded_postgres_bin
from infra.local.processes import ROOT

_PACKAGES = ("functions", "infra", "layers", "socket_tier")
_FILES = ("pyproject.toml", "cdk.json")


@pytest.fixture(params=["whoever runs the tests", "an ordinary user"])
def user(request: pytest.FixtureRequest) -> pwd.struct_passwd | None:
    """Who starts the system; None: ourselves, on CI root."""
    if request.param == "whoever runs the tests":
        return None
    if os.geteuid() != 0:
        pytest.skip("whoever runs the tests is an ordinary user already")
    return pwd.getpwnam("nobody")


def become(user: pwd.struct_passwd | None) -> list[str]:
    """The beginning of a command that runs as ``user``, who may read what root may: Python can lie in root's home."""
    if user is None:
        return []
    reads = "-all,+dac_read_search"
    identity = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return ["setpriv", *identity, f"--inh-caps={reads}", f"--ambient-caps={reads}"]


@pytest.fixture
def folder(user: pwd.struct_passwd | None) -> Iterator[Path]:
    """A folder of mode 700 with a copy of the product and of PostgreSQL's programs, no file of it open to others."""
    path = scratch.make("evpower-closed", mode=0o700)
    try:
        for name in _PACKAGES:
            shutil.copytree(ROOT / name, path / "checkout" / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in _FILES:
            shutil.copyfile(ROOT / name, path / "checkout" / name)
        programs = embedded_postgres_bin().parent  # beside its package lie the libraries that it brings
        shutil.copytree(programs, path / "site" / programs.parent.name / programs.name)
        for libraries in programs.parents[1].glob("*pgserver.libs"):
            shutil.copytree(libraries, path / "site" / libraries.name)
        (path / "tmp").mkdir()
        for entry in (path, *path.rglob("*")):
            entry.chmod(entry.stat().st_mode & ~0o077)
            if user is not None:
                os.chown(entry, user.pw_uid, user.pw_gid)
        yield path
    finally:
        scratch.remove(path)


async def test_the_system_starts_where_others_may_not_enter(folder: Path, user: pwd.struct_passwd | None) -> None:
    checkout, programs = folder / "checkout", next((folder / "site").glob("*/pginstall*/bin"))
    environment = {
        **os.environ,
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONPATH": os.pathsep.join([str(checkout), str(checkout / "layers/evpower/python")]),
        "EVPOWER_PG_BIN": str(programs),
    }
    process = await asyncio.create_subprocess_exec(
        *(*become(user), sys.executable, "-m", "infra.local.up", "--port", "0", "--data", str(folder / "state")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        cwd=checkout,
        umask=0o077,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    problems = asyncio.create_task(process.stderr.read())
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 100)
        assert line.startswith(b"ready "), (await problems).decode()
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        problems.cancel()
