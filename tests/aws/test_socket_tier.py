"""The containers and their load balancer."""

import re
from typing import Any

import pytest

from evpower.config import Settings
from infra.layers import ROOT
from infra.paths import is_socket_path
from infra.stacks.network import TIER_PORT
from socket_tier import draining
from socket_tier.__main__ import STOP_WITHIN_S
from socket_tier.location_stream import STREAM_PATHS
from tests.aws.cloud import Cloud, text_of
from tests.aws.conftest import Synthesise
from tests.aws.dockerfile import last_stage

DOCKERFILE = ROOT / "socket_tier" / "Dockerfile"


def _container(cloud: Cloud) -> Any:
    (container,) = cloud.one("AWS::ECS::TaskDefinition")["ContainerDefinitions"]
    return container


def _attributes(resource: Any, member: str) -> dict[str, str]:
    return {entry["Key"]: entry["Value"] for entry in resource[member]}


def test_the_container_is_as_closed_as_it_can_be(cloud: Cloud) -> None:
    container = _container(cloud)
    assert container["ReadonlyRootFilesystem"] is True
    assert container["User"].startswith("1000")
    assert "Privileged" not in container
    assert not container.get("MountPoints")
    assert "Secrets" not in container  # the process reads them itself, so a rotation needs no new task definition
    task = cloud.one("AWS::ECS::TaskDefinition")
    assert task["RuntimePlatform"]["CpuArchitecture"] == "ARM64"
    assert task["NetworkMode"] == "awsvpc"
    service = cloud.one("AWS::ECS::Service")
    assert service["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"
    assert service["EnableExecuteCommand"] is False


def test_two_containers_at_the_least_and_a_failed_deployment_goes_back(cloud: Cloud) -> None:
    service = cloud.one("AWS::ECS::Service")
    assert "DesiredCount" not in service  # a deployment would set the scaled fleet back to it
    deployment = service["DeploymentConfiguration"]
    assert deployment["MinimumHealthyPercent"] == 100
    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    target = cloud.one("AWS::ApplicationAutoScaling::ScalableTarget")
    assert target["MinCapacity"] >= 2
    assert target["MaxCapacity"] > target["MinCapacity"]


def test_it_grows_by_connections_and_by_processor(cloud: Cloud) -> None:
    policies = [
        policy["TargetTrackingScalingPolicyConfiguration"]
        for policy in cloud.properties("AWS::ApplicationAutoScaling::ScalingPolicy").values()
    ]
    (connections,) = [p["CustomizedMetricSpecification"] for p in policies if "CustomizedMetricSpecification" in p]
    environment = _container(cloud)["Environment"]
    namespace = next(e["Value"] for e in environment if e["Name"] == "POWERTOOLS_METRICS_NAMESPACE")
    assert connections["Namespace"] == namespace
    assert (connections["MetricName"], connections["Statistic"]) == ("ConnectedStations", "Average")
    assert "Dimensions" not in connections  # as the tier writes it
    (cpu,) = [p["PredefinedMetricSpecification"] for p in policies if "PredefinedMetricSpecification" in p]
    assert cpu["PredefinedMetricType"] == "ECSServiceAverageCPUUtilization"
    for policy in policies:  # closing sockets is dearer than a container for a quarter of an hour
        assert policy["ScaleInCooldown"] > policy["ScaleOutCooldown"]
    limit = Settings.model_fields["ocpp_max_connections"].default
    assert all(p["TargetValue"] < limit for p in policies)


def test_draining_leaves_time_for_everything(cloud: Cloud) -> None:
    """Notice, send away, end by itself; and if the notice fails, SIGTERM with time to spare before SIGKILL."""
    attributes = _attributes(cloud.one("AWS::ElasticLoadBalancingV2::TargetGroup"), "TargetGroupAttributes")
    delay = int(attributes["deregistration_delay.timeout_seconds"])
    assert delay > draining.POLL_S + draining.TIMEOUT_S * 2 + STOP_WITHIN_S
    assert _container(cloud)["StopTimeout"] == 60 > STOP_WITHIN_S
    names = {entry["Name"] for entry in _container(cloud)["Environment"]}
    assert "TARGET_GROUP_ARN" in names
    allowed = [s for where, s in cloud.statements() if "TaskRole" in where and "DescribeTargetHealth" in text_of(s)]
    assert len(allowed) == 1


def test_a_database_that_is_away_costs_no_container(cloud: Cloud) -> None:
    """Health means alive: with readiness here, ECS would replace every task and drop every charger."""
    group = cloud.one("AWS::ElasticLoadBalancingV2::TargetGroup")
    assert group["HealthCheckPath"] == "/health"
    assert group["Port"] == TIER_PORT
    assert _container(cloud)["HealthCheck"]["Command"][1:] == last_stage(DOCKERFILE).healthcheck


def test_silence_between_pings_does_not_close_a_socket(cloud: Cloud) -> None:
    attributes = _attributes(cloud.one("AWS::ElasticLoadBalancingV2::LoadBalancer"), "LoadBalancerAttributes")
    pings = Settings.model_fields["ocpp_ping_interval_s"].default
    assert int(attributes["idle_timeout.timeout_seconds"]) >= 3 * pings
    assert attributes["routing.http.drop_invalid_header_fields.enabled"] == "true"
    assert attributes["access_logs.s3.enabled"] == "true"


def _listeners(cloud: Cloud) -> dict[int, Any]:
    return {p["Port"]: p for p in cloud.properties("AWS::ElasticLoadBalancingV2::Listener").values()}


def _rules(cloud: Cloud, port: int) -> list[Any]:
    logical = next(
        name.partition("/")[2]
        for name, p in cloud.properties("AWS::ElasticLoadBalancingV2::Listener").items()
        if p["Port"] == port
    )
    rules = cloud.properties("AWS::ElasticLoadBalancingV2::ListenerRule").values()
    return sorted((r for r in rules if r["ListenerArn"] == {"Ref": logical}), key=lambda r: int(r["Priority"]))


def test_tls_is_new_enough_and_plain_only_if_wanted(cloud: Cloud, prod: Cloud) -> None:
    for port, listener in _listeners(cloud).items():
        if port != 80:
            assert listener["Protocol"] == "HTTPS"
            assert listener["SslPolicy"].startswith("ELBSecurityPolicy-TLS13-1-2")
    assert set(_listeners(prod)) == {443, 80, 8443}
    assert prod is cloud or set(_listeners(cloud)) == {443}


def test_client_certificates_are_verified_on_their_own_port(prod: Cloud, synthesise: Synthesise) -> None:
    listeners = _listeners(prod)
    assert listeners[8443]["MutualAuthentication"]["Mode"] == "verify"
    assert listeners[8443]["MutualAuthentication"]["IgnoreClientCertificateExpiry"] is False
    assert "MutualAuthentication" not in listeners[443]
    store = prod.one("AWS::ElasticLoadBalancingV2::TrustStore")
    assert store["CaCertificatesBundleS3Key"] == "chargers.pem"
    given = {e["Name"]: e["Value"] for e in _container(prod)["Environment"]}
    assert given["CLIENT_CERTIFICATE_HEADER"] == "X-Amzn-Mtls-Clientcert"
    assert "CLIENT_CERTIFICATE_HEADER" not in {e["Name"] for e in _container(synthesise("dev"))["Environment"]}


@pytest.mark.parametrize("port", [443, 80])
def test_a_claimed_certificate_is_refused_where_none_is_verified(port: int, prod: Cloud) -> None:
    refused = set()
    rules = _rules(prod, port)
    forwards = [int(r["Priority"]) for r in rules if r["Actions"][0]["Type"] == "forward"]
    for rule in rules:
        if rule["Actions"][0]["Type"] == "fixed-response":
            (condition,) = rule["Conditions"]
            assert condition["HttpHeaderConfig"]["Values"] == ["*"]
            assert rule["Actions"][0]["FixedResponseConfig"]["StatusCode"] == "400"
            assert int(rule["Priority"]) < min(forwards)
            refused.add(condition["HttpHeaderConfig"]["HttpHeaderName"])
    names = ("Serial-Number", "Issuer", "Subject", "Validity", "Leaf")
    assert refused == {"X-Amzn-Mtls-Clientcert", *(f"X-Amzn-Mtls-Clientcert-{name}" for name in names)}


def _matches(pattern: str, path: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), path) is not None


_PATHS = (
    "/ocpp/station-1",
    "/ws/station-1",
    "/api/v1/locations/stream",
    "/api/v1/ws/locations",
    "/health",
    "/metrics",
    "/readyz",
    "/api/v1/locations",
    "/wsx/1",
)


@pytest.mark.parametrize("path", _PATHS)
def test_the_load_balancer_forwards_the_socket_tiers_paths_only(path: str, cloud: Cloud) -> None:
    for port, listener in _listeners(cloud).items():
        assert listener["DefaultActions"][0]["FixedResponseConfig"]["StatusCode"] == "404"
        patterns = [
            pattern
            for rule in _rules(cloud, port)
            if rule["Actions"][0]["Type"] == "forward"
            for pattern in rule["Conditions"][0]["PathPatternConfig"]["Values"]
        ]
        assert any(_matches(pattern, path) for pattern in patterns) is is_socket_path(path), port


def test_the_streams_paths_are_the_tiers_own() -> None:
    from infra import paths

    assert set(paths.STREAM_PATHS) == set(STREAM_PATHS)
