"""Applies the plain-SQL migrations of `evpower/db/migrations` in order, each in its own transaction.

Rules (design.md §3, "Transactions"):

- One runner at a time per database: every migration takes `pg_advisory_xact_lock` before it looks at what is applied,
  so several instances may start at once.
- A file that was applied never changes: its checksum is stored and a difference stops the run.
- A failure rolls the whole file back and says which file, line and statement.
- Nothing of the session survives a transaction, so the runner works through a transaction-mode pooler.

Run by hand: `python -m evpower.db.migrate [--dsn DSN] [--target 0003]` (default DSN: `DATABASE_URL`). The login must
own the schema; the application's roles cannot migrate.
"""

import argparse
import asyncio
import hashlib
import logging
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.errors import Diagnostic
from psycopg.rows import tuple_row

from evpower.db.bounded import KEEP_ALIVE
from evpower.db.sql_script import Statement, split_statements

MIGRATIONS = Path(__file__).parent / "migrations"

# Any fixed number will do; it only has to differ from other users of advisory locks in the same database.
_LOCK_KEY = 4_807_221_031
# Use case: a migration waits for a table that traffic holds; everything behind it would queue. Better to fail.
_LOCK_TIMEOUT = "60s"
_FILE_NAME = re.compile(r"^(?P<version>\d{4})_(?P<name>[a-z0-9_]+)\.sql$")
_COLUMNS = {"version", "name", "checksum", "applied_at"}

_log = logging.getLogger(__name__)

Connection = psycopg.AsyncConnection[tuple[object, ...]]


