"""Deploys a synthesised CDK app (`cdk.out`) by CloudFormation, without the CDK's command: for LocalStack.

What `cdk bootstrap` and `cdk deploy` would do: a bucket for assets, archives of their folders, then one stack after the
other, each after those that it needs.
"""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.local.processes import ROOT

Client = Callable[[str], Any]
"""A boto3 client by service name."""

_BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
_BOOTSTRAP_VERSION = "28"
_FAILED = ("FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_IN_PROGRESS")
_WAIT = {"Delay": 1, "MaxAttempts": 300}


class DeploymentError(Exception):
    """A stack could not be made; the message has CloudFormation's reasons."""


@dataclass(frozen=True, slots=True)
class StackArtifact:
    """One stack of the assembly and the stacks that have to be there before it."""

    artifact: str
    name: str
    template: Path
    template_asset: str  # s3://bucket/key of the template, which is an asset as well
    parameters: Mapping[str, str]
    after: frozenset[str]
    asset_manifests: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class DeployedStack:
    """What CloudFormation says about a stack: outputs by name, and type and physical id by logical id."""

    name: str
    outputs: Mapping[str, str]
    resources: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def ids(self, kind: str) -> list[str]:
        """Physical ids of the resources of one type."""
        return sorted(physical for type_, physical in self.resources.values() if type_ == kind)


def read_assembly(directory: Path) -> list[StackArtifact]:
    """The stacks of a cloud assembly, each after those that it depends on.

    Raises:
        DeploymentError: it needs something that is made elsewhere (container images, nested assemblies).
    """
    artifacts: dict[str, Any] = json.loads((directory / "manifest.json").read_text())["artifacts"]
    stacks = {name for name, one in artifacts.items() if one["type"] == "aws:cloudformation:stack"}
    manifests = {name for name, one in artifacts.items() if one["type"] == "cdk:asset-manifest"}
    if nested := [name for name, one in artifacts.items() if one["type"] == "cdk:cloud-assembly"]:
        raise DeploymentError(f"{nested[0]} is a stage: give the directory of the stage itself")
    found: dict[str, StackArtifact] = {}
    for name in stacks:
        properties, needs = artifacts[name]["properties"], set(artifacts[name].get("dependencies", ()))
        found[name] = StackArtifact(
            name,
            properties.get("stackName", name),
            directory / properties["templateFile"],
            properties["stackTemplateAssetObjectUrl"],
            properties.get("parameters", {}),
            frozenset(needs & stacks),
            tuple(directory / artifacts[one]["properties"]["file"] for one in sorted(needs & manifests)),
        )
    return list(_in_order(found))


def _in_order(stacks: dict[str, StackArtifact]) -> Iterator[StackArtifact]:
    done: set[str] = set()
    while waiting := sorted(set(stacks) - done):
        ready = next((name for name in waiting if stacks[name].after <= done), None)
        if ready is None:
            raise DeploymentError(f"stacks that wait for each other: {', '.join(waiting)}")
        done.add(ready)
        yield stacks[ready]


