"""Certificates and DNS: made in the given Route 53 zone, or taken as given when DNS is elsewhere."""

from collections.abc import Sequence

from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_route53 as route53
from constructs import Construct

from infra.environment import Environment


def zone(scope: Construct, environment: Environment) -> route53.IHostedZone | None:
    """The zone of the domain, or None: then records are made by hand from the stacks' outputs."""
    if not environment.hosted_zone_id:
        return None
    return route53.HostedZone.from_hosted_zone_attributes(
        scope, "Zone", hosted_zone_id=environment.hosted_zone_id, zone_name=environment.hosted_zone_name
    )


def certificate(scope: Construct, environment: Environment, names: Sequence[str], given: str) -> str:
    """ARN of a certificate for ``names`` in the stack's region: ``given``, or one validated by DNS."""
    if given:
        return given
    hosted_zone = route53.HostedZone.from_hosted_zone_attributes(
        scope,
        "CertificateZone",
        hosted_zone_id=environment.hosted_zone_id,
        zone_name=environment.hosted_zone_name,
    )
    made = acm.Certificate(
        scope,
        "Certificate",
        domain_name=names[0],
        subject_alternative_names=list(names[1:]) or None,
        validation=acm.CertificateValidation.from_dns(hosted_zone),
    )
    return str(made.certificate_arn)


def regional_certificate(scope: Construct, environment: Environment, names: Sequence[str]) -> str:
    """ARN of the certificate in the deployment's region."""
    return certificate(scope, environment, names, environment.certificate_arn)
