"""The migration runner on a real server."""

import asyncio
import logging
from pathlib import Path

import psycopg
import pytest

from evpower.db.migrate import MIGRATIONS, MigrationError, load_migrations, main, migrate

ALL = [migration.version for migration in load_migrations()]


def folder_with(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / f"{name.removeprefix('m')}.sql").write_text(text, encoding="utf-8")
    return tmp_path


def rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as conn:
        return conn.execute(query.encode()).fetchall()


async def test_migrates_an_empty_database_and_then_has_nothing_to_do(empty_database_url: str) -> None:
    assert await migrate(empty_database_url) == ALL
    assert await migrate(empty_database_url) == []
    recorded = rows(empty_database_url, "SELECT version, name FROM schema_migrations ORDER BY version")
    assert recorded == [(m.version, m.name) for m in load_migrations()]


async def test_four_runners_at_once_apply_every_file_once(empty_database_url: str) -> None:
    results = await asyncio.gather(*(migrate(empty_database_url) for _ in range(4)))
    assert sorted(version for result in results for version in result) == ALL


async def test_stops_at_the_target_and_goes_on_later(empty_database_url: str) -> None:
    assert await migrate(empty_database_url, target="0003") == ["0000", "0001", "0002", "0003"]
    assert await migrate(empty_database_url) == [version for version in ALL if version > "0003"]
    with pytest.raises(MigrationError, match="there is no migration 9999"):
        await migrate(empty_database_url, target="9999")


async def test_a_failure_names_the_place_and_leaves_nothing_of_its_file(
    empty_database_url: str, tmp_path: Path
) -> None:
    folder = folder_with(
        tmp_path,
        m0001_good="CREATE TABLE kept (id int);",
        m0002_bad="CREATE TABLE gone (id int);\n\n-- why\nSELECT 1,\n       no_such_column\n  FROM kept;\n",
    )
    with pytest.raises(MigrationError) as failure:
        await migrate(empty_database_url, folder=folder)
    assert "0002_bad.sql, statement 2 (line 4), near line 5" in str(failure.value)
    assert 'column "no_such_column" does not exist' in str(failure.value)
    assert rows(empty_database_url, "SELECT to_regclass('kept') IS NULL, to_regclass('gone') IS NULL") == [
        (False, True)
    ]
    assert rows(empty_database_url, "SELECT version FROM schema_migrations") == [("0001",)]


async def test_an_error_inside_a_block_shows_where(empty_database_url: str, tmp_path: Path) -> None:
    folder = folder_with(
        tmp_path, m0001_block="DO $$\nBEGIN\n  RAISE EXCEPTION 'counts differ' USING DETAIL = '3 and 4';\nEND $$;"
    )
    with pytest.raises(MigrationError) as failure:
        await migrate(empty_database_url, folder=folder)
    assert "statement 1" in str(failure.value)
    assert "counts differ" in str(failure.value)
    assert "3 and 4" in str(failure.value)
    assert "line 3 at RAISE" in str(failure.value)


async def test_an_applied_file_must_not_change(empty_database_url: str, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, m0001_first="SELECT 1;\n")
    await migrate(empty_database_url, folder=folder)
    (tmp_path / "0001_first.sql").write_bytes(b"SELECT 1;\r\n")
    assert await migrate(empty_database_url, folder=folder) == []  # only the line ends
    (tmp_path / "0001_first.sql").write_text("SELECT 2;\n")
    with pytest.raises(MigrationError, match="was changed after it had been applied"):
        await migrate(empty_database_url, folder=folder)


async def test_a_file_below_the_newest_applied_one_is_refused(empty_database_url: str, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, m0001_first="SELECT 1;", m0003_third="SELECT 3;")
    await migrate(empty_database_url, folder=folder)
    folder_with(tmp_path, m0002_late="SELECT 2;")
    with pytest.raises(MigrationError, match=r"0002_late\.sql is older than 0003"):
        await migrate(empty_database_url, folder=folder)


async def test_older_code_accepts_a_newer_database_but_not_a_stranger(
    empty_database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = folder_with(tmp_path, m0001_first="SELECT 1;", m0002_second="SELECT 2;", m0003_third="SELECT 3;")
    await migrate(empty_database_url, folder=folder)
    (tmp_path / "0003_third.sql").unlink()
    with caplog.at_level(logging.WARNING):
        assert await migrate(empty_database_url, folder=folder) == []
    assert "newer than this code: 0003" in caplog.text

    (tmp_path / "0001_first.sql").unlink()
    folder_with(tmp_path, m0004_fourth="SELECT 4;")
    with pytest.raises(MigrationError, match="does not know: 0001, 0003"):
        await migrate(empty_database_url, folder=folder)


async def test_a_table_of_another_migration_tool_is_not_touched(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean)")
    with pytest.raises(MigrationError, match="belongs to another tool"):
        await migrate(empty_database_url)


async def test_somebody_elses_tables_are_not_taken_for_an_earlier_evpower(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute("CREATE TABLE users (id int PRIMARY KEY)")
    with pytest.raises(MigrationError, match="it is no EvPower database"):
        await migrate(empty_database_url)
    assert rows(empty_database_url, "SELECT to_regclass('public.users') IS NULL") == [(False,)]


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"m1_short": ""}, "named NNNN_"),
        ({"m0001_one": "", "m0001_two": ""}, "already used"),
        ({}, "no migrations"),
    ],
)
def test_a_folder_must_be_in_order(tmp_path: Path, files: dict[str, str], complaint: str) -> None:
    with pytest.raises(MigrationError, match=complaint):
        load_migrations(folder_with(tmp_path, **files))


def test_command_line(
    empty_database_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A function module that another test imported sends the root logger's lines to standard output.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    assert main(["--dsn", empty_database_url, "--target", "0001"]) == 0
    assert capsys.readouterr().out == "applied: 0000, 0001\n"
    assert main(["--dsn", empty_database_url, "--target", "0001"]) == 0
    assert capsys.readouterr().out == "nothing to apply\n"
    assert main(["--dsn", empty_database_url, "--target", "0001x"]) == 1
    assert "there is no migration" in capsys.readouterr().err


def test_unreachable_server_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dsn", "postgresql://nobody@127.0.0.1:1/none"]) == 1
    assert "migration failed" in capsys.readouterr().err


def test_files_stay_small() -> None:
    for path in MIGRATIONS.glob("*.sql"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 400, path.name
