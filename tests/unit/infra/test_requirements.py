"""The requirement sets that share one virtual environment agree."""

import re

import pytest

from infra.layers import ROOT


def _pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return {
        m[1].lower(): m[2] for m in re.finditer(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)(?! ;)", text, re.MULTILINE)
    }


@pytest.mark.parametrize(("smaller", "larger"), [("runtime", "local"), ("local", "dev")])
def test_a_larger_set_holds_the_smaller(smaller: str, larger: str) -> None:
    assert _pins(smaller).items() <= _pins(larger).items()


def test_the_cdk_moves_no_version_of_the_others() -> None:
    """`./dev test aws` installs it on top: what the other tests run on must stay."""
    dev, aws = _pins("dev"), _pins("aws")
    shared = set(dev) & set(aws) - {"networkx"}  # two versions by Python's version
    assert len(shared) > 3
    assert {name: aws[name] for name in shared} == {name: dev[name] for name in shared}


@pytest.mark.parametrize("name", ["installer", "runtime", "local", "dev", "aws", "localstack"])
def test_every_pin_has_its_hashes_and_names_no_index(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert text.count("--hash=sha256:") >= len(_pins(name)) > 0
    assert "index-url" not in text
    assert "://" not in text
