"""What a deployment costs in a month: traffic of a network, sizes from the environment, AWS's list prices.

``python -m infra.cost_model`` prints the tables of docs/operations/cost.md, ``--write`` puts them into the page; a test
fails when page and model differ. Every price is an assumption to check: where it was read, and when, stands beside it.
"""

import argparse
import math
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from infra.environment import Environment, read_environment
from infra.layers import ROOT
from infra.prices import PRICES, REGION, REGION_FACTOR
from infra.schedules import SCHEDULES
from infra.secrets import DATABASE_LOGINS, SECRETS

PAGE = ROOT / "docs/operations/cost.md"
DAYS = 30
HOURS = 730
SECONDS = HOURS * 3600
MILLION = 1_000_000
GB = 1e9

# Fixed numbers of the templates (tests hold them against infra/).
INTERFACE_ENDPOINTS = 7
WEB_ACLS, WEB_ACL_RULES = 2, 8
SECRET_COUNT = len(SECRETS) + 1 + len(DATABASE_LOGINS) + 1 + 1 + 1  # cache, logins, owner, origin and its replica

# Measured here; docs/operations/capacity.md says how.
READING_BYTES = 620  # a row of ocpp_meter_values with its index entries
MESSAGE_BYTES = 410  # a row of station_messages: readings 618, heartbeats 312
METER_DAYS, MESSAGE_DAYS = 400 + 31, 7 + 1  # METER_RETENTION_DAYS and MESSAGE_LOG_DAYS; partitions leave whole
API_LOG_BYTES = 2_200  # our lines 1,400; Lambda's own and the access log 800 (estimated)
TIER_REPORT_BYTES = 5_000  # metrics of one instance in one minute
OWN_METRICS = 190  # names with their dimension values
# Estimated from AWS's documentation.
SERVICE_METRICS = 90  # Container Insights, and the gateway's metrics by method
ALARM_METRICS = 83  # what the 75 alarms of prod look at


@dataclass(frozen=True, slots=True)
class Traffic:
    """A network's month. Assumptions; replace them by your own figures."""

    chargers: int
    sessions_per_day: float = 4  # per charger
    session_minutes: float = 40
    reading_every_s: float = 60  # METER_SAMPLE_INTERVAL_S
    heartbeat_every_s: float = 300
    ping_every_s: float = 30
    other_messages: float = 8  # per session: start, stop, status
    commands: float = 2  # per session
    watched: float = 0.5  # share of a session during which the app's live screen is open
    poll_every_s: float = 5  # the live screen asks for the status
    other_requests: float = 30  # per session: map, balance, top-up
    topups: float = 0.5  # per session

    @property
    def sessions(self) -> float:
        return self.chargers * self.sessions_per_day * DAYS

    @property
    def readings(self) -> float:
        return self.sessions * self.session_minutes * 60 / self.reading_every_s

    @property
    def messages(self) -> float:
        heartbeats = self.chargers * DAYS * 86_400 / self.heartbeat_every_s
        return heartbeats + self.readings + self.sessions * self.other_messages

    @property
    def requests(self) -> float:
        polls = self.session_minutes * 60 * self.watched / self.poll_every_s
        return self.sessions * (polls + self.other_requests)

    @property
    def socket_gb(self) -> float:
        """Both ways: 450 bytes a message with its answer, 150 a ping with its pong."""
        pings = self.chargers * DAYS * 86_400 / self.ping_every_s
        return (self.messages * 450 + pings * 150) / GB

    @property
    def answer_gb(self) -> float:
        """3 kB an answer of the API on average."""
        return self.requests * 3_000 / GB

    @property
    def database_gb(self) -> float:
        readings = self.readings / DAYS * METER_DAYS * READING_BYTES
        messages = (self.messages + self.sessions * self.commands) / DAYS * MESSAGE_DAYS * MESSAGE_BYTES
        rest = self.sessions * 12 * 5_000  # sessions, ledger, audit of a year
        return 1.25 * (readings + messages + rest) / GB


@dataclass(frozen=True, slots=True)
class Scale:
    """One column of the tables."""

    name: str
    traffic: Traffic
    environment: Environment

    @property
    def tasks(self) -> int:
        needed = math.ceil(self.traffic.chargers / self.environment.connections_per_task)
        return max(self.environment.tasks_min, needed)

    @property
    def storage_gb(self) -> int:
        """Allocated at first, or what a year of data needs in steps of 50 GB."""
        return max(self.environment.database_storage_gb, 50 * math.ceil(self.traffic.database_gb / 50))

    @property
    def log_gb(self) -> float:
        tier = self.tasks * HOURS * 60 * TIER_REPORT_BYTES + self.traffic.sessions * 2_000
        sweeps = HOURS * 60 * 10_000
        return (self.traffic.requests * API_LOG_BYTES + tier + sweeps) / GB


