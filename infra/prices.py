"""AWS's list prices that the cost model uses (infra/cost_model.py), each with the place where it was read."""

from dataclasses import dataclass

REGION = "eu-central-1"
# What was found are prices of us-east-1. Frankfurt is dearer, by 7 to 16 % for NAT and 10 to 30 % in general by these
# sources; one factor stands for all.
REGION_FACTOR = 1.15


@dataclass(frozen=True, slots=True)
class Price:
    """USD per unit. ``is_regional``: it is that of us-east-1, and other regions differ."""

    usd: float
    unit: str
    source: str
    is_regional: bool = True


_UNSOURCED = "no source at hand: check first"
_FARGATE = "vantage.sh/blog/fargate-pricing (Linux/ARM)"
_NAT = "cloudburn.io/blog/aws-nat-gateway-pricing, 2026-02"
_ENDPOINT = "egresscost.com/nat-gateway"
_RDS = "infratally.com, RDS pricing explained, 2026"
_WATCH = "factualminds.com, CloudWatch pricing, 2026-06; signoz.io/guides/cloudwatch-pricing, 2026-02"
_WAF = "awsnegotiations.com/waf-pricing-strategy, 2026"
_CDN = "wring.co/blog/aws-cloudfront-pricing-guide, 2026-03; aws.amazon.com/cloudfront/pricing"
_SQS = "cloudburn.io/blog/amazon-sqs-pricing, 2026-03"
_LAMBDA = "projecthelena.com/blog/aws-bill-breakdown-2026 (x86 less 20 % for ARM)"
_ALB = "cal53.calculator.city/aws-alb-cost-calculator; LCU 0.008 as in most regions"

PRICES = {
    "fargate_vcpu": Price(0.03238, "vCPU-hour", _FARGATE),
    "fargate_gb": Price(0.00356, "GB-hour", _FARGATE),
    "alb": Price(0.0225, "hour", _ALB),
    "lcu": Price(0.008, "LCU-hour", _ALB, is_regional=False),
    "db.t4g.medium": Price(0.065, "hour, one zone", _RDS),
    "db.m7g.large": Price(0.168, "hour, one zone", _UNSOURCED),
    "db.m7g.xlarge": Price(0.337, "hour, one zone", _UNSOURCED),
    "rds_gb": Price(0.115, "GB-month of gp3, one zone", "usage.ai, RDS pricing calculator, 2026-06"),
    "cache.t4g.small": Price(0.0256, "node-hour, Valkey", _UNSOURCED),
    "cache.m7g.large": Price(0.1264, "node-hour, Valkey", _UNSOURCED),
    "nat": Price(0.045, "hour", _NAT),
    "nat_gb": Price(0.045, "GB", _NAT),
    "ipv4": Price(0.005, "address-hour", _NAT, is_regional=False),
    "endpoint": Price(0.01, "endpoint-hour in one zone", _ENDPOINT),
    "endpoint_gb": Price(0.01, "GB", _ENDPOINT),
    "api_request": Price(3.50, "million requests", "AWS whitepaper on private APIs, cost optimization"),
    "lambda_request": Price(0.20, "million calls", _LAMBDA, is_regional=False),
    "lambda_gb_s": Price(0.0000133334, "GB-second, ARM", _LAMBDA, is_regional=False),
    "cdn_request": Price(0.01, "10,000 HTTPS requests", _CDN),
    "cdn_gb": Price(0.085, "GB, the first 10 TB", _CDN, is_regional=False),
    "waf_acl": Price(5, "web ACL", _WAF, is_regional=False),
    "waf_rule": Price(1, "rule or managed group", _WAF, is_regional=False),
    "waf_request": Price(0.60, "million requests", _WAF, is_regional=False),
    "sqs": Price(0.40, "million requests", _SQS, is_regional=False),
    "sqs_fifo": Price(0.50, "million requests", _SQS, is_regional=False),
    "metric": Price(0.30, "metric, the first 10,000", _WATCH, is_regional=False),
    "alarm": Price(0.10, "metric of an alarm", _UNSOURCED, is_regional=False),
    "dashboard": Price(3, "dashboard", _WATCH, is_regional=False),
    "log_gb": Price(0.50, "GB taken in", _WATCH),
    "log_kept_gb": Price(0.03, "GB-month kept, compressed", _UNSOURCED),
    "trace": Price(5, "million traces", _UNSOURCED, is_regional=False),
    "secret": Price(0.40, "secret", _UNSOURCED, is_regional=False),
    "s3_gb": Price(0.023, "GB-month", _UNSOURCED),
}
