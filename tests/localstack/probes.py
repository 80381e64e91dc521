"""For each type of resource: does the API of its service know it? CloudFormation's word is not taken for it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Probe = Callable[["Found"], object]

NOT_ON_LOCALSTACK = frozenset({"AWS::CloudWatch::Dashboard"})
"""LocalStack's CloudFormation says that it made these, and did not (docs/operations/verification.md)."""


@dataclass(frozen=True, slots=True)
class Found:
    """One resource of a deployed stack. Properties are the template's, with references not filled in."""

    aws: Callable[[str], Any]
    physical_id: str
    properties: Mapping[str, Any]
    siblings: Mapping[str, str]  # logical id -> physical id, the stack's

    def ref(self, name: str) -> str:
        """Physical id behind a property that is a reference to a resource of the same stack."""
        value = self.properties[name]
        if isinstance(value, str):
            return value
        return self.siblings[value["Ref"] if "Ref" in value else value["Fn::GetAtt"][0]]


def _one(things: list[Any]) -> Any:
    assert len(things) == 1, things
    return things[0]


def _rest_api(found: Found) -> object:
    return found.aws("apigateway").get_rest_api(restApiId=found.physical_id)


def _method(found: Found) -> object:
    api, resource, verb = found.physical_id.split("-")
    return found.aws("apigateway").get_method(restApiId=api, resourceId=resource, httpMethod=verb)["methodIntegration"]


def _gateway_response(found: Found) -> object:
    answer = found.aws("apigateway").get_gateway_response(
        restApiId=found.ref("RestApiId"), responseType=found.properties["ResponseType"]
    )
    assert answer["statusCode"] == found.properties["StatusCode"]
    assert answer["responseTemplates"] == found.properties["ResponseTemplates"]
    return answer["responseParameters"] == found.properties["ResponseParameters"]


def _permission(found: Found) -> object:
    """LocalStack gives permissions ids of its own, so it is found by who may call what."""
    function = found.siblings[found.properties["FunctionName"]["Fn::GetAtt"][0]]
    policy = json.loads(found.aws("lambda").get_policy(FunctionName=function)["Policy"])
    callers = {statement["Principal"]["Service"] for statement in policy["Statement"]}
    return found.properties["Principal"] in callers


def _role_policy(found: Found) -> object:
    role = found.siblings[_one(found.properties["Roles"])["Ref"]]
    answer = found.aws("iam").get_role_policy(RoleName=role, PolicyName=found.properties["PolicyName"])
    return answer["PolicyDocument"]["Statement"]


def _queue_policy(found: Found) -> object:
    url = found.siblings[_one(found.properties["Queues"])["Ref"]]
    answer = found.aws("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
    return json.loads(answer["Attributes"]["Policy"])["Statement"]


def _log_group(found: Found) -> object:
    groups = found.aws("logs").describe_log_groups(logGroupNamePrefix=found.physical_id)["logGroups"]
    return [group for group in groups if group["logGroupName"] == found.physical_id]


def _layer(found: Found) -> object:
    return found.aws("lambda").get_layer_version_by_arn(Arn=found.physical_id)["Content"]["CodeSize"] > 0


def _function(found: Found) -> object:
    return found.aws("lambda").get_function(FunctionName=found.physical_id)["Configuration"]["State"] == "Active"


def _mapping(found: Found) -> object:
    return found.aws("lambda").get_event_source_mapping(UUID=found.physical_id)["State"] == "Enabled"


def _alarm(found: Found) -> object:
    return _one(found.aws("cloudwatch").describe_alarms(AlarmNames=[found.physical_id])["MetricAlarms"])


PROBES: dict[str, Probe] = {
    "AWS::ApiGateway::Account": lambda f: f.aws("apigateway").get_account().get("cloudwatchRoleArn"),
    "AWS::ApiGateway::Deployment": lambda f: f.aws("apigateway").get_deployment(
        restApiId=f.ref("RestApiId"), deploymentId=f.physical_id
    ),
    "AWS::ApiGateway::GatewayResponse": _gateway_response,
    "AWS::ApiGateway::Method": _method,
    "AWS::ApiGateway::Resource": lambda f: f.aws("apigateway").get_resource(
        restApiId=f.ref("RestApiId"), resourceId=f.physical_id
    ),
    "AWS::ApiGateway::RestApi": _rest_api,
    "AWS::ApiGateway::Stage": lambda f: f.aws("apigateway").get_stage(
        restApiId=f.ref("RestApiId"), stageName=f.physical_id
    ),
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::Events::Rule": lambda f: f.aws("events").describe_rule(Name=f.physical_id)["State"] == "ENABLED",
    "AWS::IAM::Policy": _role_policy,
    "AWS::IAM::Role": lambda f: f.aws("iam").get_role(RoleName=f.physical_id),
    "AWS::Lambda::EventSourceMapping": _mapping,
    "AWS::Lambda::Function": _function,
    "AWS::Lambda::LayerVersion": _layer,
    "AWS::Lambda::Permission": _permission,
    "AWS::Logs::LogGroup": _log_group,
    "AWS::S3::Bucket": lambda f: f.aws("s3").head_bucket(Bucket=f.physical_id),
    "AWS::SecretsManager::Secret": lambda f: f.aws("secretsmanager").describe_secret(SecretId=f.physical_id),
    "AWS::SNS::Topic": lambda f: f.aws("sns").get_topic_attributes(TopicArn=f.physical_id),
    "AWS::SNS::TopicPolicy": lambda f: f.aws("sns").get_topic_attributes(
        TopicArn=f.siblings[_one(f.properties["Topics"])["Ref"]]
    )["Attributes"]["Policy"],
    "AWS::SQS::Queue": lambda f: f.aws("sqs").get_queue_attributes(QueueUrl=f.physical_id, AttributeNames=["QueueArn"]),
    "AWS::SQS::QueuePolicy": _queue_policy,
    "AWS::SSM::Parameter": lambda f: f.aws("ssm").get_parameter(Name=f.physical_id),
}
"""Type -> question to the service; true, or an answer, when it is there as the template wants it."""
