"""SQL compares letter case by stored columns (``..._folded``), never by upper() or lower() of a column.

Under row level security such a filter cannot use an index (docs/decisions/0016). Folding a parameter is fine.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
SOURCES = ("layers/evpower/python", "functions", "socket_tier")
# of anything but a placeholder
_FOLDED = re.compile(r"\b(?:upper|lower|initcap)\s*\(\s*(?!%s|%\(\w+\)s)", re.IGNORECASE)


def sql_texts(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every string in the source that is no docstring; of f-strings their constant parts."""
    tree = ast.parse(source)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and id(node) not in docstrings:
            yield node.lineno, (node.value.decode(errors="replace") if isinstance(node.value, bytes) else node.value)


def folded_columns(source: str) -> list[int]:
    """Lines of strings that fold a column."""
    return [line for line, text in sql_texts(source) if _FOLDED.search(text)]


def test_no_sql_folds_a_column() -> None:
    paths = [path for folder in SOURCES for path in (ROOT / folder).rglob("*.py")]
    assert len([path for path in paths if "repository" in path.parts or path.name == "repository.py"]) > 20
    found = {
        str(path.relative_to(ROOT)): lines
        for path in paths
        if (lines := folded_columns(path.read_text(encoding="utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('q = "SELECT 1 FROM id_tags WHERE upper(id_tag) = upper(%s)"', [1]),
        ('q = f"{x} AND LOWER( t.code) = %(code)s"', [1]),
        ('q = b"... ON upper(i.id_tag) = e.id_tag"', [1]),
        ('q = "WHERE trim(lower(name)) = %s"', [1]),
        ('q = "WHERE id_tag_folded = upper(%s) AND code_folded = lower(%(code)s)"', []),
        ('def f():\n    """By upper(id_tag)."""\n    return "x".upper()', []),
    ],
)
def test_such_filters_are_told_from_others(source: str, lines: list[int]) -> None:
    assert folded_columns(source) == lines
