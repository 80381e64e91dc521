"""Runbooks and alarms belong together, and what a page names exists."""

import re
from pathlib import Path

import pytest

from evpower.config import Settings
from evpower.metric_names import CATALOGUE
from functions.api.app import create_api
from functions.api.deps import build_deps
from infra import observability
from infra.environment import Environment
from tests.fakes.monitored import monitored

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "docs/operations/runbooks"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
HEADINGS = ["## Check first", "## Act", "## Escalate", "## After"]
ALARMS = observability.alarms(monitored())
AWS_LINES = {"Task timed out", "Runtime."}
# Metrics of AWS, and words of OCPP, that pages name beside ours.
FOREIGN = {
    "ConcurrentExecutions",
    "EMFParsingErrors",
    "ConnectionTimeOut",
    "TryLater",
    "Refused",
    "Unreachable",
    "Unknown",
}


def test_every_alarm_has_a_page_and_every_page_an_alarm() -> None:
    assert {path.stem for path in PAGES} == {alarm.page for alarm in ALARMS}
    names = [alarm.name for alarm in ALARMS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_tells_what_to_do(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# ")
    assert "**Symptom.** " in text
    assert "**Who feels it.** " in text
    positions = [text.index(f"\n{heading}\n") for heading in HEADINGS]
    assert positions == sorted(positions)
    sections = re.split(r"\n## .*\n", text)[1:]
    assert all(section.strip() for section in sections)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_what_a_page_names_exists(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    quoted = set(re.findall(r"`([^`\n]+)`", text))
    metrics = {name for name in quoted if re.fullmatch(r"[A-Z][a-z]+(?:[A-Z][a-z]+)+", name)} - FOREIGN
    assert metrics <= CATALOGUE.keys(), metrics - CATALOGUE.keys()
    settings = {name for name in quoted if re.fullmatch(r"[A-Z]+(?:_[A-Z]+)+", name)} - {
        "POWERTOOLS_METRICS_NAMESPACE",
        "NO_CONNECTION",
    }
    assert {name.lower() for name in settings} <= Settings.model_fields.keys()
    for name in ("api_concurrency", "webhook_concurrency", "database_proxy", "tasks_max", "task_cpu", "task_memory_mb"):
        assert name not in quoted or name in Environment.model_fields
    for linked in re.findall(r"(?:see|alarms?|with) ((?:[a-z]+-)+[a-z]+)", text):
        assert any(linked in {alarm.name, alarm.page} for alarm in ALARMS), linked


def test_log_lines_of_the_pages_are_written_by_the_code() -> None:
    code = "\n".join(
        path.read_text()
        for folder in ("functions", "socket_tier", "layers/evpower/python/evpower")
        for path in (ROOT / folder).rglob("*.py")
    )
    found = 0
    for path in [*PAGES, FOLDER / "README.md"]:
        text = path.read_text()
        named = re.findall(r"message (?:=|like) '([^']+)'", text) + re.findall(r"[Ll]og lines? `([^`]+)`", text)
        for line in named + re.findall(r"a line `([^`]+)`", text):
            if line in AWS_LINES:
                continue
            found += 1
            assert line in code, (path.name, line)
    assert found > 15


def test_routes_of_the_pages_exist() -> None:
    known = {
        (method.upper(), path)
        for path, methods in create_api(build_deps(Settings())).openapi()["paths"].items()
        for method in methods
    }
    named = {
        (match[0], match[1])
        for path in PAGES
        for match in re.findall(r"`(GET|POST|PUT|DELETE) (/api/[^`? ]+)`", path.read_text())
    }
    assert len(named) > 10
    assert named - known == set()
