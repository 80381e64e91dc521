"""CloudFront: one host name for app, chargers and webhook. Caches nothing. In us-east-1, where its parts must be.

It names its origins by their DNS names, so that it needs nothing from a stack of another region.
"""

from aws_cdk import CfnOutput, Duration, RemovalPolicy, SecretValue
from aws_cdk import Environment as CdkEnvironment
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_route53_targets as targets
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.environment import Environment
from infra.gateway_responses import GATEWAY_RESPONSES
from infra.nag import accept
from infra.paths import CHARGER_PREFIXES, STREAM_PATHS
from infra.secrets import ORIGIN_VERIFY
from infra.stacks.base import ProductStack
from infra.stacks.domains import certificate, zone
from infra.stacks.waf import ORIGIN_HEADER, web_acl

REGION = "us-east-1"
_LOG_DAYS = 90


class FrontDoorStack(ProductStack):
    """The distribution with its web ACL, certificate and log bucket."""

    def __init__(self, scope: Construct, environment: Environment) -> None:
        super().__init__(
            scope,
            "FrontDoor",
            environment,
            env=CdkEnvironment(account=environment.account or None, region=REGION),
        )
        acl = web_acl(
            self,
            f"{environment.prefix}-front",
            is_global=True,
            limited_answer=GATEWAY_RESPONSES["THROTTLED"].body,
        )
        certificate_arn = certificate(self, environment, (environment.domain,), environment.front_certificate_arn)
        to_tier = self._behaviour(self._origin(environment.charger_domain, is_gateway=False))
        self.distribution = cloudfront.Distribution(
            self,
            "Distribution",
            comment=f"EvPower {environment.name}",
            domain_names=[environment.domain],
            certificate=acm.Certificate.from_certificate_arn(self, "FrontCertificate", certificate_arn),
            minimum_protocol_version=cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021,
            http_version=cloudfront.HttpVersion.HTTP2_AND_3,
            price_class=cloudfront.PriceClass.PRICE_CLASS_200,
            web_acl_id=acl.attr_arn,
            log_bucket=self._log_bucket(),
            log_includes_cookies=False,
            default_behavior=self._behaviour(self._origin(environment.api_domain, is_gateway=True)),
            additional_behaviors=dict.fromkeys(
                [*(f"{prefix}/*" for prefix in CHARGER_PREFIXES), *STREAM_PATHS], to_tier
            ),
        )
        accept(
            self.distribution,
            {"AwsSolutions-CFR1": "Drivers travel, and the payment provider calls from where it likes."},
        )
        CfnOutput(self, "DistributionName", value=self.distribution.distribution_domain_name)
        if hosted_zone := zone(self, environment):
            route53.ARecord(
                self,
                "Record",
                zone=hosted_zone,
                record_name=f"{environment.domain}.",
                target=route53.RecordTarget.from_alias(targets.CloudFrontTarget(self.distribution)),
            )

    def _origin(self, name: str, *, is_gateway: bool) -> origins.HttpOrigin:
        secret = SecretValue.secrets_manager(
            f"evpower/{self.environment_values.name}/{ORIGIN_VERIFY}", json_field="value"
        )
        return origins.HttpOrigin(
            name,
            protocol_policy=cloudfront.OriginProtocolPolicy.HTTPS_ONLY,
            origin_ssl_protocols=[cloudfront.OriginSslPolicy.TLS_V1_2],
            read_timeout=Duration.seconds(30),
            keepalive_timeout=Duration.seconds(30),
            custom_headers={ORIGIN_HEADER: secret.unsafe_unwrap()} if is_gateway else None,
        )

    @staticmethod
    def _behaviour(origin: origins.HttpOrigin) -> cloudfront.BehaviorOptions:
        return cloudfront.BehaviorOptions(
            origin=origin,
            allowed_methods=cloudfront.AllowedMethods.ALLOW_ALL,
            cache_policy=cloudfront.CachePolicy.CACHING_DISABLED,
            # Every header but Host, which must be the origin's own; the WebSocket's handshake is among them.
            origin_request_policy=cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
            viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.HTTPS_ONLY,
            compress=False,
        )

    def _log_bucket(self) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            "Logs",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            object_ownership=s3.ObjectOwnership.OBJECT_WRITER,  # CloudFront's standard logs need it
            lifecycle_rules=[s3.LifecycleRule(expiration=Duration.days(_LOG_DAYS))],
            removal_policy=RemovalPolicy.RETAIN,
        )
        accept(bucket, {"AwsSolutions-S1": "It holds the access logs; its own would feed themselves."})
        return bucket
