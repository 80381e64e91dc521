"""From the rule of a scheduled event to the sweep's module."""

import importlib
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
import pytest

from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import SingleConnectionDatabase
from evpower.ids import correlation_id
from functions.sweeps import handler, housekeeping
from functions.sweeps.deps import SweepDeps, build_deps
from functions.sweeps.handler import SWEEPS, UnknownSchedule, sweep_of


def event(*rules: str, **changes: Any) -> dict[str, Any]:
    return {
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "123456789012",
        "time": "2026-01-15T06:00:00Z",
        "region": "eu-central-1",
        "resources": [f"arn:aws:events:eu-central-1:123456789012:rule/{rule}" for rule in rules],
        "detail": {},
    } | changes


@pytest.mark.parametrize("name", SWEEPS)
@pytest.mark.parametrize("form", ["evpower-{}", "prod-evpower-{}", "evpower-dev-{}", "default-bus/evpower-{}"])
def test_the_rule_names_the_sweep(name: str, form: str) -> None:
    assert sweep_of(event(form.format(name))) == name
    assert sweep_of(event(form.format(name.replace("_", "-")))) == name


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        event("evpower-unheard_of"),
        event("evpower-"),
        event("evpower-payment_checks", "evpower-housekeeping"),
        event(),
        event("evpower-payment_checks", source="aws.ec2"),
        {"source": "aws.events", "resources": "rule/evpower-payment_checks"},
        {"source": "aws.events", "resources": ["payment_checks"]},
    ],
)
def test_what_names_no_sweep_fails_loudly(wrong: Mapping[str, Any]) -> None:
    with pytest.raises(UnknownSchedule):
        sweep_of(wrong)


def test_every_sweep_has_its_module_and_its_schedule() -> None:
    from infra.schedules import SCHEDULES

    for name in SWEEPS:
        assert callable(importlib.import_module(f"functions.sweeps.{name}").run)
    assert sorted(SWEEPS) == sorted(schedule.name for schedule in SCHEDULES)


@pytest.fixture
def deps() -> SweepDeps:
    settings = Settings()
    return build_deps(settings, database=SingleConnectionDatabase(settings), clock=FrozenClock())


async def test_a_run_is_measured(
    deps: SweepDeps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[datetime, str | None]] = []

    async def run(_deps: SweepDeps, now: datetime) -> dict[str, int]:
        seen.append((now, correlation_id.get()))
        return {"station_events": 3}

    monkeypatch.setattr(housekeeping, "run", run)
    assert await handler.work(deps, event("evpower-housekeeping")) == {"station_events": 3}
    assert seen == [(deps.clock.now(), event()["id"])]
    lines = [orjson.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert {line["Sweep"] for line in lines} == {"housekeeping"}
    assert lines[0]["SweepRuns"] == 1
    assert lines[0]["SweepDuration"] >= 0
    assert (lines[1]["Finding"], lines[1]["SweepFindings"]) == ("station_events", 3)


async def test_a_failure_is_counted_and_passed_on(
    deps: SweepDeps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(_deps: SweepDeps, now: datetime) -> dict[str, int]:
        raise RuntimeError("database is away")

    monkeypatch.setattr(housekeeping, "run", run)
    with pytest.raises(RuntimeError, match="database is away"):
        await handler.work(deps, event("evpower-housekeeping"))
    assert '"SweepFailed":1' in capsys.readouterr().out


def test_heavy_clients_stay_unimported_until_they_are_needed() -> None:
    """Cold start: boto3, redis and httpx cost more than all the rest (platform: Lambda)."""
    code = "import functions.sweeps.handler, sys; print(sorted({'boto3', 'redis', 'httpx'} & set(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
