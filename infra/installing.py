"""Installing pinned packages into a folder or another environment with uv, as ``./dev`` does for its own."""

import os
import subprocess
import sys


def uv_install(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``uv pip install`` with these arguments; the caller looks at the exit status.

    Use case: a company's proxy opens TLS, and only this machine's own store knows its authority. uv brings its own
    authorities, so a refused certificate is tried once more with those of the machine.
    """
    environment = dict(os.environ)
    if index := environment.get("UV_INDEX_URL") or environment.get("PIP_INDEX_URL"):
        environment["UV_INDEX_URL"] = index
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", *arguments]
    done = _run(command, environment)
    if done.returncode != 0 and "certificate" in done.stderr.lower():
        done = _run(command, environment | {"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"})
    return done


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own arguments
        command, capture_output=True, text=True, check=False, env=environment
    )
