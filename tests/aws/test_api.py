"""API Gateway, web ACLs, schedules."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from functions.sweeps.handler import sweep_of
from infra.gateway_responses import GATEWAY_RESPONSES
from infra.local.schedule_expression import next_time
from infra.paths import OTP_PATHS, WEBHOOK_PATHS
from infra.schedules import SCHEDULES
from infra.stacks.waf import ORIGIN_HEADER
from tests.aws.cloud import Cloud, text_of
from tests.aws.conftest import Synthesise


def _resource_paths(cloud: Cloud) -> dict[str, str]:
    """Logical id -> path of the API's resources."""
    resources = {n.partition("/")[2]: p for n, p in cloud.properties("AWS::ApiGateway::Resource").items()}

    def path(logical: str) -> str:
        parent = resources[logical]["ParentId"]
        before = path(parent["Ref"]) if "Ref" in parent else ""
        return f"{before}/{resources[logical]['PathPart']}"

    return {logical: path(logical) for logical in resources}


def _methods(cloud: Cloud) -> dict[tuple[str, str], str]:
    """(path, method) -> function's logical id."""
    paths = _resource_paths(cloud)
    found = {}
    for method in cloud.properties("AWS::ApiGateway::Method").values():
        path = paths[method["ResourceId"]["Ref"]] if "Ref" in method["ResourceId"] else "/"
        assert method["Integration"]["Type"] == "AWS_PROXY"
        uri = text_of(method["Integration"]["Uri"])
        found[path, method["HttpMethod"]] = "payment_webhook" if "paymentwebhook" in uri else "api"
        assert "paymentwebhook" in uri or '"api' in uri
    return found


def test_the_webhook_s_post_goes_to_its_function_and_nothing_else_does(cloud: Cloud) -> None:
    methods = _methods(cloud)
    assert {key for key, function in methods.items() if function == "payment_webhook"} == {
        (path, "POST") for path in WEBHOOK_PATHS
    }


def test_every_path_is_answered(cloud: Cloud) -> None:
    """Also those that only lead to the webhook: the gateway's own 403 would reach the app as "network error"."""
    methods = _methods(cloud)
    for path in _resource_paths(cloud).values():
        assert methods[path, "ANY"] == "api", path
    assert methods["/", "ANY"] == methods["/{proxy+}", "ANY"] == "api"
    leading = {"/api", "/api/v1", "/api/v1/payment", "/api/payment"}
    assert all((f"{path}/{{proxy+}}", "ANY") in methods for path in leading)


def test_the_gateways_own_answers_are_in_the_envelope(cloud: Cloud) -> None:
    answers = {a["ResponseType"]: a for a in cloud.properties("AWS::ApiGateway::GatewayResponse").values()}
    assert set(answers) == set(GATEWAY_RESPONSES)
    for kind, expected in GATEWAY_RESPONSES.items():
        answer = answers[kind]
        assert answer["StatusCode"] == str(expected.status)
        assert json.loads(answer["ResponseTemplates"]["application/json"])["error_code"] == expected.error.code
        assert answer["ResponseParameters"] == {
            f"gatewayresponse.header.{name}": f"'{value}'" for name, value in expected.headers.items()
        }


def test_bodies_arrive_byte_by_byte(cloud: Cloud) -> None:
    assert cloud.one("AWS::ApiGateway::RestApi")["BinaryMediaTypes"] == ["*/*"]


def test_the_stage_is_limited_traced_and_logged_without_query_strings(cloud: Cloud) -> None:
    stage = cloud.one("AWS::ApiGateway::Stage")
    assert stage["TracingEnabled"] is True
    settings = {(s["HttpMethod"], s["ResourcePath"]): s for s in stage["MethodSettings"]}
    everything = settings["*", "/*"]
    assert everything["ThrottlingRateLimit"] > 0
    assert everything["DataTraceEnabled"] is False
    assert everything["MetricsEnabled"] is True
    for path in WEBHOOK_PATHS:
        own = settings["POST", "/" + path.replace("/", "~1")]
        assert own["ThrottlingRateLimit"] < everything["ThrottlingRateLimit"]
        assert own["MetricsEnabled"] is True
    line = stage["AccessLogSetting"]["Format"]
    assert json.loads(line)["path"] == "$context.path"
    for word in ("querystring", "authorizer", "$context.requestOverride", "identity.apiKey", "input."):
        assert word not in line


