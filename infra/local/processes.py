"""Child processes of the local system: start, watch, stop; a child never outlives the process that started it."""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

LOOPBACK = "127.0.0.1"
ROOT = Path(__file__).resolve().parents[2]
_PR_SET_PDEATHSIG = 1


class LocalSystemError(Exception):
    """Something on this machine keeps the local system from running; the text is meant for the user."""


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def require_port(port: int, purpose: str) -> None:
    """Raise :class:`LocalSystemError` when ``port`` cannot be listened on: taken, reserved, or no port number."""
    if not 0 < port < 65536:
        raise LocalSystemError(f"{port} is no port for the {purpose}: choose one between 1024 and 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except PermissionError as exc:
            raise LocalSystemError(f"port {port} ({purpose}) is reserved for root: choose one from 1024 up") from exc
        except OSError as exc:
            raise LocalSystemError(
                f"port {port} ({purpose}) is taken on {LOOPBACK}: stop what listens there (another ./dev up?), "
                "or choose another port with --port"
            ) from exc


def accepts_connections(port: int, host: str = LOOPBACK) -> bool:
    """Whether something accepts TCP connections on ``host:port``."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def _die_with_parent(death_signal: int, parent: int | None = None) -> Callable[[], None] | None:
    """Hook that makes the kernel signal the child when its parent dies, however that happens (Linux only).

    Elsewhere a crash of the parent leaves the child to the normal clean-up at the next start.
    """
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = parent or os.getpid()

    def hook() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:  # the parent died between fork and prctl
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def end_with_parent() -> None:
    """Let the kernel send us SIGTERM when the process that started us ends, however that happens (Linux only)."""
    if hook := _die_with_parent(signal.SIGTERM, parent=os.getppid()):
        hook()


class Child:
    """One child process in a session of its own (Ctrl-C reaches only us; we stop children in order).

    Output goes to ``log``. The kernel ties the child to the *thread* that starts it: call :meth:`start` from a thread
    that lives as long as the child should.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        death_signal: int = signal.SIGKILL,
        user: tuple[int, int] | None = None,
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = log
        self._env = dict(env) if env is not None else None
        self._cwd = cwd
        self._death_signal = death_signal
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; raises :class:`LocalSystemError` when the program cannot be run."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        identity = {"user": self._user[0], "group": self._user[1], "extra_groups": []} if self._user else {}
        with self.log.open("ab") as output:
            try:
                self._process = subprocess.Popen(  # type: ignore[call-overload]
                    self.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=self._env,
                    cwd=self._cwd,
                    start_new_session=True,
                    preexec_fn=_die_with_parent(self._death_signal),
                    **identity,
                )
            except (OSError, subprocess.SubprocessError) as exc:
                raise LocalSystemError(f"cannot start {self.name}: {exc}") from exc

    @property
    def pid(self) -> int:
        if self._process is None:
            raise LocalSystemError(f"{self.name} was not started")
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit status; negative = killed by that signal; None = running, or not started."""
        return self._process.poll() if self._process else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self, signum: int = signal.SIGKILL) -> None:
        """Send ``signum``; nothing happens when the process has ended."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    async def wait(self) -> int:
        """Wait for the end without blocking the loop; the exit status."""
        assert self._process is not None
        try:
            descriptor = os.pidfd_open(self._process.pid)
        except (AttributeError, OSError):  # no pidfd on this system, or the child has been reaped already
            while self._process.poll() is None:
                await asyncio.sleep(0.05)
            return int(self._process.returncode)
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return int(self._process.wait())

    def join(self) -> int:
        """Block until the process ends; its exit status."""
        assert self._process is not None
        return self._process.wait()

    def stop(self, signum: int = signal.SIGTERM, *, timeout_s: float = 10.0) -> None:
        """Ask the process to end, and kill it when it has not done so after ``timeout_s`` (blocking)."""
        if self._process is None:
            return
        self.kill(signum)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()

    async def stop_async(self, signum: int = signal.SIGTERM, *, timeout_s: float = 10.0) -> None:
        """:meth:`stop` without blocking the loop."""
        if self._process is None:
            return
        self.kill(signum)
        try:
            await asyncio.wait_for(self.wait(), timeout_s)
        except TimeoutError:
            self.kill()
            await self.wait()

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the process's output."""
        try:
            text = self.log.read_bytes()[-16_384:].decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def wait_ready(self, ready: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
        """Block until ``ready()``; raise with the end of the log when the process dies or the time is up."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not self.alive:
                raise LocalSystemError(f"{self.name} ended at start (status {self.returncode}):\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.stop(timeout_s=2)
                raise LocalSystemError(f"{self.name} was not ready after {timeout_s:.0f} s:\n{self.log_tail()}")
            time.sleep(0.02)

    async def wait_ready_async(self, ready: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
        """:meth:`wait_ready` without blocking the loop."""
        deadline = time.monotonic() + timeout_s
        while not await asyncio.to_thread(ready):
            if not self.alive:
                raise LocalSystemError(f"{self.name} ended at start (status {self.returncode}):\n{self.log_tail()}")
            if time.monotonic() > deadline:
                await self.stop_async(timeout_s=2)
                raise LocalSystemError(f"{self.name} was not ready after {timeout_s:.0f} s:\n{self.log_tail()}")
            await asyncio.sleep(0.05)
