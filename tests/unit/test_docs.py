"""Links of the documentation lead somewhere, and commands that it names exist."""

import re
from pathlib import Path

import pytest

from evpower.config import Settings
from functions.api.app import create_api
from functions.api.deps import build_deps
from infra.environment import Environment
from infra.settings import FROM_RESOURCES, NAMES, SECRET_KEYS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OPERATIONS = sorted((ROOT / "docs/operations").glob("*.md"))
COLUMNS = {"answers_pings", "registration_status"}
# Of AWS, of the build, of the Compose file, and variables that are no setting.
OTHER_NAMES = {
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "EVPOWER_LAMBDA_PYTHON",
    "INSUFFICIENT_DATA",
    "LIMIT_ANY",
    "POWERTOOLS_METRICS_NAMESPACE",
    "PUBLIC_HOST",
    "SOCKET_TIER_IMAGE",
    "VALKEY_PASSWORD",
}
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+(?:\([^()]*\))?)\)")


def anchors(page: Path) -> set[str]:
    """Names that GitHub gives to the headings of a page."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def faults(page: Path) -> list[str]:
    """Relative links of a page that lead nowhere."""
    found = []
    for link in _LINK.findall(_CODE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        is_there = target.exists() and target.is_relative_to(ROOT)
        has_anchor = not anchor or target.suffix != ".md" or (is_there and anchor in anchors(target))
        if not (is_there and has_anchor):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert faults(page) == []


def test_a_dead_link_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[there](page.md) [gone](gone.md) [code `x`](https://example.com) `[no](link.md)`\n")
    assert faults(page)[-1] == "gone.md"


def test_the_map_of_operations_names_every_page() -> None:
    folder = ROOT / "docs/operations"
    named = set(_LINK.findall((folder / "index.md").read_text()))
    pages = {path.name for path in folder.glob("*.md")} - {"index.md"}
    assert pages <= named
    assert "runbooks/README.md" in named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_dev_exist(page: Path) -> None:
    script = (ROOT / "dev").read_text()
    commands = set(re.findall(r"^  ([a-z]+)\) ", script, flags=re.MULTILINE))
    named = set(re.findall(r"\./dev ([a-z]+)", page.read_text()))
    assert named <= commands, named - commands
    suites = {"unit", "integration", "e2e", "aws", "localstack", "pg15"}
    assert set(re.findall(r"\./dev test ([a-z0-9]+)", page.read_text())) <= suites
    benches = set(re.findall(r'^    "([a-z]+)": "tests', (ROOT / "tests/load/bench.py").read_text(), re.MULTILINE))
    assert set(re.findall(r"\./dev bench ([a-z]+)", page.read_text())) <= benches


def test_routes_that_operations_name_exist() -> None:
    known = {
        (method.upper(), path)
        for path, methods in create_api(build_deps(Settings())).openapi()["paths"].items()
        for method in methods
    }
    named = {
        (method, path)
        for page in OPERATIONS
        for method, path in re.findall(r"`(GET|POST|PUT|DELETE) (/api/[^`? ]+)", page.read_text())
    }
    assert len(named) > 8
    assert named - known == set()


@pytest.mark.parametrize("page", OPERATIONS, ids=lambda page: page.name)
def test_switches_and_settings_that_operations_name_exist(page: Path) -> None:
    quoted = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL))
    switches = {match[1] for text in quoted if (match := re.fullmatch(r"(?:-c )?([a-z]+(?:_[a-z]+)+)=\S+", text))}
    assert switches - COLUMNS <= Environment.model_fields.keys()
    settings = {match[1] for text in quoted if (match := re.fullmatch(r"([A-Z]+(?:_[A-Z]+)+)(?:=\S+)?", text))}
    assert settings - OTHER_NAMES <= NAMES | SECRET_KEYS | FROM_RESOURCES, page.name
