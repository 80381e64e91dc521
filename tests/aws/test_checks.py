"""cdk-nag, CloudFormation's own validation and cfn-lint find nothing that has no reason."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.app import build, context_of
from infra.environment import Environment
from infra.stacks.base import ProductStack
from tests.aws.cloud import DEPLOYED
from tests.aws.conftest import Synthesise

# cfn-lint: what the CDK writes twice (W3005), and availability zones that the environment names (W3010).
_ACCEPTED_LINT = ("W3005", "W3010")


@pytest.mark.parametrize("name", DEPLOYED)
def test_no_finding_is_without_a_reason(name: str, synthesise: Synthesise) -> None:
    findings = [
        f"{violation['ruleName']} at {construct['constructPath']}: {violation['description'][:120]}"
        for report in synthesise(name).report["pluginReports"]
        for violation in report["violations"]
        for construct in violation["violatingConstructs"]
    ]
    assert findings == []


def test_a_finding_without_a_reason_stops_the_synthesis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def add_open_bucket(app: Any, environment: Environment) -> None:
        from aws_cdk import aws_s3

        aws_s3.Bucket(ProductStack(app, "Data", environment), "Open")

    monkeypatch.setattr("infra.app._add_stacks", add_open_bucket)
    app = build(context_of([]), str(tmp_path), with_checks=True)
    with pytest.raises(RuntimeError, match="ValidationFailed"):
        app.synth()
    report = (tmp_path / "validation-report.json").read_text()
    assert "AwsSolutions-S1" in report
    assert "AwsSolutions-S10" in report


def _reasons(tree: Any) -> list[tuple[str, str]]:
    """Every acknowledged rule with its reason, from the manifest's metadata."""
    found = []
    if isinstance(tree, dict):
        if "acknowledged" in str(tree.get("type", "")).lower():
            found += [(rule, str(reason)) for rule, reason in tree.get("data", {}).items()]
        for value in tree.values():
            found += _reasons(value)
    elif isinstance(tree, list):
        for value in tree:
            found += _reasons(value)
    return found


def test_every_accepted_finding_says_why(synthesise: Synthesise) -> None:
    manifests = [json.loads(path.read_text()) for path in synthesise("prod").folder.glob("*.json")]
    reasons = _reasons(manifests)
    assert any("AwsSolutions-SMG4" in rule for rule, _ in reasons)
    assert [rule for rule, reason in reasons if len(reason.split()) < 5] == []


def test_cfn_lint_finds_nothing(synthesise: Synthesise) -> None:
    templates = [str(path) for name in DEPLOYED for path in sorted(synthesise(name).folder.glob("*.template.json"))]
    assert len(templates) >= 25
    done = subprocess.run(
        [str(Path(sys.executable).parent / "cfn-lint"), *templates, "--ignore-checks", *_ACCEPTED_LINT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (0, "", "")
