"""CloudFront: one host name, nothing cached, WebSockets to the containers."""

import fnmatch
from typing import Any

import pytest

from infra.paths import is_socket_path
from infra.stacks.waf import ORIGIN_HEADER
from tests.aws.cloud import Cloud, text_of
from tests.aws.conftest import Synthesise

CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"  # AWS's managed policies have fixed ids
ALL_VIEWER_EXCEPT_HOST = "b689b0a8-53d0-40ab-baf2-68738e2966ac"


@pytest.fixture(params=["dev", "prod"])
def distribution(request: pytest.FixtureRequest, synthesise: Synthesise) -> Any:
    return synthesise(request.param).one("AWS::CloudFront::Distribution")["DistributionConfig"]


def _behaviours(distribution: Any) -> list[Any]:
    return [distribution["DefaultCacheBehavior"], *distribution["CacheBehaviors"]]


def test_nothing_is_cached_and_everything_is_passed_on(distribution: Any) -> None:
    for behaviour in _behaviours(distribution):
        assert behaviour["CachePolicyId"] == CACHING_DISABLED
        assert behaviour["OriginRequestPolicyId"] == ALL_VIEWER_EXCEPT_HOST
        assert behaviour["ViewerProtocolPolicy"] == "https-only"
        assert {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} <= set(behaviour["AllowedMethods"])


@pytest.mark.parametrize(
    "path",
    [
        "/ocpp/station-1",
        "/ws/station-1",
        "/api/v1/locations/stream",
        "/api/v1/ws/locations",
        "/api/v1/locations/ws/locations",
        "/api/v1/locations",
        "/api/v1/payment/webhook",
        "/health",
        "/",
    ],
)
def test_each_path_goes_where_the_local_gateway_sends_it(path: str, distribution: Any) -> None:
    origins = {origin["Id"]: origin["DomainName"] for origin in distribution["Origins"]}
    chosen = next(
        (b for b in distribution["CacheBehaviors"] if fnmatch.fnmatchcase(path, b["PathPattern"])),
        distribution["DefaultCacheBehavior"],
    )
    name = origins[chosen["TargetOriginId"]]
    assert name.startswith("chargers." if is_socket_path(path) else "rest.")


def test_origins_are_called_by_tls_and_the_gateway_with_proof(distribution: Any) -> None:
    for origin in distribution["Origins"]:
        custom = origin["CustomOriginConfig"]
        assert custom["OriginProtocolPolicy"] == "https-only"
        assert custom["OriginSSLProtocols"] == ["TLSv1.2"]
        assert custom["OriginReadTimeout"] > 29  # the gateway's own limit
        headers = {h["HeaderName"]: text_of(h["HeaderValue"]) for h in origin.get("OriginCustomHeaders", [])}
        if origin["DomainName"].startswith("rest."):
            assert "resolve:secretsmanager" in headers[ORIGIN_HEADER]
        else:
            assert headers == {}


def test_it_is_protected_logged_and_new_enough(distribution: Any) -> None:
    assert distribution["WebACLId"]
    assert distribution["Logging"]["IncludeCookies"] is False
    assert distribution["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"


def test_two_names_need_no_cloudfront(synthesise: Synthesise) -> None:
    cloud = synthesise("plain")
    assert "FrontDoor" not in cloud.templates
    assert cloud.one("AWS::ApiGateway::DomainName")["DomainName"] == "stage.evpower.example"
    assert "evpower/stage/origin-verify" not in {
        secret["Name"] for secret in cloud.properties("AWS::SecretsManager::Secret").values()
    }


def test_names_are_written_to_route_53_where_there_is_a_zone(prod: Cloud, synthesise: Synthesise) -> None:
    records = {record["Name"] for record in prod.properties("AWS::Route53::RecordSet").values()}
    assert records == {"api.evpower.example.", "rest.api.evpower.example.", "chargers.api.evpower.example."}
    assert not synthesise("plain").of_type("AWS::Route53::RecordSet")
