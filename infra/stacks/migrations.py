"""The database is migrated before any code that needs it: later stacks depend on this one.

A function and not a container task: it has the code's own layers, needs no image, and its failure fails the
deployment. The trigger calls it whenever its code or the shared layer (which holds the migrations) has changed.
"""

from aws_cdk import Duration, triggers
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.environment import Environment
from infra.functions import MIGRATE
from infra.nag import accept
from infra.secrets import DATABASE_LOGINS, DATABASE_OWNER
from infra.stacks.base import ProductStack
from infra.stacks.functions import Foundation, ProductFunctions


class MigrationsStack(ProductStack):
    """Function ``migrate`` and, outside LocalStack, the trigger that calls it."""

    def __init__(self, scope: Construct, environment: Environment, foundation: Foundation) -> None:
        super().__init__(scope, "Migrations", environment)
        functions = ProductFunctions(self, foundation)
        function = functions.add(MIGRATE, reserved=1, settings=functions.owner_settings())
        for name in (DATABASE_OWNER, *DATABASE_LOGINS.values()):
            foundation.secrets.secrets[name].grant_read(function)
        if not environment.localstack:
            self._call(function)

    def _call(self, function: lambda_.Function) -> None:
        triggers.Trigger(
            self,
            "BeforeNewCode",
            handler=function,
            timeout=Duration.seconds(MIGRATE.timeout_s),
            invocation_type=triggers.InvocationType.REQUEST_RESPONSE,
        )
        for child in self.node.find_all():
            if child.node.id == "AWSCDK.TriggerCustomResourceProviderCustomResourceProvider":
                accept(
                    child,
                    {
                        "AwsSolutions-IAM4": "The CDK's own helper; AWS's basic policy lets it write its log.",
                        "AwsSolutions-IAM5": "It may invoke the migration function, in any of its versions.",
                        "AwsSolutions-L1": "The CDK chooses the runtime of its helper.",
                    },
                )
