"""`./dev test` counts what ran and never passes without tests."""

from pathlib import Path

import pytest

from infra.local import suites
from infra.local.suites import Suite, main, read_report, run_suite


def test_counts_come_from_pytests_report(tmp_path: Path) -> None:
    report = tmp_path / "r.xml"
    report.write_text(
        '<testsuites><testsuite tests="7" failures="1" errors="1" skipped="2" time="3.5"></testsuite></testsuites>'
    )
    assert str(read_report(report)) == "2 failed, 3 passed, 2 skipped in 4s"


def _suite(tmp_path: Path, text: str) -> Suite:
    (tmp_path / "test_one.py").write_text(text)
    return Suite("sample", (str(tmp_path),), options=("-p", "no:cacheprovider"))


@pytest.fixture(autouse=True)
def _reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "_REPORTS", tmp_path / "reports")


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("def test_a():\n    pass\n", True),
        ("def test_a():\n    assert False\n", False),
        ("", False),
        ("import pytest\n@pytest.mark.skip\ndef test_a():\n    pass\n", False),
    ],
    ids=["passed", "failed", "no tests", "all skipped"],
)
def test_a_suite_passes_only_when_tests_ran_and_passed(tmp_path: Path, text: str, passes: bool) -> None:
    passed, count = run_suite(_suite(tmp_path, text), [])
    assert passed is passes
    assert count.passed == (1 if passes else 0)


@pytest.mark.parametrize(
    ("arguments", "told"), [([], "no test was found"), (["-k", "nothing"], "no test matched -k nothing")]
)
def test_no_test_at_all_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    text = "def test_a():\n    pass\n" if arguments else ""
    passed, _ = run_suite(_suite(tmp_path, text), arguments)
    assert (passed, f"sample: {told}" in capfd.readouterr().err) == (False, True)


def test_an_unknown_suite_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["everything"]) == 2
    assert "no suite 'everything'" in capsys.readouterr().err


def test_named_tests_replace_the_suites_folders(tmp_path: Path) -> None:
    suite = _suite(tmp_path, "def test_a():\n    assert False\n")
    other = tmp_path / "other"
    other.mkdir()
    (other / "test_two.py").write_text("def test_b():\n    pass\n")
    passed, count = run_suite(suite, [str(other / "test_two.py::test_b")])
    assert passed
    assert (count.passed, count.failed) == (1, 0)
