"""docs/operations/cost.md shows what the model computes, and the model counts what the deployment has."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from evpower.config import Settings
from infra import cost_model
from infra.cost_model import LINES, Scale, Traffic, price, production, scales, sweep_runs, tables
from infra.layers import ROOT
from infra.prices import PRICES, REGION_FACTOR
from infra.schedules import SCHEDULES


def total(scale: Scale) -> float:
    return sum(line(scale) for line in LINES.values())


def test_the_page_shows_the_model_s_tables() -> None:
    page = cost_model.PAGE.read_text()
    assert cost_model.page_with(page, tables()) == page, "run: python -m infra.cost_model --write"
    assert cost_model.BEGIN in page


def test_a_month_of_a_hundred_chargers_by_hand() -> None:
    scale = Scale("100", Traffic(100), production())
    assert scale.traffic.sessions == 100 * 4 * 30
    assert scale.traffic.readings == 12_000 * 40
    assert scale.traffic.messages == 100 * 288 * 30 + 12_000 * 48
    assert scale.traffic.requests == 12_000 * (240 + 30)
    assert scale.tasks == 2
    assert LINES["API Gateway"](scale) == pytest.approx(3.24 * 3.5 * REGION_FACTOR)
    assert LINES["RDS PostgreSQL"](scale) == pytest.approx(2 * (730 * 0.168 + 200 * 0.115) * REGION_FACTOR)
    fargate = 2 * 730 * (0.03238 + 2 * 0.00356) * REGION_FACTOR
    assert LINES["Fargate (socket tier)"](scale) == pytest.approx(fargate)


def test_more_chargers_cost_more_and_each_of_them_less() -> None:
    hundred, thousand, many = (total(scale) for scale in scales()[1:4])
    assert hundred < thousand < many
    assert hundred / 100 > thousand / 1_000 > many / 10_000


def test_a_slower_poll_is_cheaper() -> None:
    scale = scales()[3]
    slow = replace(scale, traffic=replace(scale.traffic, poll_every_s=15))
    assert total(slow) < total(scale)


def test_sizes_are_those_of_the_environment() -> None:
    small, hundred, thousand, many, _ = scales()
    assert (small.environment.nat_gateways, hundred.environment.nat_gateways) == (1, 3)
    assert thousand.tasks == thousand.environment.tasks_min
    assert many.tasks == 10_000 / many.environment.connections_per_task
    assert many.tasks <= many.environment.tasks_max
    assert many.storage_gb >= many.traffic.database_gb
    assert many.storage_gb <= many.environment.database_storage_max_gb


def test_assumptions_are_the_product_s_defaults() -> None:
    settings, traffic = Settings(_env_file=None), Traffic(1)  # type: ignore[call-arg]
    assert traffic.heartbeat_every_s == settings.heartbeat_interval_s
    assert traffic.reading_every_s == settings.meter_sample_interval_s
    assert traffic.ping_every_s == settings.ocpp_ping_interval_s
    assert settings.meter_retention_days + 31 == cost_model.METER_DAYS
    assert settings.message_log_days + 1 == cost_model.MESSAGE_DAYS


def test_sweeps_run_as_often_as_their_schedules_say() -> None:
    minutely = sum(schedule.expression == "rate(1 minute)" for schedule in SCHEDULES)
    assert sweep_runs() > minutely * 730 * 60


def test_fixed_numbers_are_those_of_the_templates() -> None:
    network = (ROOT / "infra/stacks/network.py").read_text()
    assert network.count("InterfaceVpcEndpointAwsService.") == cost_model.INTERFACE_ENDPOINTS
    waf = (ROOT / "infra/stacks/waf.py").read_text()
    assert waf.count("        _rate(") + waf.count('    ("AWSManagedRules') + 1 == cost_model.WEB_ACL_RULES


def test_every_price_is_used_and_says_where_it_was_read() -> None:
    source = Path(cost_model.__file__).read_text()
    named = set(re.findall(r'price\(\s*"(\w+)"\s*\)', source))
    sizes = {f"db.{scale.environment.database_instance}" for scale in scales()}
    sizes |= {scale.environment.cache_node for scale in scales()}
    assert named | sizes == PRICES.keys()
    assert all(found.source and found.usd > 0 for found in PRICES.values())
    assert price("nat") == pytest.approx(0.045 * REGION_FACTOR)
    assert price("waf_acl") == 5