def production(**changes: Any) -> Environment:
    """prod with its defaults, and with ``changes`` as `-c key=value` makes them."""
    names = {"domain": "api.evpower.example", "hosted_zone_id": "Z0", "hosted_zone_name": "evpower.example"}
    return read_environment({"env": "prod", **names, "cloudfront_networks": ["192.0.2.0/24"], **changes})


SMALL = {
    "nat_gateways": 1,
    "interface_endpoints": False,
    "availability_zones": ["eu-central-1a", "eu-central-1b"],
    "database_instance": "t4g.medium",
    "database_storage_gb": 50,
    "cache_node": "cache.t4g.small",
    "task_cpu": 512,
    "task_memory_mb": 1024,
}
LARGE = {"database_instance": "m7g.xlarge", "database_storage_gb": 500}


def scales() -> list[Scale]:
    """The columns of cost.md."""
    large = Scale("10,000", Traffic(10_000), production(**LARGE))
    return [
        Scale("100, small", Traffic(100), production(**SMALL)),
        Scale("100", Traffic(100), production()),
        Scale("1,000", Traffic(1_000), production()),
        large,
        replace(large, name="10,000, poll 15 s", traffic=replace(large.traffic, poll_every_s=15)),
    ]


def price(name: str) -> float:
    """USD per unit in the region of the deployment."""
    found = PRICES[name]
    return found.usd * (REGION_FACTOR if found.is_regional else 1)


def sweep_runs() -> float:
    """Invocations of function ``sweeps`` in a month."""
    runs = 0.0
    for schedule in SCHEDULES:
        rate = re.fullmatch(r"rate\((\d+) (minute|hour)s?\)", schedule.expression)
        hours = int(rate[1]) / (60 if rate[2] == "minute" else 1) if rate else 24
        runs += HOURS / hours
    return runs


def socket_tier(scale: Scale) -> float:
    environment = scale.environment
    processors, memory_gb = environment.task_cpu / 1024, environment.task_memory_mb / 1024
    hourly = processors * price("fargate_vcpu") + memory_gb * price("fargate_gb")
    return scale.tasks * hourly * HOURS


def load_balancer(scale: Scale) -> float:
    traffic = scale.traffic
    units = max(traffic.chargers / 3_000, traffic.socket_gb / HOURS)
    return HOURS * (price("alb") + units * price("lcu"))


def database(scale: Scale) -> float:
    zones = 2 if scale.environment.database_multi_az else 1
    instance = price(f"db.{scale.environment.database_instance}")
    return zones * (HOURS * instance + scale.storage_gb * price("rds_gb"))


def cache(scale: Scale) -> float:
    return (scale.environment.cache_replicas + 1) * HOURS * price(scale.environment.cache_node)


def network(scale: Scale) -> float:
    """NAT, interface endpoints, public addresses. Providers of payments, pushes and texts are called through NAT."""
    environment = scale.environment
    outside_gb = scale.traffic.sessions * 20_000 / GB
    inside_gb = scale.log_gb + scale.traffic.sessions * 20_000 / GB
    addresses = environment.nat_gateways + len(environment.zones)
    total = environment.nat_gateways * HOURS * price("nat") + addresses * HOURS * price("ipv4")
    if not environment.interface_endpoints:
        return total + (outside_gb + inside_gb) * price("nat_gb")
    endpoints = INTERFACE_ENDPOINTS * len(environment.zones) * HOURS * price("endpoint")
    return total + outside_gb * price("nat_gb") + endpoints + inside_gb * price("endpoint_gb")


def gateway(scale: Scale) -> float:
    return scale.traffic.requests / MILLION * price("api_request")


def functions(scale: Scale) -> float:
    """api 30 ms of 1 GB; webhook, checks (3 a top-up) and pushes (3 a session) 200 ms of 0.5 GB; sweeps 500 ms."""
    traffic = scale.traffic
    workers = traffic.sessions * (4 * traffic.topups + 3)
    seconds = traffic.requests * 0.030 + workers * 0.2 * 0.5 + sweep_runs() * 0.5 * 0.5
    calls = traffic.requests + workers + sweep_runs()
    return seconds * price("lambda_gb_s") + calls / MILLION * price("lambda_request")


def front_door(scale: Scale) -> float:
    traffic = scale.traffic
    out_gb = traffic.answer_gb + traffic.socket_gb / 2
    return traffic.requests / 10_000 * price("cdn_request") + out_gb * price("cdn_gb")


def web_acl(scale: Scale) -> float:
    """Each request passes both ACLs: CloudFront's and the gateway's."""
    rules = WEB_ACLS * price("waf_acl") + WEB_ACL_RULES * price("waf_rule")
    return rules + WEB_ACLS * scale.traffic.requests / MILLION * price("waf_request")


