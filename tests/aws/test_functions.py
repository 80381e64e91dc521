"""Lambda functions: limits, logs, layers with bytecode, and a place for every setting."""

import ast
import importlib.util
import json
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from evpower.config import Settings
from infra import layers
from infra.app import context_of
from infra.environment import BadEnvironmentError, read_environment
from infra.functions import FUNCTIONS, GATEWAY_TIMEOUT_S, MIGRATE
from infra.layers import NOT_IN_FUNCTIONS, ROOT, find_interpreter
from infra.schedules import SCHEDULES
from infra.secrets import CACHE
from infra.settings import FROM_RESOURCES, NAMES, NOT_IN_AWS, SECRET_KEYS, product_settings
from tests.aws.cloud import Cloud
from tests.aws.conftest import Synthesise

_LAMBDA_LIMIT_S = 900
_ENVIRONMENT_LIMIT_BYTES = 4096
_CODE_LIMIT_BYTES = 250 * 1024 * 1024


def test_every_function_is_deployed_as_defined(cloud: Cloud) -> None:
    functions = cloud.functions()
    assert set(functions) == {*FUNCTIONS, MIGRATE.name}
    for spec in (*FUNCTIONS.values(), MIGRATE):
        properties = functions[spec.name]
        assert properties["Handler"] == spec.handler
        assert properties["Runtime"] == "python3.13"
        assert properties["Architectures"] == ["arm64"]
        assert properties["MemorySize"] == spec.memory_mb
        assert properties["Timeout"] == spec.timeout_s <= _LAMBDA_LIMIT_S
        assert properties["ReservedConcurrentExecutions"] >= 1
        assert properties["TracingConfig"] == {"Mode": "Active"}
        assert properties["VpcConfig"]["SecurityGroupIds"]
        assert len(properties["Layers"]) == 2
    assert functions["api"]["Timeout"] <= GATEWAY_TIMEOUT_S
    assert functions["payment_webhook"]["Timeout"] < GATEWAY_TIMEOUT_S
    assert functions["sweeps"]["ReservedConcurrentExecutions"] >= len(SCHEDULES)


def test_the_webhook_has_its_own_concurrency(cloud: Cloud) -> None:
    """A crowd in the app must never take the payment provider's place, nor the other way round."""
    functions = cloud.functions()
    names = {functions[name]["FunctionName"] for name in ("api", "payment_webhook")}
    assert len(names) == 2
    assert all(functions[name]["ReservedConcurrentExecutions"] > 1 for name in ("api", "payment_webhook"))


def test_every_log_group_has_an_end(cloud: Cloud) -> None:
    groups = cloud.properties("AWS::Logs::LogGroup")
    assert all(group["RetentionInDays"] > 0 for group in groups.values())
    named = {group["LogGroupName"] for group in groups.values()}
    assert {f"/aws/lambda/{p['FunctionName']}" for p in cloud.functions().values()} <= named


def test_logs_of_a_deployment_that_counts_are_kept(prod: Cloud) -> None:
    assert {group["DeletionPolicy"] for group in prod.of_type("AWS::Logs::LogGroup").values()} == {"Retain"}


# --- settings ---------------------------------------------------------------------------------------------------


def _variables(cloud: Cloud) -> dict[str, dict[str, Any]]:
    found = {name: p["Environment"]["Variables"] for name, p in cloud.functions().items()}
    (task,) = cloud.properties("AWS::ECS::TaskDefinition").values()
    (container,) = task["ContainerDefinitions"]
    return found | {"socket_tier": {entry["Name"]: entry["Value"] for entry in container["Environment"]}}


# The owner's own list of environment variables.
_OWNERS_LIST = {
    "DATABASE_URL",
    "SUPABASE_URL",
    "SUPABASE_ANON_KEY",
    "SUPABASE_SERVICE_ROLE_KEY",
    "SUPABASE_JWT_SECRET",
    "REDIS_URL",
    "PAYMENT_PROVIDER",
    "ODENGI_MERCHANT_ID",
    "ODENGI_PASSWORD",
    "CORS_ORIGINS",
    "RATE_LIMIT_DEFAULT_PER_MINUTE",
    "RATE_LIMIT_CRITICAL_PER_MINUTE",
    "RATE_LIMIT_WEBHOOK_PER_MINUTE",
    "LOG_LEVEL",
    "ENABLE_SWAGGER",
    "OBANK_ENABLED",
}


def _with_setting(name: str, value: str) -> dict[str, str]:
    context = context_of([])
    context["environments"]["dev"]["settings"] = {name: value}
    return product_settings(read_environment(context))


