"""docs/operations/field-reports.md lists every report that is played, once, with its sources."""

import re
from pathlib import Path

from tests.integration.field_reports import (
    test_configuration,
    test_connections,
    test_messages,
    test_meters,
    test_status,
    test_transactions,
)
from tests.integration.field_reports.replay import Report

PAGE = Path(__file__).resolve().parents[3] / "docs/operations/field-reports.md"
TABLES: dict[str, tuple[Report | test_connections.Upgrade, ...]] = {
    "test_messages.py": test_messages.REPORTS,
    "test_meters.py": test_meters.REPORTS,
    "test_transactions.py": test_transactions.REPORTS,
    "test_status.py": test_status.REPORTS,
    "test_configuration.py": test_configuration.REPORTS,
    "test_connections.py": (*test_connections.UPGRADES, *test_connections.FRAMES, *test_connections.SOCKETS),
}


def test_every_report_has_its_row() -> None:
    rows = re.findall(r"^\| (\[.*) \| `(test_\w+\.py)` `(\w+)` \|$", PAGE.read_text(), re.MULTILINE)
    listed = {(file, name): re.findall(r"\[([^]]+#\d+)\]", text) for text, file, name in rows}
    assert len(listed) == len(rows)
    assert listed == {
        (file, report.name): report.source.split(", ") for file, reports in TABLES.items() for report in reports
    }


def test_the_page_counts_what_it_lists() -> None:
    page = PAGE.read_text()
    cells = re.findall(r" \| ([^|]+) \| `test_\w+\.py` `\w+` \|$", page, re.MULTILINE)
    right = cells.count("right")
    assert f"Of these {len(cells)}, {right} came out right when they were first played and {len(cells) - right}" in page
