"""Reasons for what cdk-nag finds and we mean to have. A finding without a reason fails the tests."""

from collections.abc import Mapping

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct


def accept(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Accept findings of ``construct`` and below: rule id (``Rule[finding]`` for one of several) -> reason."""
    for rule, reason in reasons.items():
        Validations.of(construct).acknowledge(Acknowledgment(id=rule, reason=reason))


def managed_policy(name: str) -> str:
    """Id of the finding that a role has AWS's own policy ``name``."""
    return f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{name}]"


ANY_RESOURCE = "AwsSolutions-IAM5[Resource::*]"