def test_the_gateway_is_called_by_its_own_name_only(cloud: Cloud) -> None:
    assert cloud.one("AWS::ApiGateway::RestApi")["DisableExecuteApiEndpoint"] is True
    assert cloud.one("AWS::ApiGateway::DomainName")["SecurityPolicy"] == "TLS_1_2"


def _acls(cloud: Cloud) -> dict[str, dict[str, Any]]:
    return {
        acl["Scope"]: {rule["Name"]: rule for rule in acl["Rules"]}
        for acl in cloud.properties("AWS::WAFv2::WebACL").values()
    }


def _rate_of(rules: dict[str, Any], name: str) -> tuple[int, set[str]]:
    statement = rules[name]["Statement"]["RateBasedStatement"]
    paths = {
        inner["ByteMatchStatement"]["SearchString"]
        for inner in statement.get("ScopeDownStatement", {}).get("OrStatement", {}).get("Statements", [])
    }
    assert statement["AggregateKeyType"] == "IP"
    answer = rules[name]["Action"]["Block"]["CustomResponse"]
    assert answer["ResponseCode"] == 429
    assert [header["Name"] for header in answer["ResponseHeaders"]] == ["Retry-After"]
    return statement["Limit"], paths


@pytest.mark.parametrize(("variant", "scope"), [("dev", "CLOUDFRONT"), ("prod", "CLOUDFRONT"), ("plain", "REGIONAL")])
def test_floods_are_limited_where_the_callers_address_is_seen(variant: str, scope: str, synthesise: Synthesise) -> None:
    rules = _acls(synthesise(variant))[scope]
    limit, paths = _rate_of(rules, "RateOfLoginCodes")
    assert paths == set(OTP_PATHS)
    webhook_limit, paths = _rate_of(rules, "RateOfWebhook")
    assert paths == set(WEBHOOK_PATHS)
    all_limit, paths = _rate_of(rules, "RateOfAddress")
    assert not paths
    assert limit < webhook_limit < all_limit
    managed = {
        rule["Statement"]["ManagedRuleGroupStatement"]["Name"]
        for rule in rules.values()
        if "ManagedRuleGroupStatement" in rule["Statement"]
    }
    assert {"AWSManagedRulesCommonRuleSet", "AWSManagedRulesKnownBadInputsRuleSet"} <= managed
    priorities = [rule["Priority"] for rule in rules.values()]
    assert len(priorities) == len(set(priorities))


def test_behind_cloudfront_the_gateway_answers_cloudfront_alone(prod: Cloud) -> None:
    """Otherwise anybody could call the gateway with an X-Forwarded-For of his own, of which two hops are trusted."""
    rule = _acls(prod)["REGIONAL"]["OnlyFromFrontDoor"]
    match = rule["Statement"]["NotStatement"]["Statement"]["ByteMatchStatement"]
    assert match["FieldToMatch"] == {"SingleHeader": {"Name": ORIGIN_HEADER}}
    assert match["PositionalConstraint"] == "EXACTLY"
    assert "resolve:secretsmanager" in text_of(match["SearchString"])
    assert "Block" in rule["Action"]
    association = prod.one("AWS::WAFv2::WebACLAssociation")
    assert "Stage" in text_of(association["ResourceArn"])


@pytest.mark.parametrize("path", OTP_PATHS)
def test_the_paths_of_login_codes_are_the_apis_own(path: str) -> None:
    from functions.api.routes import auth

    assert path in {route.path for route in auth.routes.routes}


# --- sweeps -----------------------------------------------------------------------------------------------------


def test_every_schedule_has_its_rule_and_the_function_knows_it(cloud: Cloud) -> None:
    rules = cloud.properties("AWS::Events::Rule", "Sweeps")
    assert len(rules) == len(SCHEDULES)
    found = set()
    for rule in rules.values():
        assert rule["State"] == "ENABLED"
        (target,) = rule["Targets"]
        assert '"sweeps' in text_of(target["Arn"])
        arn = f"arn:aws:events:eu-central-1:111122223333:rule/{rule['Name']}"
        name = sweep_of({"source": "aws.events", "resources": [arn]})
        (schedule,) = [s for s in SCHEDULES if s.name == name]
        assert rule["ScheduleExpression"] == schedule.expression
        found.add(name)
    assert found == {schedule.name for schedule in SCHEDULES}


def test_schedule_expressions_are_ones_that_eventbridge_takes(cloud: Cloud) -> None:
    """cfn-lint lets malformed ones through."""
    now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    for rule in cloud.properties("AWS::Events::Rule").values():
        following = next_time(rule["ScheduleExpression"])(now)
        assert following is not None
        assert (following - now).days < 2
