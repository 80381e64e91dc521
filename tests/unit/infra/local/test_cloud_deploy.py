"""What is read from a synthesised app before anything is deployed."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from infra.local.cloud_deploy import CloudDeployer, DeploymentError, archive, read_assembly


def _stack(*after: str) -> dict[str, Any]:
    properties = {"templateFile": "t.json", "stackTemplateAssetObjectUrl": "s3://bucket-${AWS::Region}/t.json"}
    return {"type": "aws:cloudformation:stack", "properties": properties, "dependencies": list(after)}


def _assets(file: str) -> dict[str, Any]:
    return {"type": "cdk:asset-manifest", "properties": {"file": file}}


def _write(directory: Path, artifacts: dict[str, Any]) -> Path:
    (directory / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))
    return directory


def test_a_stack_comes_after_those_that_it_needs(tmp_path: Path) -> None:
    artifacts = {
        "Api": _stack("Secrets", "Migrations", "Api.assets"),
        "Migrations": _stack("Secrets"),
        "Secrets": _stack(),
        "Api.assets": _assets("Api.assets.json"),
        "Tree": {"type": "cdk:tree"},
    }
    stacks = read_assembly(_write(tmp_path, artifacts))
    assert [stack.name for stack in stacks] == ["Secrets", "Migrations", "Api"]
    assert stacks[-1].asset_manifests == (tmp_path / "Api.assets.json",)


def test_stacks_that_wait_for_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match="A, B"):
        read_assembly(_write(tmp_path, {"A": _stack("B"), "B": _stack("A"), "C": _stack()}))


def test_a_stage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match="stage"):
        read_assembly(_write(tmp_path, {"Prod": {"type": "cdk:cloud-assembly"}}))


class _Client:
    """Takes every call; an account and a region, and what was stored."""

    def __init__(self) -> None:
        self.meta = type("Meta", (), {"region_name": "eu-central-1", "endpoint_url": "http://127.0.0.1:1"})()
        self.buckets: list[str] = []
        self.objects: dict[tuple[str, str], bytes] = {}

    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": "000000000000"}

    def put_parameter(self, **_: Any) -> None:
        """Taken."""

    def create_bucket(self, **given: Any) -> None:
        self.buckets.append(given["Bucket"])

    def put_object(self, **given: Any) -> None:
        self.objects[given["Bucket"], given["Key"]] = given["Body"]


def _file(path: str, packaging: str) -> dict[str, Any]:
    destination = {"bucketName": "assets-${AWS::AccountId}-${AWS::Region}", "objectKey": f"{path}.out"}
    return {"source": {"path": path, "packaging": packaging}, "destinations": {"current": destination}}


def test_folders_are_published_as_archives_and_files_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "code" / "inner").mkdir(parents=True)
    (tmp_path / "code" / "inner" / "main.py").write_text("pass")
    (tmp_path / "t.json").write_text("{}")
    manifest = {"files": {"1": _file("code", "zip"), "2": _file("t.json", "file")}}
    (tmp_path / "S.assets.json").write_text(json.dumps(manifest))
    stacks = read_assembly(_write(tmp_path, {"S": _stack("S.assets"), "S.assets": _assets("S.assets.json")}))
    client = _Client()
    deployer = CloudDeployer(lambda _service: client)
    deployer.bootstrap(stacks)
    assert deployer.publish(stacks) == 2
    bucket = "assets-000000000000-eu-central-1"
    assert client.buckets == [bucket]
    assert client.objects[bucket, "t.json.out"] == b"{}"
    with zipfile.ZipFile(io.BytesIO(client.objects[bucket, "code.out"])) as file:
        assert file.read("inner/main.py") == b"pass"


def test_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "S.assets.json").write_text(json.dumps({"dockerImages": {"1": {}}}))
    stacks = read_assembly(_write(tmp_path, {"S": _stack("S.assets"), "S.assets": _assets("S.assets.json")}))
    with pytest.raises(DeploymentError, match="images"):
        CloudDeployer(lambda _service: _Client()).publish(stacks)


def test_an_archive_holds_names_relative_to_the_folder(tmp_path: Path) -> None:
    (tmp_path / "python" / "evpower").mkdir(parents=True)
    (tmp_path / "python" / "evpower" / "__init__.py").write_text("")
    with zipfile.ZipFile(io.BytesIO(archive(tmp_path))) as file:
        assert file.namelist() == ["python/evpower/__init__.py"]
