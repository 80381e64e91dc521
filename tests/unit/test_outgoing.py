"""Every request that leaves goes through evpower.outside, and docs/operations/outgoing.md lists all of them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evpower.config import Settings
from functions.api.app import create_api
from functions.api.deps import build_deps

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/operations/outgoing.md").read_text()
LAYER = ROOT / "layers/evpower/python"
SOURCES = [
    path
    for folder in (LAYER / "evpower", ROOT / "functions", ROOT / "socket_tier")
    for path in sorted(folder.rglob("*.py"))
    if LAYER / "evpower/outside" not in path.parents
]

# Whoever imports one of these, or calls one of those, sends requests by itself.
CLIENTS = {
    "aiohttp", "boto3", "botocore.httpsession", "botocore.session", "ftplib", "h2", "http.client", "httpcore",
    "poplib", "requests", "smtplib", "telnetlib", "urllib.request", "urllib3", "websockets.asyncio.client",
    "websockets.client", "websockets.sync.client", "xmlrpc.client",
}  # fmt: skip
CALLS = {"create_connection", "open_connection", "open_unix_connection", "create_datagram_endpoint"}
# Not HTTP to somebody: databases by their drivers, Sentry's own SDK; and the health check of the container itself.
DRIVERS = {
    "evpower.redis_client": {"redis"},
    "evpower.redis_healing": {"redis"},
    "evpower.error_reports": {"sentry_sdk"},
    "socket_tier.healthcheck": {"http.client"},
}
OTHERS = {"redis", "sentry_sdk"}

SOMEWHERE = re.compile(r"ur[il]|endpoint|location|callback|hook|host|link|server|domain", re.IGNORECASE)
NO_ADDRESS = {"location_id"}
SETTINGS = re.compile(r"ur[il]|host|endpoint|dsn|_arn$", re.IGNORECASE)
NOT_OUTGOING = {"sqs_commands_queue_url", "sqs_payment_checks_queue_url", "sqs_push_queue_url", "socket_tier_host"}


def module_of(path: Path) -> str:
    base = LAYER if LAYER in path.parents else ROOT
    return ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module and every member that is imported, anywhere in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def bypasses(source: str) -> set[str]:
    """What of a module's text sends requests past the one client.

    Types and exceptions of httpx may be named; what is called of it makes a request or a client. Imports for type
    checkers alone count as well, but for httpx: naming another client's type means to hold one.
    """
    tree = ast.parse(source)
    found = set()
    for name in imported(tree):
        found |= {client for client in CLIENTS | OTHERS if name == client or name.startswith(f"{client}.")}
        if name.startswith("httpx."):
            found.add(name)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if isinstance(node.func.value, ast.Name) and node.func.value.id == "httpx":
            found.add(f"httpx.{node.func.attr}()")
        if node.func.attr in CALLS:
            found.add(f"{node.func.attr}()")
        found |= {"follow_redirects" for keyword in node.keywords if keyword.arg == "follow_redirects"}
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import httpx\nhttpx.get('https://a.example')",
        "import httpx\nasync def f():\n    async with httpx.AsyncClient() as c: pass",
        "from httpx import AsyncClient",
        "def f():\n    import boto3",
        "from urllib import request",
        "import urllib.request as r",
        "from http.client import HTTPSConnection",
        "import asyncio\nasync def f(): await asyncio.open_connection('a', 1)",
        "from websockets.asyncio.client import connect",
        "from botocore.session import get_session",
        "async def f(http): await http.get('https://a.example', follow_redirects=True)",
    ],
)
def test_a_bypass_would_be_found(source: str) -> None:
    assert bypasses(source)


def test_no_module_sends_requests_past_the_one_client() -> None:
    found = {module_of(path): names for path in SOURCES if (names := bypasses(path.read_text()))}
    assert found == DRIVERS


def table(heading: str) -> list[list[str]]:
    """Rows of the first table below a heading of the page."""
    rows = re.findall(r"^\|(.+)\|$", PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0], re.MULTILINE)
    return [[cell.strip() for cell in row.split(" | ")] for row in rows[2:]]


def test_the_page_lists_who_calls_whom() -> None:
    ways = {"evpower.outside.http", "evpower.outside.aws", "evpower.outside.plain"}
    used: dict[str, set[str]] = {}
    for path in SOURCES:
        if found := ways & set(imported(ast.parse(path.read_text()))):
            used[module_of(path)] = {name.rpartition(".")[2] for name in found}
    listed = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in table("Who calls whom")}
    assert listed == used


def test_every_setting_that_names_a_host_is_on_the_page() -> None:
    hosts = {name for name in Settings.model_fields if SETTINGS.search(name)} - NOT_OUTGOING
    assert hosts == {name for name in hosts if f"`{name.upper()}`" in PAGE}
    assert len(hosts) > 10


def _members(document: dict[str, Any], schema: Any, depth: int = 0) -> Iterator[str]:
    """Names of all members of a body."""
    while isinstance(schema, dict) and "$ref" in schema:
        target: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = target
    if not isinstance(schema, dict) or depth > 12:
        return
    for name, member in schema.get("properties", {}).items():
        yield name
        yield from _members(document, member, depth + 1)
    for way in ("items", "anyOf", "oneOf", "allOf"):
        inner = schema.get(way)
        for each in inner if isinstance(inner, list) else [inner]:
            yield from _members(document, each, depth + 1)


def test_every_url_that_somebody_can_give_is_on_the_page() -> None:
    document = create_api(build_deps(Settings())).openapi()
    given = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            for name in _members(document, body):
                # Words like `security_profile` hold "url" by chance only between letters.
                words = re.split(r"_|(?<=[a-z])(?=[A-Z])", name)
                if any(SOMEWHERE.fullmatch(word) for word in words) and name not in NO_ADDRESS:
                    given.add((f"{method.upper()} {path}", name))
    listed = set()
    for row in table("URLs that somebody gives"):
        route, *names = re.findall(r"`([^`]+)`", row[0])
        listed |= {(route, name) for name in names}
    assert listed == given
