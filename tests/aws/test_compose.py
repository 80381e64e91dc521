"""Both Compose files: valid against the Compose specification's schema, and hardened where it matters."""

import subprocess
import sys
from typing import Any

import pytest
import yaml

from infra.local.processes import ROOT
from infra.local.queues import create_queues
from infra.queues import QUEUES

FILES = ("localstack-compose.yml", "docker-compose.production.yml")


def _load(name: str) -> dict[str, Any]:
    content = yaml.safe_load((ROOT / name).read_text())
    assert isinstance(content, dict)
    return content


@pytest.mark.parametrize("name", FILES)
def test_file_passes_the_schema_of_the_compose_specification(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(ROOT / name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", FILES)
def test_schema_check_is_awake(name: str) -> None:
    """Use case: the checker finds no schema and passes everything."""
    spoiled = (ROOT / name).read_text().replace("    image:", "    imagge:", 1)
    assert "imagge" in spoiled
    path = ROOT / "build" / f"spoiled-{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(spoiled)
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    path.unlink()
    assert done.returncode == 1
    assert "imagge" in done.stdout


def test_localstack_file_holds_every_part_at_the_pinned_image() -> None:
    services = _load("localstack-compose.yml")["services"]
    assert {"localstack", "postgres", "valkey", "socket-tier", "payment-standin", "migrate"} <= set(services)
    assert services["localstack"]["image"] == "localstack/localstack:4.14.0"
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_localstack_file_names_the_queue_that_is_created(sqs_server: Any) -> None:
    url = _load("localstack-compose.yml")["services"]["socket-tier"]["environment"]["SQS_COMMANDS_QUEUE_URL"]
    (commands,) = [queue.name for queue in QUEUES if queue.function is None]
    assert url.rpartition("/")[2] == commands
    assert commands in create_queues(sqs_server.url).urls


def test_production_file_is_hardened() -> None:
    services = _load("docker-compose.production.yml")["services"]
    tiers = [service for name, service in services.items() if name.startswith("socket-tier")]
    assert len(tiers) == 2, "an upgrade replaces one while the other serves"
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["logging"]["options"]["max-size"]
    for tier in tiers:
        assert tier["user"] == "1000:1000"
        assert tier["stop_grace_period"] == "60s"
        assert "ports" not in tier, "reached through the TLS front only"
        assert tier["environment"]["ENVIRONMENT"] == "production"
    assert set(services["tls"]["networks"]) == {"inside", "outside"}


def _copied_into(service: dict[str, Any], content: dict[str, Any]) -> list[str]:
    """What Compose copies into the container after it was made; files are mounted instead."""
    copied = []
    for kind in ("configs", "secrets"):
        for entry in service.get(kind, []):
            name = entry if isinstance(entry, str) else entry["source"]
            if "file" not in content[kind][name]:
                copied.append(name)
    return copied


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_copied_into_a_read_only_container(name: str) -> None:
    """Compose refuses to start such a service: its file system takes no copy."""
    content = _load(name)
    for service_name, service in content["services"].items():
        if service.get("read_only"):
            assert _copied_into(service, content) == [], service_name


def test_the_files_that_the_production_file_mounts_exist() -> None:
    files = [entry["file"] for entry in _load("docker-compose.production.yml")["configs"].values()]
    assert files
    assert all((ROOT / file).is_file() for file in files)


def test_production_file_holds_no_secret_of_its_own() -> None:
    environment = _load("docker-compose.production.yml")["x-socket-tier"]["environment"]
    for name in ("DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "AUTH_TOKEN_SECRET", "STATION_SECRETS_KEY"):
        assert environment[name].startswith(f"${{{name}:?"), f"{name} must be given, with a word of explanation"