def queues(scale: Scale) -> float:
    """Two receivers a task that wait 2 s; event sources that wait 20 s, five each; what is sent, received, deleted."""
    traffic = scale.traffic
    fifo = scale.tasks * SECONDS + traffic.sessions * traffic.commands * 2
    standard = 2 * 5 * SECONDS / 20 + traffic.sessions * 3 * (3 * traffic.topups + 3)
    return (fifo * price("sqs_fifo") + standard * price("sqs")) / MILLION


def observability(scale: Scale) -> float:
    metrics = (OWN_METRICS + SERVICE_METRICS) * price("metric") + ALARM_METRICS * price("alarm") + price("dashboard")
    kept = scale.log_gb * 0.15 * scale.environment.log_retention_days / DAYS
    return metrics + scale.log_gb * price("log_gb") + kept * price("log_kept_gb")


def traces(scale: Scale) -> float:
    """X-Ray's default rule: the first request of each second, and 5 % of the rest."""
    rate = scale.traffic.requests / SECONDS
    traced = min(rate, 1) + 0.05 * max(rate - 1, 0)
    return traced * SECONDS / MILLION * price("trace")


def secrets_and_files(scale: Scale) -> float:
    """Secrets, and access logs of 500 bytes a request for 90 days."""
    logs_gb = scale.traffic.requests * 500 * 3 / GB
    return SECRET_COUNT * price("secret") + logs_gb * price("s3_gb")


LINES: Mapping[str, Callable[[Scale], float]] = {
    "Fargate (socket tier)": socket_tier,
    "Load balancer": load_balancer,
    "RDS PostgreSQL": database,
    "ElastiCache Valkey": cache,
    "NAT, endpoints, addresses": network,
    "API Gateway": gateway,
    "Lambda": functions,
    "CloudFront": front_door,
    "WAF": web_acl,
    "SQS": queues,
    "CloudWatch": observability,
    "X-Ray": traces,
    "Secrets, access logs": secrets_and_files,
}


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [_row(*head), _row("---", *["---:"] * (len(head) - 1)), *(_row(*row) for row in rows)]


_FACTS: Mapping[str, Callable[[Scale], str]] = {
    "sessions a month": lambda s: f"{s.traffic.sessions:,.0f}",
    "messages of chargers a second": lambda s: f"{s.traffic.messages / SECONDS:,.1f}",
    "of these readings": lambda s: f"{s.traffic.readings / SECONDS:,.1f}",
    "API requests a month, million": lambda s: f"{s.traffic.requests / MILLION:,.1f}",
    "API requests a second": lambda s: f"{s.traffic.requests / SECONDS:,.1f}",
    "database after a year, GB": lambda s: f"{s.traffic.database_gb:,.0f}",
    "logs a month, GB": lambda s: f"{s.log_gb:,.0f}",
    "tasks": lambda s: f"{s.tasks} x {s.environment.task_cpu / 1024:g} vCPU",
    "database": lambda s: f"db.{s.environment.database_instance}, {s.storage_gb} GB",
    "cache": lambda s: f"{s.environment.cache_replicas + 1} x {s.environment.cache_node}",
}


def tables() -> str:
    """The generated part of cost.md."""
    columns = scales()
    names = [scale.name for scale in columns]
    facts = [[label, *(fact(scale) for scale in columns)] for label, fact in _FACTS.items()]
    costs = [[label, *(f"{line(scale):,.0f}" for scale in columns)] for label, line in LINES.items()]
    totals = [sum(line(scale) for line in LINES.values()) for scale in columns]
    costs.append(["**Total, USD a month**", *(f"**{total:,.0f}**" for total in totals)])
    shares = [total / scale.traffic.chargers for total, scale in zip(totals, columns, strict=True)]
    costs.append(["USD a charger", *(f"{share:.2f}" for share in shares)])
    prices = [[key, f"{p.usd:g}", p.unit, "yes" if p.is_regional else "no", p.source] for key, p in PRICES.items()]
    return "\n".join(
        [
            "### Traffic and sizes",
            "",
            *_table(["Chargers", *names], facts),
            "",
            f"### USD a month, {REGION}",
            "",
            *_table(["Chargers", *names], costs),
            "",
            "### Prices",
            "",
            _row("Price", "USD", "for", f"times {REGION_FACTOR:g}", "read in"),
            _row("---", "---:", "---", "---", "---"),
            *(_row(*row) for row in prices),
        ]
    )


BEGIN, END = "<!-- tables of infra/cost_model.py -->", "<!-- end -->"


def page_with(text: str, generated: str) -> str:
    """``text`` of the page with the generated part in its place."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{generated}\n\n{END}{after}"


def main() -> int:
    """Exit status of the command."""
    parser = argparse.ArgumentParser(prog="python -m infra.cost_model", description="Print the cost tables.")
    parser.add_argument("--write", action="store_true", help="put them into docs/operations/cost.md")
    if parser.parse_args().write:
        PAGE.write_text(page_with(PAGE.read_text(), tables()))
    else:
        sys.stdout.write(tables() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
