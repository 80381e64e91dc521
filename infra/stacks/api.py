"""API Gateway (REST v1) with its functions, and the workers of the queues."""

import json

from aws_cdk import CfnOutput
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_route53_targets as targets
from aws_cdk import aws_wafv2 as waf
from constructs import Construct

from infra.environment import Environment
from infra.functions import FUNCTIONS
from infra.gateway_responses import GATEWAY_RESPONSES
from infra.nag import accept, managed_policy
from infra.paths import WEBHOOK_PATHS
from infra.secrets import ORIGIN_VERIFY
from infra.settings import is_trusting_two_hops
from infra.stacks.base import ProductStack
from infra.stacks.domains import regional_certificate, zone
from infra.stacks.functions import Foundation, ProductFunctions
from infra.stacks.monitored import MonitoredApi, MonitoredFunction
from infra.stacks.waf import web_acl

STAGE = "live"
WORKER_CONCURRENCY = 10
WEBHOOK_RATE_PER_S = 50
WEBHOOK_BURST = 100

# Never the query string: it may hold a token or a phone number.
_ACCESS_LOG = {
    "requestId": "$context.requestId",
    "extendedRequestId": "$context.extendedRequestId",
    "traceId": "$context.xrayTraceId",
    "address": "$context.identity.sourceIp",
    "method": "$context.httpMethod",
    "path": "$context.path",
    "status": "$context.status",
    "bytes": "$context.responseLength",
    "latencyMs": "$context.responseLatency",
    "functionMs": "$context.integrationLatency",
    "functionStatus": "$context.integrationStatus",
    "error": "$context.error.responseType",
    "wafStatus": "$context.wafResponseCode",
}


