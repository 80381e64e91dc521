"""The socket tier's load balancer: TLS, and if wanted plain WebSockets and chargers' own certificates."""

from aws_cdk import Duration
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_route53_targets as route53_targets
from aws_cdk import aws_s3 as s3

from infra.environment import Environment
from infra.paths import CHARGER_PREFIXES, STREAM_PATHS
from infra.stacks.base import ProductStack
from infra.stacks.data import DataStack
from infra.stacks.domains import regional_certificate, zone
from infra.stacks.network import CLIENT_CERTIFICATE_PORT, HTTP_PORT, HTTPS_PORT, TIER_PORT, NetworkStack

CERTIFICATE_HEADER = "X-Amzn-Mtls-Clientcert"
_CERTIFICATE_HEADERS = (
    CERTIFICATE_HEADER,
    *(f"{CERTIFICATE_HEADER}-{part}" for part in ("Subject", "Serial-Number", "Issuer", "Validity", "Leaf")),
)
IDLE_TIMEOUT_S = 120  # four times the longest pause between our pings (OCPP_PING_INTERVAL_S)
DEREGISTRATION_DELAY_S = 120  # above what the tier needs to notice that it drains, and to send everybody away
_CHARGER_PATHS = tuple(f"{prefix}/*" for prefix in CHARGER_PREFIXES)
_TLS = elb.SslPolicy.TLS13_RES  # TLS 1.3 and 1.2


class LoadBalancer:
    """Made in the socket tier's stack. What is not a path of ours is answered here, with 404."""

    def __init__(self, stack: ProductStack, environment: Environment, network: NetworkStack, data: DataStack) -> None:
        self._stack = stack
        self.balancer = elb.ApplicationLoadBalancer(
            stack,
            "LoadBalancer",
            load_balancer_name=environment.prefix,
            vpc=network.vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_group_name="public"),
            internet_facing=True,
            security_group=network.load_balancer_group,
            idle_timeout=Duration.seconds(IDLE_TIMEOUT_S),
            http2_enabled=True,
            drop_invalid_header_fields=True,
            desync_mitigation_mode=elb.DesyncMitigationMode.DEFENSIVE,
            deletion_protection=environment.is_production,
        )
        self.balancer.log_access_logs(data.log_bucket, "load-balancer")
        self.targets = elb.ApplicationTargetGroup(
            stack,
            "Tasks",
            vpc=network.vpc,
            port=TIER_PORT,
            protocol=elb.ApplicationProtocol.HTTP,
            target_type=elb.TargetType.IP,
            deregistration_delay=Duration.seconds(DEREGISTRATION_DELAY_S),
            load_balancing_algorithm_type=elb.TargetGroupLoadBalancingAlgorithmType.LEAST_OUTSTANDING_REQUESTS,
            # Alive, not ready: a database that is away must not make ECS replace every task and drop every socket.
            health_check=elb.HealthCheck(
                path="/health",
                interval=Duration.seconds(10),
                timeout=Duration.seconds(5),
                healthy_threshold_count=2,
                unhealthy_threshold_count=3,
                healthy_http_codes="200",
            ),
        )
        certificate = regional_certificate(stack, environment, (environment.charger_domain,))
        self.listeners = [self._listener("Tls", HTTPS_PORT, certificate)]
        if environment.plain_websockets:
            self.listeners.append(self._listener("Plain", HTTP_PORT, None))
        for listener in self.listeners:
            self._refuse_claimed_certificates(listener)
        if environment.client_certificates == "verify":
            self.listeners.append(
                self._listener("ClientCertificates", CLIENT_CERTIFICATE_PORT, certificate, self._trust(environment))
            )
        for listener in self.listeners:
            self._forward(listener)
        if hosted_zone := zone(stack, environment):
            route53.ARecord(
                stack,
                "ChargersRecord",
                zone=hosted_zone,
                record_name=f"{environment.charger_domain}.",
                target=route53.RecordTarget.from_alias(route53_targets.LoadBalancerTarget(self.balancer)),
            )

    def _listener(
        self, name: str, port: int, certificate: str | None, trust: elb.TrustStore | None = None
    ) -> elb.ApplicationListener:
        return self.balancer.add_listener(
            name,
            port=port,
            protocol=elb.ApplicationProtocol.HTTPS if certificate else elb.ApplicationProtocol.HTTP,
            certificates=[elb.ListenerCertificate.from_arn(certificate)] if certificate else None,
            ssl_policy=_TLS if certificate else None,
            mutual_authentication=(
                elb.MutualAuthentication(
                    mutual_authentication_mode=elb.MutualAuthenticationMode.VERIFY,
                    trust_store=trust,
                    ignore_client_certificate_expiry=False,
                )
                if trust
                else None
            ),
            open=False,  # the security group says who may come in
            default_action=elb.ListenerAction.fixed_response(404, content_type="text/plain", message_body="not here"),
        )

    def _refuse_claimed_certificates(self, listener: elb.ApplicationListener) -> None:
        """Use case: somebody sends the header that says "this certificate was verified" where none is asked for."""
        for number, header in enumerate(_CERTIFICATE_HEADERS, start=1):
            elb.ApplicationListenerRule(
                self._stack,
                f"{listener.node.id}NoClaim{number}",
                listener=listener,
                priority=number,
                conditions=[elb.ListenerCondition.http_header(header, ["*"])],
                action=elb.ListenerAction.fixed_response(
                    400, content_type="text/plain", message_body="client certificates are asked for on port 8443"
                ),
            )

    def _forward(self, listener: elb.ApplicationListener) -> None:
        """Chargers and the app's stream; /metrics and /readyz stay inside."""
        for number, paths in ((20, _CHARGER_PATHS), (21, STREAM_PATHS)):
            elb.ApplicationListenerRule(
                self._stack,
                f"{listener.node.id}Paths{number}",
                listener=listener,
                priority=number,
                conditions=[elb.ListenerCondition.path_patterns(list(paths))],
                action=elb.ListenerAction.forward([self.targets]),
            )

    def _trust(self, environment: Environment) -> elb.TrustStore:
        return elb.TrustStore(
            self._stack,
            "Authorities",
            trust_store_name=environment.prefix,
            bucket=s3.Bucket.from_bucket_name(self._stack, "TrustBucket", environment.trust_store_bucket),
            key=environment.trust_store_key,
        )