class CloudDeployer:
    """Deploys into the account and region of ``client``."""

    def __init__(self, client: Client, progress: Callable[[str], None] = lambda _line: None) -> None:
        self._client = client
        self._cloudformation = client("cloudformation")
        self._s3 = client("s3")
        self._progress = progress
        self._account = client("sts").get_caller_identity()["Account"]
        self._region: str = self._cloudformation.meta.region_name

    def bootstrap(self, stacks: list[StackArtifact]) -> None:
        """Make the bucket that assets go to, and say that it is there."""
        parameter = {"Name": _BOOTSTRAP_PARAMETER, "Value": _BOOTSTRAP_VERSION, "Type": "String", "Overwrite": True}
        self._client("ssm").put_parameter(**parameter)
        wanted = {bucket for manifest in _manifests(stacks) for bucket, _, _, _ in self._files(manifest)}
        for bucket in sorted(wanted):
            self._s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": self._region})

    def publish(self, stacks: list[StackArtifact]) -> int:
        """Put all assets into their buckets; how many."""
        published: set[str] = set()
        for manifest in _manifests(stacks):
            for bucket, key, path, packaging in self._files(manifest):
                if key in published:
                    continue
                body = archive(path) if packaging == "zip" else path.read_bytes()
                self._s3.put_object(Bucket=bucket, Key=key, Body=body)
                published.add(key)
        return len(published)

    def deploy(self, stack: StackArtifact) -> DeployedStack:
        """Make one stack and wait for it.

        Raises:
            DeploymentError: CloudFormation gave up, or left a resource out.
        """
        self._progress(f"deploying {stack.name}")
        self._cloudformation.create_stack(
            StackName=stack.name,
            # Not its body: large templates must come from S3.
            TemplateURL=f"{self._s3.meta.endpoint_url}/{self._fill(stack.template_asset).removeprefix('s3://')}",
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in stack.parameters.items()],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        from botocore.exceptions import WaiterError

        try:
            waiter = self._cloudformation.get_waiter("stack_create_complete")
            waiter.wait(StackName=stack.name, WaiterConfig=_WAIT)
        except WaiterError as error:
            raise DeploymentError(f"{stack.name}: {self._reasons(stack.name) or error}") from None
        return self.describe(stack.name)

    def describe(self, name: str) -> DeployedStack:
        """A stack that is there."""
        stack = self._cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", ())}
        pages = self._cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
        resources = {
            one["LogicalResourceId"]: (one["ResourceType"], one.get("PhysicalResourceId", ""))
            for page in pages
            for one in page["StackResourceSummaries"]
        }
        return DeployedStack(name, outputs, resources)

    def _reasons(self, name: str) -> str:
        events = self._cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        reasons = [
            f"{event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', '')}"
            for event in events
            if event["ResourceStatus"].endswith(_FAILED) and event.get("ResourceStatusReason")
        ]
        return "; ".join(reversed(reasons))

    def _files(self, manifest: Path) -> Iterator[tuple[str, str, Path, str]]:
        """Bucket, key, source and packaging of each file that a manifest names."""
        document = json.loads(manifest.read_text())
        if document.get("dockerImages"):
            raise DeploymentError(f"{manifest.name} wants container images, which cannot be built here")
        for asset in document.get("files", {}).values():
            source = asset["source"]
            if "executable" in source:
                raise DeploymentError(f"{manifest.name} wants a program to make an asset")
            path = manifest.parent / source["path"]
            for destination in asset["destinations"].values():
                yield self._fill(destination["bucketName"]), destination["objectKey"], path, source["packaging"]

    def _fill(self, text: str) -> str:
        for name, value in (("AccountId", self._account), ("Region", self._region), ("Partition", "aws")):
            text = text.replace(f"${{AWS::{name}}}", value)
        return text


def synthesise(directory: Path, context: Mapping[str, Any]) -> Path:
    """Synthesise the app into ``directory`` with values over those of cdk.json (`-c key=value` of the CDK's command).

    Raises:
        DeploymentError: the app refuses; the message is its last words.
    """
    environment = {**os.environ, "CDK_CONTEXT_JSON": json.dumps(dict(context)), "CDK_OUTDIR": str(directory)}
    command = [sys.executable, "-m", "infra.app"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DeploymentError(f"the app does not synthesise:\n{done.stderr[-3000:]}")
    return directory


def _manifests(stacks: list[StackArtifact]) -> list[Path]:
    return sorted({manifest for stack in stacks for manifest in stack.asset_manifests})


def archive(directory: Path) -> bytes:
    """A zip file of everything in ``directory``, without compression: it goes to this machine only."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED, strict_timestamps=False) as file:
        for folder, _, names in os.walk(directory, followlinks=True):
            for name in names:
                path = Path(folder) / name
                file.write(path, path.relative_to(directory))
    return buffer.getvalue()
