"""Every variant of the deployment is synthesised once for the whole run, those for AWS with cdk-nag's rules."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.app import build, context_of
from infra.layers import find_interpreter
from tests.aws.cloud import DEPLOYED, VARIANTS, Cloud, read_cloud

Synthesise = Callable[[str], Cloud]


@pytest.fixture(scope="session")
def synthesise(tmp_path_factory: pytest.TempPathFactory) -> Synthesise:
    """The deployment of a variant's name."""
    made: dict[str, Cloud] = {}
    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent  # the processes of one run share what one of them has made

    def get(name: str) -> Cloud:
        if name not in made:
            folder = common / f"cloud-{name}"
            with (common / f"cloud-{name}.lock").open("a+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                lock.seek(0)
                if lock.read() != "whole":
                    _synthesise(name, folder)
                    lock.write("whole")
            made[name] = read_cloud(folder)
        return made[name]

    return get


def _synthesise(name: str, folder: Path) -> None:
    values = dict(VARIANTS[name])
    if find_interpreter() is None:
        # A machine without Lambda's Python cannot make its bytecode, and all else can be tested. That production is
        # refused there has a test of its own.
        values["require_bytecode"] = "false"
    context = context_of([f"{key}={value}" for key, value in values.items()])
    app = build(context, str(folder), with_checks=name in DEPLOYED)
    try:
        app.synth()
    except RuntimeError as error:  # a finding: the report says which, and its own test fails
        if "ValidationFailed" not in str(error):
            raise


@pytest.fixture(params=DEPLOYED)
def cloud(request: pytest.FixtureRequest, synthesise: Synthesise) -> Cloud:
    """Each deployment that goes to AWS."""
    return synthesise(request.param)


@pytest.fixture
def prod(synthesise: Synthesise) -> Cloud:
    """Production with every option on."""
    return synthesise("prod")
