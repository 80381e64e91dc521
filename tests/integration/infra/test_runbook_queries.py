"""Every SQL statement of the runbooks runs on the present schema, and only reads."""

import re
from pathlib import Path

import psycopg
import pytest

FOLDER = Path(__file__).resolve().parents[3] / "docs/operations/runbooks"
QUERIES = [
    (path.stem, query)
    for path in sorted(FOLDER.glob("*.md"))
    for query in re.findall(r"```sql\n(.*?)```", path.read_text(), flags=re.DOTALL)
]


def test_there_are_queries() -> None:
    assert len(QUERIES) > 15


@pytest.mark.parametrize(("page", "query"), QUERIES, ids=[f"{page}-{n}" for n, (page, _) in enumerate(QUERIES)])
def test_a_query_of_a_runbook_runs(database_url: str, page: str, query: str) -> None:
    with psycopg.connect(database_url) as conn:
        conn.read_only = True
        assert conn.execute(query.encode()).description
