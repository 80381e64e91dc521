"""Lambda assets without Docker: third-party packages for arm64, the shared layer, and one folder per function.

Bytecode: a function that must compile its imports starts two to three times slower, so `.pyc` files are shipped. They
must be written by the Python version that runs them, and be "unchecked" (PEP 552): the upload gives every file the same
date, which would make Python throw ordinary ones away.
"""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from infra.installing import uv_install

ROOT = Path(__file__).resolve().parents[1]

RUNTIME_VERSION = "3.13"
PLATFORM = "aarch64-manylinux_2_28"  # Lambda's Amazon Linux 2023 has glibc 2.34
LAYER_LIMIT_BYTES = 250 * 1024 * 1024  # all layers and the function together, unpacked

# Only the socket tier imports these.
NOT_IN_FUNCTIONS = frozenset({"jsonschema-rs", "ocpp", "prometheus-client", "uvloop", "websockets"})

_BUILD = ROOT / "build" / "lambda"
_REQUIREMENTS = ROOT / "requirements" / "runtime.txt"
_SHARED = ROOT / "layers" / "evpower" / "python"
_KEPT_S = 3600  # after the last use; a synthesis, which copies what it uses, takes minutes
_PLACE = "/opt/python"  # where Lambda unpacks layers


class LayerBuildError(Exception):
    """An asset cannot be built; the message says what is missing."""


def find_interpreter() -> Path | None:
    """A Python of exactly the runtime's version, or None."""
    candidates: list[Path | str | None] = [
        os.environ.get("EVPOWER_LAMBDA_PYTHON"),
        sys.executable,
        shutil.which(f"python{RUNTIME_VERSION}"),
    ]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates += sorted(pyenv.glob(f"{RUNTIME_VERSION}.*/bin/python"), reverse=True)
    return next((Path(c) for c in candidates if c and _version(Path(c)) == RUNTIME_VERSION), None)


def _version(interpreter: Path) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - an interpreter of this machine
            [interpreter, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
    except OSError:
        return ""
    return done.stdout.strip()


def dependencies_layer() -> Path:
    """Folder with ``python/`` and the pinned packages for Lambda's processor. Raises LayerBuildError."""
    wanted = _without(_REQUIREMENTS.read_text(), NOT_IN_FUNCTIONS)

    def fill(folder: Path) -> None:
        requirements = folder / "requirements.txt"
        requirements.write_text(wanted)
        done = uv_install(
            *("--target", str(folder / "python"), "--python-platform", PLATFORM, "--python-version", RUNTIME_VERSION),
            *("--only-binary", ":all:", "--no-deps", "--require-hashes", "--requirement", str(requirements)),
        )
        if done.returncode != 0:
            raise LayerBuildError(f"packages for Lambda cannot be installed:\n{done.stderr[-2000:]}")
        requirements.unlink()
        shutil.rmtree(folder / "python" / "bin", ignore_errors=True)

    return _built("dependencies", [wanted.encode(), PLATFORM.encode()], fill, _PLACE)


def shared_layer() -> Path:
    """Folder with ``python/evpower``."""

    def fill(folder: Path) -> None:
        shutil.copytree(_SHARED / "evpower", folder / "python" / "evpower", ignore=_without_caches)

    return _built("evpower", _contents(_SHARED / "evpower"), fill, _PLACE)


def function_code(name: str) -> Path:
    """Folder with ``functions/<name>``, importable as in the repository."""

    def fill(folder: Path) -> None:
        shutil.copytree(ROOT / "functions" / name, folder / "functions" / name, ignore=_without_caches)
        shutil.copy2(ROOT / "functions" / "__init__.py", folder / "functions" / "__init__.py")

    return _built(f"function-{name}", _contents(ROOT / "functions" / name), fill, "/var/task")


_without_caches = shutil.ignore_patterns("__pycache__", "*.pyc")


def _contents(folder: Path) -> Iterable[bytes]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            yield str(path.relative_to(folder)).encode()
            yield path.read_bytes()


def _without(requirements: str, names: frozenset[str]) -> str:
    """The pinned requirements without some packages; each is a line and its indented continuation."""
    kept: list[str] = []
    dropped = False
    for line in requirements.splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)(\[[^]]*\])?==", line):
            dropped = match[1].lower() in names
        if not dropped:
            kept.append(line)
    return "\n".join(kept) + "\n"


def _built(name: str, inputs: Iterable[bytes], fill: Callable[[Path], None], place: str) -> Path:
    """The folder for these inputs, made once; those that nobody used lately go."""
    interpreter = find_interpreter()
    digest = hashlib.sha256(b"2")  # changes with the way of building
    for part in inputs:
        digest.update(len(part).to_bytes(8, "big") + part)
    digest.update(b"compiled" if interpreter else b"source")
    folder = _BUILD / f"{name}-{digest.hexdigest()[:16]}"
    with contextlib.suppress(FileNotFoundError):
        os.utime(folder)  # the time of its last use
        return folder
    # Two builds at once make two folders; the first one done gives its name.
    partial = _BUILD / f".{name}-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    fill(partial)
    if interpreter:
        _compile(interpreter, partial, place)
    _remove_unused()
    try:
        partial.rename(folder)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _remove_unused() -> None:
    """Remove every asset, also half-made ones of killed runs, that was not used for ``_KEPT_S``."""
    for old in _BUILD.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - old.stat().st_mtime > _KEPT_S:
                shutil.rmtree(old, ignore_errors=True)


def _compile(interpreter: Path, folder: Path, place: str) -> None:
    inner = folder / "python" if (folder / "python").is_dir() else folder
    command = [str(interpreter), "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(inner), "-p", place, str(inner)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
    if done.returncode != 0:
        raise LayerBuildError(f"{folder.name} cannot be compiled:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")


def asset_hash(folder: Path) -> str:
    """Identity of an asset: that of its inputs, which its folder's name carries."""
    return hashlib.sha256(folder.name.encode()).hexdigest()