class ApiStack(ProductStack):
    """What the app and the payment provider call."""

    def __init__(self, scope: Construct, environment: Environment, foundation: Foundation) -> None:
        super().__init__(scope, "Api", environment)
        self._foundation = foundation
        self._functions = ProductFunctions(self, foundation)
        self.api_function = self._functions.add_product(
            FUNCTIONS["api"],
            reserved=environment.api_concurrency,
            queues=frozenset({"commands.fifo", "payment-checks", "push"}),
        )
        self._allow_text_messages(self.api_function)
        self.webhook_function = self._functions.add_product(
            FUNCTIONS["payment_webhook"],
            reserved=environment.webhook_concurrency,
            queues=frozenset({"payment-checks"}),
        )
        self._workers()
        self.api = self._gateway()
        self._routes()
        self._gateway_responses()
        self.web_acl_name: str | None = None
        if not environment.localstack:
            self._protect()
            self._name()
        CfnOutput(self, "ApiUrl", value=self.api.url)

    @property
    def monitored_functions(self) -> dict[str, MonitoredFunction]:
        return self._functions.monitored

    @property
    def monitored_api(self) -> MonitoredApi:
        return MonitoredApi(
            self.api.rest_api_name, STAGE, WEBHOOK_PATHS, f"/{self.environment_values.prefix}/api-access"
        )

    def _allow_text_messages(self, function: lambda_.Function) -> None:
        if self.environment_values.settings.get("SMS_PROVIDER", "sns") == "sns":
            # A text message goes to a phone number, which is no resource. Topics are shut out.
            function.add_to_role_policy(
                iam.PolicyStatement(
                    actions=["sns:Publish"],
                    not_resources=[self.named_arn("sns", "*", region="*", account="*")],
                )
            )

    def _workers(self) -> None:
        """A payment check re-queues itself until the invoice ends: Lambda would take forty rounds for an accident."""
        for name, queues in (("payment_checks", {"payment-checks", "push"}), ("push", {"push"})):
            spec = FUNCTIONS[name]
            function = self._functions.add_product(
                spec, reserved=WORKER_CONCURRENCY, queues=frozenset(queues), is_recursive=True
            )
            source = next(iter(queues & {"payment-checks"} or {"push"}))
            self._functions.feed(function, self._foundation.queues.queues[source], spec)

    # --- gateway ------------------------------------------------------------------------------------------------

    def _gateway(self) -> apigateway.RestApi:
        environment = self.environment_values
        access = self.log_group(f"/{environment.prefix}/api-access")
        api = apigateway.RestApi(
            self,
            "Gateway",
            rest_api_name=f"{environment.prefix}-api",
            description="EvPower REST API",
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            # Behind its own name (or CloudFront) only; LocalStack knows no other than the default one.
            disable_execute_api_endpoint=not environment.localstack,
            # Every body reaches the functions byte by byte: the provider's signature covers bytes.
            binary_media_types=["*/*"],
            cloud_watch_role=True,
            deploy_options=apigateway.StageOptions(
                stage_name=STAGE,
                metrics_enabled=True,
                tracing_enabled=True,
                logging_level=apigateway.MethodLoggingLevel.ERROR,
                data_trace_enabled=False,
                throttling_rate_limit=environment.api_rate_per_s,
                throttling_burst_limit=environment.api_burst,
                access_log_destination=apigateway.LogGroupLogDestination(access),
                access_log_format=apigateway.AccessLogFormat.custom(json.dumps(_ACCESS_LOG)),
                method_options={
                    f"{path}/POST": apigateway.MethodDeploymentOptions(
                        metrics_enabled=True,
                        logging_level=apigateway.MethodLoggingLevel.ERROR,
                        data_trace_enabled=False,
                        throttling_rate_limit=WEBHOOK_RATE_PER_S,
                        throttling_burst_limit=WEBHOOK_BURST,
                    )
                    for path in WEBHOOK_PATHS
                },
            ),
        )
        accept(
            api,
            {
                "AwsSolutions-APIG2": "The functions validate with pydantic and answer in the product's envelope.",
                "AwsSolutions-APIG4": "The function authorizes: tokens, signatures, staff; some routes are public.",
                "AwsSolutions-COG4": "Users are not in Cognito: the function checks Supabase's and its own tokens.",
                managed_policy(
                    "service-role/AmazonAPIGatewayPushToCloudWatchLogs"
                ): "API Gateway's own policy, once per account, to write its logs.",
            },
        )
        if environment.localstack:
            accept(api, {"AwsSolutions-APIG3": "LocalStack has no WAF."})
        return api

    def _routes(self) -> None:
        """POST on the webhook's paths to its function, everything else to ``api``.

        Each resource on the way to them answers too, with a greedy one below, so that no path depends on how the
        gateway falls back.
        """
        to_api = self._integration(self.api_function)
        to_webhook = self._integration(self.webhook_function)
        methods = self.api.root
        methods.add_method("ANY", to_api)
        methods.add_resource("{proxy+}").add_method("ANY", to_api)
        known: dict[str, apigateway.Resource] = {}
        for path in WEBHOOK_PATHS:
            resource: apigateway.IResource = self.api.root
            parts = path.strip("/").split("/")
            for depth in range(len(parts)):
                key = "/".join(parts[: depth + 1])
                if key not in known:
                    known[key] = resource.add_resource(parts[depth])
                    known[key].add_method("ANY", to_api)
                    if key != path.strip("/"):
                        known[key].add_resource("{proxy+}").add_method("ANY", to_api)
                resource = known[key]
            resource.add_method("POST", to_webhook)

    @staticmethod
    def _integration(function: lambda_.Function) -> apigateway.LambdaIntegration:
        """One permission for the whole API: one for each method would outgrow the function's policy."""
        return apigateway.LambdaIntegration(function, allow_test_invoke=False, scope_permission_to_method=False)

    def _gateway_responses(self) -> None:
        for kind, response in GATEWAY_RESPONSES.items():
            apigateway.GatewayResponse(
                self,
                f"Response-{kind}",
                rest_api=self.api,
                type=apigateway.ResponseType.of(kind),
                status_code=str(response.status),
                response_headers={name: f"'{value}'" for name, value in response.headers.items()},
                templates={"application/json": response.body},
            )

    # --- names --------------------------------------------------------------------------------------------------

    def _protect(self) -> None:
        environment = self.environment_values
        secret = ""
        if is_trusting_two_hops(environment):
            secret = self._foundation.secrets.secrets[ORIGIN_VERIFY].secret_value_from_json("value").unsafe_unwrap()
        self.web_acl_name = f"{environment.prefix}-api"
        acl = web_acl(
            self,
            self.web_acl_name,
            is_global=False,
            origin_secret=secret,
            limited_answer=GATEWAY_RESPONSES["THROTTLED"].body,
        )
        waf.CfnWebACLAssociation(
            self,
            "WebAclOfApi",
            resource_arn=self.api.deployment_stage.stage_arn,
            web_acl_arn=acl.attr_arn,
        )

    def _name(self) -> None:
        environment = self.environment_values
        certificate = regional_certificate(self, environment, (environment.api_domain,))
        domain = self.api.add_domain_name(
            "Domain",
            domain_name=environment.api_domain,
            certificate=acm.Certificate.from_certificate_arn(self, "DomainCertificate", certificate),
            endpoint_type=apigateway.EndpointType.REGIONAL,
            security_policy=apigateway.SecurityPolicy.TLS_1_2,
        )
        CfnOutput(self, "ApiDomainTarget", value=domain.domain_name_alias_domain_name)
        if hosted_zone := zone(self, environment):
            route53.ARecord(
                self,
                "ApiRecord",
                zone=hosted_zone,
                record_name=f"{environment.api_domain}.",
                target=route53.RecordTarget.from_alias(targets.ApiGatewayDomain(domain)),
            )
