"""The switches of a deployment: what is refused, and with which words."""

from typing import Any

import pytest

from infra import settings
from infra.environment import BadEnvironmentError, Environment, read_environment
from infra.sizes import database_connections, memory_gb

_CERTIFICATE = "arn:aws:acm:eu-central-1:111122223333:certificate/0"
_FRONT = "arn:aws:acm:us-east-1:111122223333:certificate/1"
_ZONE = {"hosted_zone_id": "Z1", "hosted_zone_name": "evpower.example"}


def _read(**values: Any) -> Environment:
    given: dict[str, Any] = {"domain": "api.evpower.example", **_ZONE, **values}
    return read_environment({key: value for key, value in given.items() if value is not None})


def test_dev_is_small_and_prod_is_not() -> None:
    dev, prod = _read(), _read(env="prod", cloudfront_networks="192.0.2.0/24")
    assert dev.zones == ("eu-central-1a", "eu-central-1b")
    assert prod.zones == ("eu-central-1a", "eu-central-1b", "eu-central-1c")
    assert not dev.database_multi_az
    assert prod.database_multi_az
    assert prod.require_bytecode
    assert (dev.setting_name, prod.setting_name) == ("dev", "production")
    assert (dev.metric_namespace, prod.metric_namespace) == ("EvPower/dev", "EvPower/prod")


def test_the_command_line_wins_over_cdk_json_and_that_over_the_defaults() -> None:
    context = {"environments": {"stage": {"domain": "x.evpower.example", "tasks_max": 6, **_ZONE}}, "env": "stage"}
    assert read_environment(context).tasks_max == 6
    assert read_environment({**context, "tasks_max": "8"}).tasks_max == 8
    assert read_environment(context).database_multi_az is True


@pytest.mark.parametrize("env", ["dev", "stage", "prod"])
def test_every_value_may_be_given_as_text(env: str) -> None:
    """Use case: ``-c task_cpu=512``. The command line knows only text, and each value's own text is that value."""
    known = _read(env=env, cloudfront_networks="192.0.2.0/24")
    plain = {
        name: value
        for name, value in known.model_dump(exclude={"name"}).items()
        if isinstance(value, str | int) and value not in ("", None)
    }
    assert {"task_cpu", "log_retention_days", "database_multi_az", "tasks_max"} <= plain.keys()
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in plain.items()}
    assert _read(env=env, **{"cloudfront_networks": "192.0.2.0/24", **texts}) == known


def test_a_number_that_is_no_choice_is_refused_as_text_too() -> None:
    for value in ("100", "512.5", "many", ""):
        with pytest.raises(BadEnvironmentError, match="task_cpu"):
            _read(task_cpu=value)


def test_names_follow_from_the_domain() -> None:
    one, two = _read(), _read(front_door="two-names")
    assert (one.api_domain, one.charger_domain) == ("rest.api.evpower.example", "chargers.api.evpower.example")
    assert (two.api_domain, two.charger_domain) == ("api.evpower.example", "chargers.api.evpower.example")


def test_lists_and_objects_of_the_command_line() -> None:
    read = _read(alarm_emails="a@evpower.example, b@evpower.example", settings='{"ENABLE_SWAGGER": true}')
    assert read.alarm_emails == ("a@evpower.example", "b@evpower.example")
    assert read.settings == {"ENABLE_SWAGGER": "true"}


