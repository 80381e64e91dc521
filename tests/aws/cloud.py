"""Synthesised deployments as plain data: stacks by part, resources by type."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Resource = Mapping[str, Any]

ALL_OPTIONS = {
    "env": "prod",
    "release": "0123456789abcdef",
    "database_proxy": "true",
    "cache_cluster": "true",
    "plain_websockets": "true",
    "client_certificates": "verify",
    "trust_store_bucket": "evpower-authorities",
    "trust_store_key": "chargers.pem",
    "alarm_emails": "operators@evpower.example",
}
VARIANTS: dict[str, dict[str, str]] = {
    "dev": {"env": "dev"},
    "prod": ALL_OPTIONS,
    # Two host names, an external database, no Route 53, no NAT.
    "plain": {
        "env": "stage",
        "front_door": "two-names",
        "database": "external",
        "hosted_zone_id": "",
        "hosted_zone_name": "",
        "certificate_arn": "arn:aws:acm:eu-central-1:111122223333:certificate/00000000-0000-0000-0000-000000000001",
        "nat_gateways": "0",
        "interface_endpoints": "true",
        "cache_replicas": "0",
    },
    "localstack": {"env": "dev", "localstack": "true"},
}
DEPLOYED = ("dev", "prod", "plain")


@dataclass(frozen=True, slots=True)
class Cloud:
    """One synthesised deployment: templates by part (Api, Data, ...) and what the checks said."""

    folder: Path
    templates: dict[str, dict[str, Any]]
    report: dict[str, Any]

    def of_type(self, kind: str, part: str | None = None) -> dict[str, Resource]:
        """Resources of one CloudFormation type by ``Part/LogicalId``."""
        return {
            f"{name}/{logical}": resource
            for name, template in self.templates.items()
            if part in (None, name)
            for logical, resource in template.get("Resources", {}).items()
            if resource["Type"] == kind
        }

    def properties(self, kind: str, part: str | None = None) -> dict[str, Any]:
        """Their properties."""
        return {name: resource.get("Properties", {}) for name, resource in self.of_type(kind, part).items()}

    def one(self, kind: str, part: str | None = None) -> Any:
        """Properties of the only resource of a type."""
        (found,) = self.properties(kind, part).values()
        return found

    def functions(self) -> dict[str, Any]:
        """Properties of the product's functions by short name."""
        found = {}
        for properties in self.properties("AWS::Lambda::Function").values():
            name = properties.get("FunctionName", "")
            if isinstance(name, str) and name.startswith("evpower-"):
                found[name.split("-", 2)[2]] = properties
        return found

    def statements(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every statement of every policy: of roles, and of resources."""
        for part, template in self.templates.items():
            for logical, resource in template.get("Resources", {}).items():
                for document in _policy_documents(resource.get("Properties", {})):
                    for statement in document["Statement"]:
                        yield f"{part}/{logical}", statement


def _policy_documents(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if isinstance(value.get("Statement"), list):
            yield value
        for inner in value.values():
            yield from _policy_documents(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _policy_documents(inner)


def read_cloud(folder: Path) -> Cloud:
    """The deployment synthesised into ``folder``."""
    templates = {
        path.name.removesuffix(".template.json").split("-")[-1]: json.loads(path.read_text())
        for path in sorted(folder.glob("*.template.json"))
    }
    report = json.loads((folder / "validation-report.json").read_text())
    return Cloud(folder, templates, report)


def listed(value: Any) -> list[Any]:
    """A policy's member that may be one value or a list."""
    return value if isinstance(value, list) else [value]


def text_of(value: Any) -> str:
    """A property with its intrinsic functions as text, to look for what it names."""
    return value if isinstance(value, str) else json.dumps(value)
