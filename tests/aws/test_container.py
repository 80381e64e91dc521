"""The socket tier's image without a Docker engine: its steps performed in a bare directory, started as it would start.

What is run here is ``socket_tier/assemble.sh``, which is all that the Dockerfile's build stage runs, and the entry
command, environment, user and health check that its last stage names.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from evpower.db import PooledDatabase
from infra.local import scratch
from infra.local.processes import ROOT, free_port
from tests.aws.dockerfile import Stage, instructions, last_stage
from tests.fakes.charging_story import Story, sample
from tests.fakes.network import Network, build
from tests.fakes.raw_charger import RawCharger

DOCKERFILE = ROOT / "socket_tier" / "Dockerfile"
IN_IMAGE = "/srv/evpower"
UID = 1000
UNCHECKED_HASH = 0b01  # flags word of a .pyc that is used without a look at its source (PEP 552)
LARGEST_LAYER_MB = 120
"""The official slim image takes about 125 MB of the 250 that the whole may have."""


@dataclass(frozen=True, slots=True)
class Image:
    """The assembled directory, and an interpreter that another user can start."""

    root: Path
    python: Path
    environment: dict[str, str]

    def at(self, text: str) -> str:
        """A path or search path of the image as it is here."""
        return text.replace(IN_IMAGE, str(self.root))

    def argv(self, command: list[str]) -> list[str]:
        return [str(self.python) if word == "python" else self.at(word) for word in command]


def _interpreter() -> Path:
    """Python 3.13, which the image has, where there is one; else the one that runs the tests."""
    homes = [
        Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions",
        Path("/usr/local"),
        Path("/usr"),
    ]
    found = [path for home in homes for path in (*home.glob("3.13.*/bin/python3.13"), home / "bin" / "python3.13")]
    for candidate in (*found, Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"):
        if candidate.exists():
            return candidate.resolve()
    return Path(sys.executable)


def _reachable_copy(python: Path, directory: Path) -> tuple[Path, dict[str, str]]:
    """Interpreter and standard library where user 1000 can read them: a home directory is often closed to others."""
    prefix = python.parent.parent
    library = next((prefix / "lib").glob(f"{python.name}"), prefix / "lib" / python.name)
    shutil.copytree(
        library,
        directory / "lib" / python.name,
        ignore=shutil.ignore_patterns("site-packages", "test", "__pycache__", "idlelib", "tkinter", "config-*"),
        symlinks=False,
    )
    for shared in (prefix / "lib").glob("libpython*.so*"):
        shutil.copy2(shared, directory / "lib" / shared.name)
    (directory / "bin").mkdir()
    shutil.copy2(python, directory / "bin" / python.name)
    subprocess.run(["chmod", "-R", "a+rX", str(directory)], check=True)
    return directory / "bin" / python.name, {"PYTHONHOME": str(directory), "LD_LIBRARY_PATH": str(directory / "lib")}


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    directory = scratch.make("evpower-image", mode=0o755)
    try:
        python, environment = _interpreter(), {}
        subprocess.run(
            ["bash", str(ROOT / "socket_tier" / "assemble.sh"), str(python), str(directory / "evpower")],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": ""},
        )
        if os.geteuid() == 0 and sysconfig.get_config_var("prefix") != "/usr":
            python, environment = _reachable_copy(python, directory / "python")
        yield Image(directory / "evpower", python, environment)
    finally:
        scratch.remove(directory)


@pytest.fixture
async def network(db: PooledDatabase) -> Network:
    return await build(db, datetime.now(UTC))


@pytest.fixture(scope="module")
def stage() -> Stage:
    return last_stage(DOCKERFILE)


@asynccontextmanager
async def _container(image: Image, stage: Stage, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process as Docker would start it: nothing of our own environment, user 1000 where we may choose."""
    root = os.geteuid() == 0
    process = await asyncio.create_subprocess_exec(
        *image.argv([*stage.entrypoint, *stage.command]),
        env={
            **{name: image.at(value) for name, value in stage.environment.items()},
            **image.environment,
            **environment,
        },
        cwd=image.root,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        **({"user": UID, "group": UID, "extra_groups": []} if root else {}),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _healthy(image: Image, stage: Stage, port: int) -> bool:
    check = await asyncio.create_subprocess_exec(
        *image.argv(stage.healthcheck),
        env={"SOCKET_TIER_PORT": str(port), **image.environment},
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await check.wait() == 0


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if hadolint is None:
        pytest.skip("hadolint has a package for Linux on x86-64 only, and none is installed here")
    for path in (DOCKERFILE, ROOT / "infra" / "local" / "Dockerfile"):
        done = subprocess.run([hadolint, str(path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_runs_as_an_ordinary_user_under_an_init(stage: Stage) -> None:
    assert stage.user == "1000:1000"
    assert stage.entrypoint[0].endswith("/dumb-init")
    assert stage.stop_signal == "SIGTERM"
    froms = [rest for word, rest in instructions(DOCKERFILE) if word == "FROM"]
    assert len(froms) == 2, "build and run are stages of their own"
    assert all(rest.startswith("${PYTHON_IMAGE}") for rest in froms)


def test_no_secret_and_no_needless_file_is_in_the_image(image: Image) -> None:
    assert {path.name for path in image.root.iterdir()} == {"app", "lib"}
    assert {path.name for path in (image.root / "app").iterdir()} == {"evpower", "socket_tier"}
    names = {path.name for path in (image.root / "app").rglob("*")}
    assert not names & {"tests", ".env", ".git", "Dockerfile"}
    assert {path.name for path in (image.root / "lib" / "bin").iterdir()} == {"dumb-init"}


def test_the_image_stays_small(image: Image) -> None:
    megabytes = sum(path.lstat().st_size for path in image.root.rglob("*") if path.is_file()) / 1e6
    assert megabytes < LARGEST_LAYER_MB, f"{megabytes:.0f} MB"


def test_every_module_is_compiled_for_the_interpreter_of_the_image(image: Image) -> None:
    asked = subprocess.run(
        [str(image.python), "-c", "import importlib.util, sys; sys.stdout.buffer.write(importlib.util.MAGIC_NUMBER)"],
        check=True,
        capture_output=True,
        env=image.environment,
    )
    sources = [path for part in ("app", "lib") for path in (image.root / part).rglob("*.py")]
    assert len(sources) > 1000
    missing = []
    for source in sources:
        compiled = list((source.parent / "__pycache__").glob(f"{source.stem}.*.pyc"))
        head = compiled[0].read_bytes()[:8] if compiled else b""
        if head[:4] != asked.stdout or int.from_bytes(head[4:8], "little") != UNCHECKED_HASH:
            missing.append(source)
    # Templates for other interpreters that some packages carry do not compile and are never imported.
    assert not [path for path in missing if (image.root / "app") in path.parents], missing[:5]
    assert len(missing) < 5, missing


async def test_it_starts_as_user_1000_serves_a_charger_and_drains_on_sigterm(
    image: Image, stage: Stage, db: PooledDatabase, network: Network, database_url: str, redis_url: str
) -> None:
    port = free_port()
    before = {path: path.stat().st_mtime_ns for path in image.root.rglob("*")}
    async with _container(
        image,
        stage,
        ENVIRONMENT="test",
        DATABASE_URL=database_url,
        DATABASE_ROLE="evpower_worker",
        REDIS_URL=redis_url,
        SOCKET_TIER_HOST="127.0.0.1",
        SOCKET_TIER_PORT=str(port),
        SQS_COMMANDS_QUEUE_URL="",
        ALLOW_UNAUTHENTICATED_STATIONS="true",
    ) as process:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while not await _healthy(image, stage, port):
                assert process.returncode is None, (await process.stdout.read()).decode()
        if os.geteuid() == 0:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            assert {Path(f"/proc/{pid}").stat().st_uid for pid in (str(process.pid), *children)} == {UID}
        async with RawCharger.open(f"ws://127.0.0.1:{port}/ocpp/station-1") as charger:
            await charger.boot()
            assert await charger.call("MeterValues", connectorId=1, meterValue=sample(7)) == {}
            process.send_signal(signal.SIGTERM)
            assert (await charger.closed())[0] == 1012
        assert await asyncio.wait_for(process.wait(), 30) == 0
    (row,) = await Story(db).rows("SELECT count(*) AS n FROM ocpp_meter_values")
    assert row["n"] == 1
    assert not await _healthy(image, stage, port), "the check fails once the process is gone"
    # The file system is read-only in AWS: the process must not have wanted to write beside its code.
    assert {path: path.stat().st_mtime_ns for path in image.root.rglob("*")} == before


def test_requirements_are_those_of_the_other_functions() -> None:
    """One version of everything in functions and socket tier: they share the layer."""
    pins = {}
    for name in ("runtime", "socket_tier"):
        lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
        pins[name] = {line.split("==")[0]: line.split()[0] for line in lines if "==" in line and line[0].isalnum()}
    del pins["socket_tier"]["dumb-init"]
    assert pins["socket_tier"].items() <= pins["runtime"].items()
