"""The splitter must find the same statements as PostgreSQL's own lexer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.db.migrate import MIGRATIONS
from evpower.db.sql_script import split_statements


def texts(script: str) -> list[str]:
    return [statement.text for statement in split_statements(script)]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("", []),
        (" ;; \n;", []),
        ("-- only a comment\n", []),
        ("/* only /* a nested */ comment */", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1; SELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';', 'it''s; fine'; SELECT 2", ["SELECT ';', 'it''s; fine'", "SELECT 2"]),
        ("SELECT E'a\\';b'; SELECT 2", ["SELECT E'a\\';b'", "SELECT 2"]),
        ("SELECT 'a\\'; SELECT 2", ["SELECT 'a\\'", "SELECT 2"]),
        ('SELECT 1 AS "a;b"; SELECT 2', ['SELECT 1 AS "a;b"', "SELECT 2"]),
        ("SELECT 1 -- one; two\n; SELECT 2", ["SELECT 1 -- one; two", "SELECT 2"]),
        ("/* a; /* b; */ c; */ SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("DO $$ BEGIN NULL; END $$; SELECT 2", ["DO $$ BEGIN NULL; END $$", "SELECT 2"]),
        ("DO $a$ SELECT '$$;'; $$ ; $a$; SELECT 2", ["DO $a$ SELECT '$$;'; $$ ; $a$", "SELECT 2"]),
        ("SELECT a$b$c; SELECT 2", ["SELECT a$b$c", "SELECT 2"]),
        ("SELECT 'never closed; SELECT 2", ["SELECT 'never closed", "SELECT 2"]),
        ("DO $$ never closed; SELECT 2", ["DO $$ never closed; SELECT 2"]),
    ],
)
def test_statements(script: str, expected: list[str]) -> None:
    assert texts(script) == expected


def test_numbers_and_lines_point_at_the_statement_itself() -> None:
    script = "-- head\n\nCREATE TABLE a ();\n/* two\nlines */\nDO $$\nBEGIN\nEND $$;\nSELECT 1;"
    assert [(s.number, s.line) for s in split_statements(script)] == [(1, 3), (2, 6), (3, 9)]


_PIECES = st.sampled_from(
    ["SELECT 1", "';'", "'a''b;'", "E'\\';'", '"x;y"', "$$ ; $$", "$q$ ; $$ ; $q$", "-- c;\n", "/* ; /* ; */ */", " \n"]
)


@given(st.lists(st.lists(_PIECES, max_size=6).map(" ".join), max_size=6))
def test_only_bare_semicolons_separate(statements: list[str]) -> None:
    script = ";".join(statements)
    found = texts(script)
    meaningful = [text for text in statements if texts(text)]
    assert len(found) == len(meaningful)
    for text, original in zip(found, meaningful, strict=True):
        assert original.rstrip().endswith(text)


def test_every_migration_of_the_product_splits_at_its_own_lines() -> None:
    for path in sorted(MIGRATIONS.glob("*.sql")):
        script = path.read_text(encoding="utf-8")
        for statement in split_statements(script):
            assert statement.text.count("$$") % 2 == 0, f"{path.name}: line {statement.line}"
            first_line = statement.text.splitlines()[0]
            assert first_line in script.splitlines()[statement.line - 1], f"{path.name}: line {statement.line}"