class MigrationError(Exception):
    """The database cannot be brought to this code's schema; the message says which file and why."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of the migrations folder."""

    version: str
    name: str
    path: Path
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text; line ends do not count (a checkout on Windows must not look like a change)."""
        return hashlib.sha256(self.text.replace("\r\n", "\n").encode()).hexdigest()


def load_migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """All migrations of a folder, in order.

    Errors: `MigrationError` for a wrongly named SQL file, a version used twice, or an empty folder.
    """
    found: dict[str, Migration] = {}
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.match(path.name)
        if match is None:
            raise MigrationError(f"{path.name}: a migration is named NNNN_lower_case_words.sql")
        version = match["version"]
        if version in found:
            raise MigrationError(f"{path.name}: version {version} is already used by {found[version].path.name}")
        found[version] = Migration(version, match["name"], path, path.read_text(encoding="utf-8"))
    if not found:
        raise MigrationError(f"no migrations in {folder}")
    return list(found.values())


async def migrate(dsn: str, *, target: str | None = None, folder: Path = MIGRATIONS) -> list[str]:
    """Bring the database at `dsn` to the newest schema, or to the version `target`.

    Returns the versions applied by this call (empty when there was nothing to do). Safe to call again and to call from
    several processes at once. Errors: `MigrationError`; `psycopg.OperationalError` when the server cannot be reached.
    """
    migrations = load_migrations(folder)
    if target is not None:
        if target not in {migration.version for migration in migrations}:
            raise MigrationError(f"there is no migration {target}")
        migrations = [migration for migration in migrations if migration.version <= target]
    applied: list[str] = []
    async with await psycopg.AsyncConnection.connect(
        dsn, autocommit=True, prepare_threshold=None, row_factory=tuple_row, client_encoding="UTF8", **KEEP_ALIVE
    ) as conn:
        conn.add_notice_handler(_log_notice)
        await _prepare(conn)
        for migration in migrations:
            if await _apply(conn, migration, migrations):
                applied.append(migration.version)
                _log.info("applied %s", migration.path.name)
        if target is None:
            await _warn_about_newer(conn, migrations)
    return applied


def _log_notice(diagnostic: Diagnostic) -> None:
    level = logging.WARNING if diagnostic.severity_nonlocalized == "WARNING" else logging.INFO
    _log.log(level, "%s", diagnostic.message_primary)


async def _prepare(conn: Connection) -> None:
    """Make the table of applied migrations, unless it is there."""
    async with conn.transaction():
        await _lock(conn)
        columns = await _rows(
            conn,
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND table_name = 'schema_migrations'",
        )
        if columns:
            missing = _COLUMNS - {str(row[0]) for row in columns}
            if missing:
                raise MigrationError(
                    "public.schema_migrations belongs to another tool (it has no "
                    + ", ".join(sorted(missing))
                    + "): rename it before migrating"
                )
            return
        await conn.execute(
            "CREATE TABLE public.schema_migrations ("
            " version text PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
        # Use case: Supabase serves every table of `public` by REST and grants new ones to anon by default.
        await conn.execute("ALTER TABLE public.schema_migrations ENABLE ROW LEVEL SECURITY")
        await conn.execute("ALTER TABLE public.schema_migrations FORCE ROW LEVEL SECURITY")
        await conn.execute("REVOKE ALL ON public.schema_migrations FROM PUBLIC")
        await conn.execute(
            "DO $$ DECLARE r text; BEGIN"
            " FOR r IN SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated', 'service_role')"
            " LOOP EXECUTE format('REVOKE ALL ON public.schema_migrations FROM %I', r); END LOOP; END $$"
        )
        owner = await _rows(conn, "SELECT current_user")
        # FORCE binds the owner too; an owner without BYPASSRLS (RDS) would see no rows and run everything again.
        await conn.execute(
            sql.SQL(
                "CREATE POLICY schema_migrations_owner ON public.schema_migrations TO {} USING (true) WITH CHECK (true)"
            ).format(sql.Identifier(str(owner[0][0])))
        )


async def _apply(conn: Connection, migration: Migration, known: Sequence[Migration]) -> bool:
    """Apply one migration in one transaction; false when it was applied before."""
    async with conn.transaction():
        await _lock(conn)
        rows = await _rows(conn, "SELECT version, name, checksum FROM public.schema_migrations")
        applied = {str(version): (str(name), str(checksum)) for version, name, checksum in rows}
        _check(applied, migration, known)
        if migration.version in applied:
            return False
        await conn.execute(
            "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', '0', true),"
            " set_config('idle_in_transaction_session_timeout', '0', true)",
            (_LOCK_TIMEOUT,),
        )
        for statement in split_statements(migration.text):
            try:
                await conn.execute(statement.text.encode())
            except psycopg.Error as error:
                raise MigrationError(_describe(migration, statement, error)) from error
        await conn.execute(
            "INSERT INTO public.schema_migrations (version, name, checksum) VALUES (%s, %s, %s)",
            (migration.version, migration.name, migration.checksum),
        )
    return True


def _check(applied: dict[str, tuple[str, str]], migration: Migration, known: Sequence[Migration]) -> None:
    """Refuse a history that this code did not write."""
    if migration.version in applied:
        name, checksum = applied[migration.version]
        if (name, checksum) != (migration.name, migration.checksum):
            raise MigrationError(
                f"{migration.path.name} was changed after it had been applied as {migration.version}_{name}"
                f" (checksum {checksum[:12]}, now {migration.checksum[:12]}): write a new migration instead"
            )
        return
    newest = max(applied, default="")
    if newest > migration.version:
        raise MigrationError(f"{migration.path.name} is older than {newest}, which is already applied: renumber it")
    unknown = set(applied) - {other.version for other in known}
    if unknown:
        raise MigrationError(f"the database has migrations that this code does not know: {', '.join(sorted(unknown))}")


async def _warn_about_newer(conn: Connection, known: Sequence[Migration]) -> None:
    """Use case: code was rolled back. Migrations stay backward compatible, so older code runs on the newer schema."""
    rows = await _rows(
        conn, "SELECT version FROM public.schema_migrations WHERE version > %s ORDER BY version", known[-1].version
    )
    if rows:
        _log.warning("the database is newer than this code: %s", ", ".join(str(row[0]) for row in rows))


async def _lock(conn: Connection) -> None:
    await conn.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK_KEY,))


async def _rows(conn: Connection, query: str, *parameters: object) -> list[tuple[object, ...]]:
    cursor = await conn.execute(query.encode(), parameters or None)
    return await cursor.fetchall()


def _describe(migration: Migration, statement: Statement, error: psycopg.Error) -> str:
    """File, statement, line and PostgreSQL's own words."""
    diagnostic = error.diag
    line = statement.line
    if diagnostic.statement_position:
        line += statement.text[: int(diagnostic.statement_position) - 1].count("\n")
    parts = [
        f"{migration.path.name}, statement {statement.number} (line {statement.line}), near line {line}: "
        f"{diagnostic.message_primary or error}"
    ]
    for label, text in (
        ("detail", diagnostic.message_detail),
        ("hint", diagnostic.message_hint),
        ("context", diagnostic.context),
    ):
        if text:
            parts.append(f"{label}: {text}")
    first_line = statement.text.strip().splitlines()[0]
    parts.append(f"statement: {first_line[:160]}")
    return "\n  ".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the process's exit code."""
    parser = argparse.ArgumentParser(
        prog=os.environ.get("EVPOWER_PROG", "python -m evpower.db.migrate"),  # how the caller was called
        description="Bring the database to the current schema.",
    )
    parser.add_argument("--dsn", default=os.environ.get("DATABASE_URL"), help="owner's login (default: DATABASE_URL)")
    parser.add_argument("--target", help="stop after this version, such as 0003")
    options = parser.parse_args(arguments)
    if not options.dsn:
        parser.error("give --dsn or set DATABASE_URL")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        applied = asyncio.run(migrate(options.dsn, target=options.target))
    except (MigrationError, psycopg.OperationalError) as error:
        sys.stderr.write(f"migration failed: {error}\n")
        return 1
    sys.stdout.write(f"applied: {', '.join(applied)}\n" if applied else "nothing to apply\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