def test_the_cdk_s_own_keys_are_not_ours() -> None:
    assert _read(**{"@aws-cdk/core:checkSecretUsage": True, "aws:cdk:bundling-stacks": ["**"]}).name == "dev"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"env": "production"}, "env=production: there are dev, stage, prod"),
        ({"tasks_minimum": 2}, "tasks_minimum: no such key"),
        ({"tasks_min": 1}, "tasks_min: "),
        ({"tasks_min": 5, "tasks_max": 4}, "tasks_max is less than tasks_min"),
        ({"region": "frankfurt"}, "region: "),
        ({"domain": None}, "domain: Field required"),
        ({"domain": "localhost"}, "domain: "),
        ({"domain": "api.other.example"}, "domain: api.other.example is not in the zone evpower.example"),
        ({"hosted_zone_name": None}, "hosted_zone_id and hosted_zone_name belong together"),
        ({"hosted_zone_id": None, "hosted_zone_name": None}, "give hosted_zone_id and hosted_zone_name, or"),
        (
            {"hosted_zone_id": None, "hosted_zone_name": None, "certificate_arn": _CERTIFICATE},
            "front_door=one-name needs front_certificate_arn",
        ),
        ({"front_certificate_arn": _CERTIFICATE}, "CloudFront takes certificates of us-east-1 only"),
        ({"certificate_arn": "my-certificate"}, "certificate_arn: "),
        ({"availability_zones": "eu-west-1a,eu-west-1b"}, "eu-west-1a is not a zone of eu-central-1"),
        ({"nat_gateways": 0}, "nat_gateways=0 needs interface_endpoints=true"),
        ({"nat_gateways": 3}, "nat_gateways: at most one for each of the 2 zones"),
        ({"client_certificates": "verify"}, "needs trust_store_bucket and trust_store_key"),
        ({"database_storage_gb": 500}, "database_storage_max_gb is less than database_storage_gb"),
        ({"env": "prod"}, "cloudfront_networks: without them"),
        ({"environments": {"qa": {}}}, "environments.qa: there are dev, stage, prod"),
        ({"environments": []}, "context.environments maps"),
        ({"settings": "{not json"}, "settings"),
        ({"account": "12"}, "account: "),
    ],
)
def test_what_cannot_be_right_is_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(BadEnvironmentError) as refusal:
        _read(**values)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_certificates_stand_in_for_a_zone() -> None:
    given = {"certificate_arn": _CERTIFICATE, "front_certificate_arn": _FRONT}
    assert _read(hosted_zone_id=None, hosted_zone_name=None, **given).certificate_arn == _CERTIFICATE
    two = _read(hosted_zone_id=None, hosted_zone_name=None, certificate_arn=_CERTIFICATE, front_door="two-names")
    assert two.front_certificate_arn == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"NO_SUCH_THING": "1"}, "settings.NO_SUCH_THING: the product has no such setting"),
        ({"ODENGI_PASSWORD": "x"}, "settings.ODENGI_PASSWORD is a secret"),
        ({"DATABASE_URL": "x"}, "settings.DATABASE_URL is a secret"),
        ({"SQS_PUSH_QUEUE_URL": "x"}, "settings.SQS_PUSH_QUEUE_URL is set by the deployment"),
        ({"AWS_ENDPOINT_URL": "x"}, "settings.AWS_ENDPOINT_URL is set by the deployment"),
        ({"RATE_LIMIT_DEFAULT_PER_MINUTE": "many"}, "RATE_LIMIT_DEFAULT_PER_MINUTE: "),
        ({"ALLOW_UNAUTHENTICATED_STATIONS": "true"}, "ALLOW_UNAUTHENTICATED_STATIONS must not be set in production"),
        ({"ODENGI_TEST_MODE": "true"}, "ODENGI_TEST_MODE must not be set in production"),
    ],
)
def test_settings_are_checked_as_the_product_will_read_them(given: dict[str, str], words: str) -> None:
    environment = _read(env="prod", cloudfront_networks="192.0.2.0/24", settings=given)
    with pytest.raises(BadEnvironmentError) as refusal:
        settings.product_settings(environment)
    assert words in str(refusal.value)


def test_the_bank_is_switched_on_by_settings_with_its_secrets_elsewhere() -> None:
    bank = {"PAYMENT_PROVIDER": "OBANK", "OBANK_ENABLED": "true", "OBANK_UNITS_PER_SOM": "100"}
    bank["OBANK_API_URL"] = "https://bank.example/external"
    environment = _read(env="prod", cloudfront_networks="192.0.2.0/24", settings=bank)
    assert settings.product_settings(environment)["OBANK_ENABLED"] == "true"


@pytest.mark.parametrize(("instance", "gigabytes"), [("t4g.medium", 4), ("m7g.large", 8), ("r7g.xlarge", 32)])
def test_memory_of_database_instances(instance: str, gigabytes: int) -> None:
    assert memory_gb(instance) == gigabytes
    assert 80 * gigabytes < database_connections(instance) <= 5000


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(BadEnvironmentError, match=r"m7g\.gigantic is no class that we know"):
        memory_gb("m7g.gigantic")