def test_every_setting_has_its_place() -> None:
    """A secret in Secrets Manager, a name from a resource, or free to be set for an environment: and only one."""
    assert _OWNERS_LIST <= NAMES
    for name in NAMES - FROM_RESOURCES - NOT_IN_AWS - SECRET_KEYS:
        default = Settings.model_fields[name.lower()].default
        value = str(default).lower() if isinstance(default, bool) else str(default)
        assert _with_setting(name, value)[name] == value
    for name in (FROM_RESOURCES | NOT_IN_AWS | SECRET_KEYS) & NAMES:
        with pytest.raises(BadEnvironmentError, match=f"settings.{name} "):
            _with_setting(name, "anything")
    assert not SECRET_KEYS & (FROM_RESOURCES - {"REDIS_URL"})
    assert not NOT_IN_AWS & FROM_RESOURCES
    assert FROM_RESOURCES | NOT_IN_AWS <= NAMES
    files = {key for key in SECRET_KEYS if key.endswith("_BASE64")}
    assert SECRET_KEYS - files - {"REDIS_AUTH_TOKEN"} <= NAMES
    assert {f"{key.removesuffix('_BASE64')}_PATH" for key in files} <= FROM_RESOURCES


def test_a_new_secret_setting_must_be_placed() -> None:
    secret = {name.upper() for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert secret <= SECRET_KEYS | {"DATABASE_URL"}, "add it to infra/secrets.py"


def test_what_the_stacks_promise_to_set_is_set(prod: Cloud) -> None:
    variables = _variables(prod)
    given = {name for values in variables.values() for name in values}
    by_lambda = {"AWS_REGION"}
    from_files = {"OBANK_CERT_PATH", "OBANK_CA_PATH"}
    assert FROM_RESOURCES - given - by_lambda - from_files == set()
    for name, spec in FUNCTIONS.items():
        assert variables[name]["ENVIRONMENT"] == "production"
        assert variables[name]["DATABASE_ROLE"] == spec.database_role
        assert variables[name]["POWERTOOLS_METRICS_NAMESPACE"] == "EvPower/prod"
        assert variables[name]["TRUSTED_PROXY_HOPS"] == "2"
    assert variables["socket_tier"]["POWERTOOLS_METRICS_NAMESPACE"] == "EvPower/prod"


def test_without_cloudfront_one_hop_less_is_trusted(synthesise: Synthesise) -> None:
    variables = synthesise("plain").functions()["api"]["Environment"]["Variables"]
    assert variables["TRUSTED_PROXY_HOPS"] == "1"
    assert variables["ENVIRONMENT"] == "stage"


def test_the_variables_fit_into_a_function(cloud: Cloud) -> None:
    for name, values in _variables(cloud).items():
        assert len(json.dumps(values)) < _ENVIRONMENT_LIMIT_BYTES, name


def test_who_sends_to_a_queue_knows_its_address_and_may(prod: Cloud) -> None:
    may_send: dict[str, int] = {}
    for where, statement in prod.statements():
        if "sqs:SendMessage" in statement.get("Action", []) and statement["Effect"] == "Allow":
            resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
            may_send[where] = may_send.get(where, 0) + len(resources)
    expected = {"apirole": 3, "paymentwebhookrole": 1, "paymentchecksrole": 2, "pushrole": 1, "sweepsrole": 3}
    for role, number in expected.items():
        assert [count for where, count in may_send.items() if f"/{role}Default" in where] == [number], role
    variables = _variables(prod)
    addresses = {name: sum(key.startswith("SQS_") for key in values) for name, values in variables.items()}
    assert addresses == {
        "api": 3,
        "payment_webhook": 1,
        "payment_checks": 2,
        "push": 1,
        "sweeps": 3,
        "migrate": 0,
        "socket_tier": 2,
    }


# --- code -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders() -> dict[str, Path]:
    """What is uploaded."""
    named = {name: layers.function_code(name) for name in (*FUNCTIONS, MIGRATE.name)}
    return {"dependencies": layers.dependencies_layer(), "evpower": layers.shared_layer(), **named}


def test_code_and_layers_fit_into_a_function(folders: dict[str, Path]) -> None:
    sizes = {name: sum(p.stat().st_size for p in f.rglob("*") if p.is_file()) for name, f in folders.items()}
    largest = max(sizes[name] for name in (*FUNCTIONS, MIGRATE.name))
    assert sizes["dependencies"] + sizes["evpower"] + largest < _CODE_LIMIT_BYTES


def test_the_layer_holds_programs_for_lambdas_processor_only(folders: dict[str, Path]) -> None:
    arm64 = 183  # ELF e_machine
    libraries = [path for path in folders["dependencies"].rglob("*.so*") if path.is_file()]
    assert len(libraries) > 10
    for library in libraries:
        header = library.read_bytes()[:20]
        assert header[:4] == b"\x7fELF", library
        assert struct.unpack_from("<H", header, 18)[0] == arm64, library
        assert "cpython-313" in library.name or "cpython" not in library.name, library


def test_bytecode_is_shipped_for_every_module(folders: dict[str, Path]) -> None:
    """Of the version that runs it, and never looked up against the source (the upload changes the dates)."""
    interpreter = find_interpreter()
    if interpreter is None:  # then production refuses to be synthesised: test_app
        assert not list(folders["evpower"].rglob("*.pyc"))
        return
    for name, folder in folders.items():
        sources = [p for p in folder.rglob("*.py") if "lib2to3" not in p.parts]
        compiled = {p.name.partition(".")[0]: p for p in folder.rglob("*.pyc")}
        missing = [s for s in sources if not (s.parent / "__pycache__" / f"{s.stem}.cpython-313.pyc").exists()]
        assert missing == [], name
        assert compiled
        for path in folder.rglob("*.pyc"):
            assert struct.unpack_from("<I", path.read_bytes(), 4)[0] == 1, path  # PEP 552: hash-based, unchecked


def test_functions_do_not_import_what_the_layer_leaves_out() -> None:
    modules = {name.replace("-", "_") for name in NOT_IN_FUNCTIONS}
    for folder in (ROOT / "functions", ROOT / "layers" / "evpower" / "python"):
        for path in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                    names = [node.module]
                assert not {name.partition(".")[0] for name in names} & modules, path


def test_the_uploaded_function_is_importable_as_it_is_deployed(folders: dict[str, Path]) -> None:
    """The migration's own folder with the shared layer's, and nothing of the checkout, on the path."""
    import subprocess

    paths = [str(folders["migrate"]), str(folders["evpower"] / "python")]
    script = "import functions.migrate.handler as h, evpower; print(h.__file__, evpower.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={"PYTHONPATH": ":".join(paths), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert all(part.startswith(str(layers.ROOT / "build" / "lambda")) for part in done.stdout.split())


def test_what_is_uploaded_depends_on_its_source_alone(folders: dict[str, Path]) -> None:
    assert layers.shared_layer() == folders["evpower"]
    assert layers.asset_hash(folders["evpower"]) != layers.asset_hash(folders["dependencies"])
    spec = importlib.util.find_spec("evpower")
    assert spec is not None


def _as_text(value: Any) -> str:
    """A variable with its intrinsic functions replaced by a word, as CloudFormation would by a name."""
    if isinstance(value, str):
        return value
    if "Fn::Join" in value:
        separator, parts = value["Fn::Join"]
        return str(separator).join(_as_text(part) for part in parts)
    return "resolved.example"


@pytest.mark.parametrize("variant", ["dev", "prod"])
@pytest.mark.parametrize("part", [*FUNCTIONS, "socket_tier"])
def test_a_fresh_deployment_starts_with_what_it_is_given(
    part: str, variant: str, synthesise: Synthesise, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its variables and its secrets as the deployment makes them, before any operator has filled one."""
    cloud = synthesise(variant)
    stored = {}
    for secret in cloud.properties("AWS::SecretsManager::Secret").values():
        generated = secret.get("GenerateSecretString")
        members = json.loads(generated["SecretStringTemplate"]) if generated else {}
        if generated:
            members[generated["GenerateStringKey"]] = "x" * generated["PasswordLength"]
        stored[secret["Name"]] = json.dumps(members)
    monkeypatch.setattr("evpower.aws_secrets._reader", lambda _environ: lambda name: stored[name])
    for name, value in _variables(cloud)[part].items():
        monkeypatch.setenv(name, _as_text(value))
    settings = Settings()
    password = "x" * 48
    role = FUNCTIONS[part].database_role if part in FUNCTIONS else "evpower_worker"
    assert settings.database_url.get_secret_value().startswith(
        f"postgresql://{role}_login:{password}@resolved.example:"
    )
    assert settings.database_role == role
    assert settings.auth_token_secret.get_secret_value() == password
    if part in CACHE.readers:
        assert settings.redis_url.get_secret_value().startswith(f"rediss://:{password}@resolved.example:6379")
        assert settings.redis_cluster is (variant == "prod")
    if part == "socket_tier":
        assert (settings.socket_tier_host, settings.socket_tier_port) == ("0.0.0.0", 9220)
        assert settings.trusted_proxies.startswith("10.40.0.0/16")
