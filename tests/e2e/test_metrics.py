"""Dashboard and alarms name only what the running system writes: held against the metrics of `./dev demo`."""

import os
import subprocess
import sys
from collections import defaultdict

import pytest

from evpower.metric_names import CATALOGUE
from infra import observability
from infra.local import emf
from infra.local.emf import Written
from infra.local.processes import ROOT
from tests.fakes.monitored import monitored

pytestmark = pytest.mark.timeout(300)  # the demo starts a whole system of its own
Seen = dict[tuple[str, frozenset[tuple[str, str]]], list[float]]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Written, list[float]]]:
    """One telling of the demo's story; its metrics as CloudWatch would read them."""
    file = tmp_path_factory.mktemp("metrics") / "demo.emf"
    done = subprocess.run(
        [sys.executable, "-m", "infra.local.demo", "--emf", str(file)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "layers/evpower/python")])},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [found for line in file.read_text().splitlines() for found in emf.written(line)]


@pytest.fixture(scope="module")
def seen(demo: list[tuple[Written, list[float]]]) -> Seen:
    values: Seen = defaultdict(list)
    for metric, measured in demo:
        values[(metric.name, metric.dimensions)] += measured
    return values


async def test_every_metric_of_a_widget_or_an_alarm_is_written(seen: Seen) -> None:
    resources = monitored()
    drawn = [
        d for row in observability.rows(resources) for widget in row.widgets for d in (*widget.left, *widget.right)
    ]
    drawn += [alarm.watched for alarm in observability.alarms(resources)]
    named = {
        (series.name, frozenset(series.dimensions.items()))
        for one in drawn
        for series in observability.series_of(one)
        if series.namespace is None
    }
    assert len(named) > 90
    assert named - seen.keys() == set()


async def test_everything_written_is_in_the_catalogue(demo: list[tuple[Written, list[float]]]) -> None:
    for metric, _ in demo:
        known = CATALOGUE[metric.name]
        assert metric.unit == known.unit
        assert metric.namespace == "EvPower"
        assert {name for name, _ in metric.dimensions} in [set(names) for names in known.dimensions]


async def test_the_metrics_tell_the_demos_money(seen: Seen) -> None:
    """500 som topped up; two charges; what was reserved is revenue or came back."""

    def som(name: str, **dimensions: str) -> float:
        return round(sum(seen[(name, frozenset(dimensions.items()))]), 2)

    assert som("MoneyMovedSom", Type="balance_topup") == 500
    reserved, returned = som("MoneyMovedSom", Type="charge_reserve"), som("MoneyMovedSom", Type="charge_refund")
    assert reserved == 320
    assert som("RevenueSom") == round(reserved - returned, 2) > 0
    assert som("EnergyDeliveredKwh") > 1
    assert (som("StartsAccepted"), som("ChargingsStarted"), som("SessionsSettled")) == (2, 2, 2)
    assert (som("WrittenOffSom"), som("StartsFailed"), som("LedgerFindings"), som("TopUpsCredited")) == (0, 0, 0, 1)
    assert len(seen[("StartToCharge", frozenset())]) == 2
    assert max(seen[("ConnectedStations", frozenset())]) == 2
    assert som("DatabaseAway") == som("RedisAway") == 0
