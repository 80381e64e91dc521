"""Migrations run before the new code, while the code before them still works: no file takes away what that code uses.

docs/operations/upgrade.md says how such a change is made in two releases.
"""

import re

import pytest

from evpower.db.migrate import Migration, load_migrations
from evpower.db.sql_script import split_statements

# Together they make the first schema, or take over that of another system: no code of ours ran before them.
FIRST = {f"{number:04}" for number in range(15)}

_NO_COLUMN = "CONSTRAINT|COLUMN|NOT NULL|DEFAULT|EXPRESSION|IDENTITY"
_FORBIDDEN = {
    "takes a table or view away": r"^DROP (TABLE|VIEW|MATERIALIZED VIEW|SEQUENCE|SCHEMA)\b",
    "takes a function away": r"^DROP FUNCTION\b",
    "takes a column away": rf"^ALTER TABLE.*\bDROP (COLUMN\b|(?!{_NO_COLUMN})\w+)",
    "gives another name": r"^ALTER (TABLE|VIEW|FUNCTION|SEQUENCE|INDEX|TYPE).*\bRENAME\b",
    "changes a column's type": r"^ALTER TABLE.*\bALTER (COLUMN )?\w+ (SET DATA )?TYPE\b",
    "forbids NULL": r"^ALTER TABLE.*\bSET NOT NULL\b",
    "takes a default away": r"^ALTER TABLE.*\bDROP DEFAULT\b",
    "empties a table": r"^TRUNCATE\b",
}


def faults(text: str) -> list[str]:
    """What the code before this file could not live with."""
    found = []
    for statement in split_statements(text):
        plain = " ".join(re.sub(r"--[^\n]*", "", statement.text).split())
        found += [fault for fault, pattern in _FORBIDDEN.items() if re.search(pattern, plain, re.IGNORECASE)]
        if re.match(r"ALTER TABLE", plain, re.IGNORECASE):
            columns = re.findall(r"ADD COLUMN (?:IF NOT EXISTS )?((?:[^,(]|\([^)]*\))*)", plain, re.IGNORECASE)
            found += [
                "adds a column that an old INSERT leaves empty"
                for column in columns
                if re.search(r"NOT NULL", column, re.IGNORECASE)
                and not re.search(r"DEFAULT|GENERATED", column, re.IGNORECASE)
            ]
    return found


@pytest.mark.parametrize("migration", load_migrations(), ids=lambda migration: migration.path.name)
def test_the_code_before_it_goes_on_working(migration: Migration) -> None:
    if migration.version not in FIRST:
        assert faults(migration.text) == []


@pytest.mark.parametrize(
    "text",
    [
        "DROP TABLE clients;",
        "ALTER TABLE clients DROP COLUMN email;",
        "ALTER TABLE clients DROP email;",
        "ALTER TABLE clients RENAME COLUMN name TO title;",
        "ALTER TABLE clients\n    ALTER COLUMN name TYPE text;",
        "ALTER TABLE clients ALTER COLUMN name SET NOT NULL;",
        "ALTER TABLE clients ADD COLUMN kind text NOT NULL;",
        "ALTER TABLE clients ADD COLUMN a numeric(12, 2) NOT NULL DEFAULT 0, ADD COLUMN kind text NOT NULL;",
        "DROP FUNCTION evpower_now();",
        "TRUNCATE clients;",
    ],
)
def test_what_it_could_not_live_with_is_found(text: str) -> None:
    assert faults(text)


@pytest.mark.parametrize(
    "text",
    [
        "ALTER TABLE clients ADD COLUMN kind text NOT NULL DEFAULT 'a';",
        "ALTER TABLE clients ADD COLUMN kind text;",
        "ALTER TABLE clients DROP CONSTRAINT clients_name_check;",
        "ALTER TABLE clients ALTER COLUMN name DROP NOT NULL;",
        "CREATE TABLE new (id text PRIMARY KEY, kind text NOT NULL);",
        "DROP INDEX clients_name_idx;",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DROP TABLE old; END $$;",
    ],
)
def test_what_it_can_live_with_passes(text: str) -> None:
    assert faults(text) == []
