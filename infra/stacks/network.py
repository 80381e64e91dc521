"""VPC and security groups. The groups are here, together, so that no stack needs another's for a rule."""

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from infra.environment import Environment
from infra.nag import accept
from infra.stacks.base import ProductStack

TIER_PORT = 9220
DATABASE_PORT = 5432
EXTERNAL_DATABASE_PORTS = (5432, 6543)  # Supabase: direct and pooled
CACHE_PORT = 6379
HTTPS_PORT = 443
HTTP_PORT = 80
CLIENT_CERTIFICATE_PORT = 8443

_ENDPOINTS = {
    "Sqs": ec2.InterfaceVpcEndpointAwsService.SQS,
    "Secrets": ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
    "Logs": ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS,
    "EcrApi": ec2.InterfaceVpcEndpointAwsService.ECR,
    "EcrDocker": ec2.InterfaceVpcEndpointAwsService.ECR_DOCKER,
    "LoadBalancing": ec2.InterfaceVpcEndpointAwsService.ELASTIC_LOAD_BALANCING,
    "XRay": ec2.InterfaceVpcEndpointAwsService.XRAY,
}


class NetworkStack(ProductStack):
    """Three kinds of subnet: public (load balancer, NAT), work (functions, containers), data (no way out)."""

    def __init__(self, scope: Construct, environment: Environment) -> None:
        super().__init__(scope, "Network", environment)
        accept(self, {"CloudFormation-Validate::W3010": "The zones are the environment's: looked up, they would move."})
        has_nat = environment.nat_gateways > 0
        work = ec2.SubnetType.PRIVATE_WITH_EGRESS if has_nat else ec2.SubnetType.PRIVATE_ISOLATED
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            ip_addresses=ec2.IpAddresses.cidr(environment.vpc_cidr),
            availability_zones=list(environment.zones),
            nat_gateways=environment.nat_gateways,
            restrict_default_security_group=False,  # its helper function would need rights of its own; nothing uses it
            subnet_configuration=[
                ec2.SubnetConfiguration(name="public", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=24),
                ec2.SubnetConfiguration(name="work", subnet_type=work, cidr_mask=20),
                ec2.SubnetConfiguration(name="data", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=24),
            ],
            gateway_endpoints={"S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)},
        )
        self.vpc.add_flow_log(
            "Flow",
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(self.log_group(f"/{environment.prefix}/flow")),
            traffic_type=ec2.FlowLogTrafficType.REJECT,
        )
        self.work_subnets = ec2.SubnetSelection(subnet_group_name="work")
        self.data_subnets = ec2.SubnetSelection(subnet_group_name="data")
        self._groups(environment)
        if environment.interface_endpoints:
            self._endpoints()

    @property
    def availability_zones(self) -> list[str]:
        """The zones that the environment names; the CDK would look them up with credentials."""
        return list(self.environment_values.zones)

    def _groups(self, environment: Environment) -> None:
        self.load_balancer_group = self._group("LoadBalancer", "Load balancer of chargers and of the stream")
        self.tier_group = self._group("SocketTier", "Containers of the socket tier")
        # Payment and push providers answer on ports of their own choice.
        self.function_group = ec2.SecurityGroup(
            self, "Functions", vpc=self.vpc, description="Lambda functions", allow_all_outbound=True
        )
        self.database_group = self._group("Database", "PostgreSQL")
        self.cache_group = self._group("Cache", "Valkey")
        public = [HTTPS_PORT]
        if environment.plain_websockets:
            public.append(HTTP_PORT)
        if environment.client_certificates == "verify":
            public.append(CLIENT_CERTIFICATE_PORT)
        for port in public:
            self.load_balancer_group.add_ingress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(port), "chargers and the app")
        accept(
            self.load_balancer_group,
            {"AwsSolutions-EC23": "Chargers connect from anywhere on the internet, and to these ports."},
        )
        self.load_balancer_group.add_egress_rule(self.tier_group, ec2.Port.tcp(TIER_PORT), "to the socket tier")
        self.tier_group.add_ingress_rule(self.load_balancer_group, ec2.Port.tcp(TIER_PORT), "from the load balancer")
        self.tier_group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(HTTPS_PORT), "SQS, secrets, images, Sentry")
        for client in (self.tier_group, self.function_group):
            self.database_group.add_ingress_rule(client, ec2.Port.tcp(DATABASE_PORT), "product")
            self.cache_group.add_ingress_rule(client, ec2.Port.tcp(CACHE_PORT), "product")
        # RDS Proxy stands in the same group and calls the instance.
        self.database_group.add_ingress_rule(self.database_group, ec2.Port.tcp(DATABASE_PORT), "proxy")
        self.database_group.add_egress_rule(self.database_group, ec2.Port.tcp(DATABASE_PORT), "proxy")
        self.tier_group.add_egress_rule(self.cache_group, ec2.Port.tcp(CACHE_PORT), "Valkey")
        if environment.has_database:
            self.tier_group.add_egress_rule(self.database_group, ec2.Port.tcp(DATABASE_PORT), "PostgreSQL")
        else:
            for port in EXTERNAL_DATABASE_PORTS:
                self.tier_group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(port), "external PostgreSQL")

    def _group(self, name: str, description: str) -> ec2.SecurityGroup:
        return ec2.SecurityGroup(self, name, vpc=self.vpc, description=description, allow_all_outbound=False)

    def _endpoints(self) -> None:
        group = self._group("Endpoints", "AWS services inside the VPC")
        group.add_ingress_rule(ec2.Peer.ipv4(self.environment_values.vpc_cidr), ec2.Port.tcp(HTTPS_PORT), "from inside")
        for name, service in _ENDPOINTS.items():
            self.vpc.add_interface_endpoint(
                name, service=service, subnets=self.work_subnets, security_groups=[group], open=False
            )
