"""LocalStack in host mode (no Docker): its own virtual environment, started on a free loopback port.

The last versions that start without an account token are pinned in requirements/localstack.txt. Lambda functions run as
processes of this interpreter (:mod:`infra.local.localstack_executor`), with its installed packages.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from infra.installing import uv_install
from infra.local import scratch
from infra.local.processes import LOOPBACK, ROOT, Child, LocalSystemError, free_port

_VENV = Path(os.environ.get("EVPOWER_LOCALSTACK_VENV", ROOT / ".venv-localstack"))
_REQUIREMENTS = ROOT / "requirements" / "localstack.txt"
_EXECUTOR = "process"
PYTHON_SETTING = "EVPOWER_FUNCTION_PYTHON"  # read by infra.local.localstack_executor.executor


def python() -> Path:
    """The interpreter of LocalStack's virtual environment, which is made when it is missing or out of date."""
    if given := os.environ.get("EVPOWER_LOCALSTACK_PYTHON"):
        return Path(given)
    interpreter = _VENV / "bin" / "python"
    stamp = _VENV / ".stamp"
    wanted = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest() + f" {sys.version_info[:2]}"
    if interpreter.exists() and stamp.exists() and stamp.read_text() == wanted:
        return interpreter
    print(f"test: installing LocalStack into {_VENV} (the first time takes a few minutes)", file=sys.stderr, flush=True)
    shutil.rmtree(_VENV, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(_VENV)], check=True)
    if importlib.util.find_spec("uv"):  # several times faster than pip
        done = uv_install("--python", str(interpreter), "--require-hashes", "-r", str(_REQUIREMENTS))
    else:
        command = [str(interpreter), "-m", "pip", "install", "-q", "--no-input", "--require-hashes"]
        done = subprocess.run([*command, "-r", str(_REQUIREMENTS)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LocalSystemError(f"LocalStack cannot be installed:\n{done.stderr[-2000:]}")
    stamp.write_text(wanted)
    return interpreter


def _install_executor(directory: Path) -> Path:
    """A folder for PYTHONPATH in which LocalStack finds the entry point of our runtime executor."""
    plugins = directory / "plugins"
    metadata = plugins / "evpower_localstack_executor-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: evpower-localstack-executor\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "[localstack.lambda.runtime_executor]\n"
        f"{_EXECUTOR} = infra.local.localstack_executor.executor:ProcessExecutorPlugin\n"
    )
    return plugins


class LocalStack:
    """One LocalStack; everything that it writes is in a temporary directory."""

    def __init__(self) -> None:
        self.port = free_port()
        # Thousands of files: each function's code and layers are unpacked here.
        self._directory = scratch.make("evpower-localstack", in_memory=True)
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> Self:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "PYTHONPATH"))}
        environment |= {
            "HOME": str(self._directory),
            "OVERRIDE_IN_DOCKER": "0",
            "GATEWAY_SERVER": "hypercorn",  # the default server binds every interface
            "GATEWAY_LISTEN": f"{LOOPBACK}:{self.port}",
            "LOCALSTACK_HOST": f"{LOOPBACK}:{self.port}",  # in the URLs that it gives out
            "SQS_ENDPOINT_STRATEGY": "path",
            "FILESYSTEM_ROOT": str(self._directory),
            "DNS_ADDRESS": "0",
            "DISABLE_EVENTS": "1",
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "TMPDIR": str(self._directory),  # unpacked functions and layers
            "PYTHONPATH": os.pathsep.join([str(_install_executor(self._directory)), str(ROOT)]),
            "LAMBDA_RUNTIME_EXECUTOR": _EXECUTOR,
            PYTHON_SETTING: sys.executable,
            "LAMBDA_RUNTIME_ENVIRONMENT_TIMEOUT": "60",  # AWS gives an init 10 s; a busy laptop gets more
            "LAMBDA_EVENT_SOURCE_MAPPING_MAX_BACKOFF_ON_EMPTY_POLL_SEC": "1",
            "SQS_CLOUDWATCH_METRICS_REPORT_INTERVAL": "10",
        }
        self._child = Child(
            "localstack",
            [str(python()), "-m", "localstack.runtime.main"],
            log=self._directory / "localstack.log",
            env=environment,
            cwd=self._directory,
        )
        self._child.start()
        self._child.wait_ready(self._answers, timeout_s=120)
        return self

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_localstack/health", timeout=2) as response:  # noqa: S310 - ours
                return int(response.status) == 200
        except (OSError, urllib.error.URLError):
            return False

    def kill(self) -> None:
        """End it as a crash would."""
        if self._child is not None:
            self._child.kill()

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop(timeout_s=3)  # it has nothing to save; its functions end with it, however it ends
        scratch.remove(self._directory)
