"""Rules of the web ACLs, for CloudFront and for API Gateway alike.

The product has its own limits by client and address (design: Edge); these catch floods before they cost anything. The
bounds are per address and five minutes. Many phones share the address of a carrier, so they are wide.
"""

from collections.abc import Sequence

from aws_cdk import aws_wafv2 as waf
from constructs import Construct

from infra.paths import OTP_PATHS, WEBHOOK_PATHS

WINDOW_S = 300
# Well above what the product itself allows to reads without a credential (RATE_LIMIT_PUBLIC_PER_MINUTE), and above what
# hundreds of phones with a live screen behind one address ask for: a refusal here may sign a driver out.
LIMIT_ANY = 30_000
# Who asks for codes is bounded by the product, which knows its clients; whoever is refused here is refused blindly.
LIMIT_OTP = 3_000
LIMIT_WEBHOOK = 6_000

ORIGIN_HEADER = "x-origin-verify"

# Counted, not blocked: chargers and payment providers send no User-Agent, and a body may be a certificate or a list.
_ONLY_COUNTED = ("NoUserAgent_HEADER", "SizeRestrictions_BODY")
_MANAGED = (
    ("AWSManagedRulesAmazonIpReputationList", ()),
    ("AWSManagedRulesKnownBadInputsRuleSet", ()),
    ("AWSManagedRulesCommonRuleSet", _ONLY_COUNTED),
    ("AWSManagedRulesSQLiRuleSet", ()),
)


def _seen(name: str) -> waf.CfnWebACL.VisibilityConfigProperty:
    return waf.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=False
    )


def _matches(text: str, field: waf.CfnWebACL.FieldToMatchProperty, how: str) -> waf.CfnWebACL.StatementProperty:
    return waf.CfnWebACL.StatementProperty(
        byte_match_statement=waf.CfnWebACL.ByteMatchStatementProperty(
            field_to_match=field,
            positional_constraint=how,
            search_string=text,
            text_transformations=[waf.CfnWebACL.TextTransformationProperty(priority=0, type="NONE")],
        )
    )


def _any_of(paths: Sequence[str]) -> waf.CfnWebACL.StatementProperty:
    path = waf.CfnWebACL.FieldToMatchProperty(uri_path={})
    # Whatever way a path ends: with a slash or with a version of ours in front.
    statements = [_matches(text, path, "CONTAINS") for text in paths]
    return waf.CfnWebACL.StatementProperty(or_statement=waf.CfnWebACL.OrStatementProperty(statements=statements))


def _rate(name: str, priority: int, limit: int, paths: Sequence[str] = ()) -> waf.CfnWebACL.RuleProperty:
    return waf.CfnWebACL.RuleProperty(
        name=name,
        priority=priority,
        action=waf.CfnWebACL.RuleActionProperty(
            block=waf.CfnWebACL.BlockActionProperty(
                custom_response=waf.CfnWebACL.CustomResponseProperty(
                    response_code=429,
                    custom_response_body_key="limited",
                    response_headers=[waf.CfnWebACL.CustomHTTPHeaderProperty(name="Retry-After", value="60")],
                )
            )
        ),
        statement=waf.CfnWebACL.StatementProperty(
            rate_based_statement=waf.CfnWebACL.RateBasedStatementProperty(
                aggregate_key_type="IP",
                evaluation_window_sec=WINDOW_S,
                limit=limit,
                scope_down_statement=_any_of(paths) if paths else None,
            )
        ),
        visibility_config=_seen(name),
    )


def _managed(name: str, counted: Sequence[str], priority: int) -> waf.CfnWebACL.RuleProperty:
    return waf.CfnWebACL.RuleProperty(
        name=name,
        priority=priority,
        override_action=waf.CfnWebACL.OverrideActionProperty(none={}),
        statement=waf.CfnWebACL.StatementProperty(
            managed_rule_group_statement=waf.CfnWebACL.ManagedRuleGroupStatementProperty(
                vendor_name="AWS",
                name=name,
                rule_action_overrides=[
                    waf.CfnWebACL.RuleActionOverrideProperty(
                        name=rule, action_to_use=waf.CfnWebACL.RuleActionProperty(count={})
                    )
                    for rule in counted
                ]
                or None,
            )
        ),
        visibility_config=_seen(name),
    )


def _only_from_front_door(secret: str) -> waf.CfnWebACL.RuleProperty:
    """Use case: somebody calls the gateway past CloudFront, with an X-Forwarded-For of his own invention."""
    header = waf.CfnWebACL.FieldToMatchProperty(single_header={"Name": ORIGIN_HEADER})
    return waf.CfnWebACL.RuleProperty(
        name="OnlyFromFrontDoor",
        priority=0,
        action=waf.CfnWebACL.RuleActionProperty(block={}),
        statement=waf.CfnWebACL.StatementProperty(
            not_statement=waf.CfnWebACL.NotStatementProperty(statement=_matches(secret, header, "EXACTLY"))
        ),
        visibility_config=_seen("OnlyFromFrontDoor"),
    )


def limiting_rules() -> list[waf.CfnWebACL.RuleProperty]:
    """Rate rules and AWS's managed rules, where the caller's own address is seen."""
    rules = [
        _rate("RateOfLoginCodes", 1, LIMIT_OTP, OTP_PATHS),
        _rate("RateOfWebhook", 2, LIMIT_WEBHOOK, WEBHOOK_PATHS),
        _rate("RateOfAddress", 3, LIMIT_ANY),
    ]
    return rules + [_managed(name, counted, 10 + number) for number, (name, counted) in enumerate(_MANAGED)]


def web_acl(
    scope: Construct,
    name: str,
    *,
    is_global: bool,
    origin_secret: str = "",
    limited_answer: str,
) -> waf.CfnWebACL:
    """A web ACL. With ``origin_secret`` only CloudFront's calls pass: it has done the rest already."""
    rules = [_only_from_front_door(origin_secret)] if origin_secret else limiting_rules()
    bodies = None
    if not origin_secret:
        body = waf.CfnWebACL.CustomResponseBodyProperty(content=limited_answer, content_type="APPLICATION_JSON")
        bodies = {"limited": body}
    return waf.CfnWebACL(
        scope,
        "WebAcl",
        name=name,
        scope="CLOUDFRONT" if is_global else "REGIONAL",
        default_action=waf.CfnWebACL.DefaultActionProperty(allow={}),
        rules=rules,
        custom_response_bodies=bodies,
        visibility_config=_seen(name),
    )
