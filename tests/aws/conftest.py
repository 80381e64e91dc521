"""Every variant of the deployment is synthesised once for the whole run, those for AWS with cdk-nag's rules."""

from collections.abc import Callable

import pytest

from infra.app import build, context_of
from tests.aws.cloud import DEPLOYED, VARIANTS, Cloud, read_cloud

Synthesise = Callable[[str], Cloud]


@pytest.fixture(scope="session")
def synthesise(tmp_path_factory: pytest.TempPathFactory) -> Synthesise:
    """The deployment of a variant's name."""
    made: dict[str, Cloud] = {}

    def get(name: str) -> Cloud:
        if name not in made:
            folder = tmp_path_factory.mktemp(f"cloud-{name}")
            context = context_of([f"{key}={value}" for key, value in VARIANTS[name].items()])
            app = build(context, str(folder), with_checks=name in DEPLOYED)
            try:
                app.synth()
            except RuntimeError as error:  # a finding: the report says which, and its own test fails
                if "ValidationFailed" not in str(error):
                    raise
            made[name] = read_cloud(folder)
        return made[name]

    return get


@pytest.fixture(params=DEPLOYED)
def cloud(request: pytest.FixtureRequest, synthesise: Synthesise) -> Cloud:
    """Each deployment that goes to AWS."""
    return synthesise(request.param)


@pytest.fixture
def prod(synthesise: Synthesise) -> Cloud:
    """Production with every option on."""
    return synthesise("prod")
