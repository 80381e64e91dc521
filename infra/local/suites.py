"""`./dev test [suite] [pytest arguments]`: run the suites one after the other and print one total.

Suites: unit, integration, e2e, aws (all of them without an argument), localstack, pg15. pytest's own closing line is
printed for each. The exit status is 0 only if tests ran in every suite asked for and all of them passed.
"""

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree  # reads only files that our own pytest wrote
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.processes import ROOT, LocalSystemError

_REPORTS = ROOT / "build" / "test-reports"
_NO_TESTS = 5  # pytest's status for "no tests collected"


@dataclass(frozen=True, slots=True)
class Suite:
    """One run of pytest: folders, and how many processes (services start per process)."""

    name: str
    paths: tuple[str, ...]
    processes: int = 1
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


SUITES = {
    suite.name: suite
    for suite in (
        Suite("unit", ("tests/unit",), processes=2),
        Suite("integration", ("tests/integration",), processes=2, options=("--dist", "loadscope")),
        Suite("e2e", ("tests/e2e",)),
        Suite("aws", ("tests/aws",), processes=2, options=("--dist", "loadfile")),
    )
}


@dataclass(slots=True)
class Count:
    """Results of one run."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0

    def add(self, other: "Count") -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.seconds += other.seconds

    def __str__(self) -> str:
        parts = [f"{self.passed} passed"]
        if self.failed:
            parts.insert(0, f"{self.failed} failed")
        if self.skipped:
            parts.append(f"{self.skipped} skipped")
        return f"{', '.join(parts)} in {self.seconds:.0f}s"


def read_report(path: Path) -> Count:
    """Counts of a JUnit XML file written by pytest."""
    count = Count()
    for suite in ElementTree.parse(path).getroot().iter("testsuite"):  # noqa: S314 - our own file
        number = {key: int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")}
        bad = number["failures"] + number["errors"]
        count.add(
            Count(number["tests"] - bad - number["skipped"], bad, number["skipped"], float(suite.get("time", "0")))
        )
    return count


def has_tests(suite: Suite) -> bool:
    """Whether the suite's folders hold test files."""
    return any(next((ROOT / path).rglob("test_*.py"), None) for path in suite.paths)


def run_suite(suite: Suite, arguments: list[str]) -> tuple[bool, Count]:
    """Run one suite; whether it passed, and its counts."""
    report = _REPORTS / f"{suite.name}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    # `./dev test integration tests/integration/infra` means that folder, not that folder as well.
    named = [argument for argument in arguments if (ROOT / argument.partition("::")[0]).exists()]
    command = [
        sys.executable,
        "-m",
        "pytest",
        *([] if named else suite.paths),
        "-q",
        f"--junitxml={report}",
        *suite.options,
    ]
    if suite.processes > 1 and not any(argument.startswith(("-n", "--pdb", "-x")) for argument in arguments):
        command += ["-n", str(suite.processes)]
    elif "--dist" in command:
        position = command.index("--dist")
        del command[position : position + 2]
    print(f"== {suite.name}", flush=True)
    status = subprocess.call(command + arguments, cwd=ROOT, env={**os.environ, **suite.environment})
    count = read_report(report) if report.exists() else Count()
    if status == _NO_TESTS:
        what = f"no test matched {' '.join(arguments)}" if arguments else "no test was found"
        print(f"{suite.name}: {what}", file=sys.stderr)
    return status == 0 and (count.passed > 0 or bool(arguments)), count


def _special(name: str) -> Suite | None:
    """Suites that need something prepared first."""
    if name == "pg15":
        from infra.local.postgres15 import programs

        return Suite("pg15", ("tests/integration/evpower/db",), environment={"EVPOWER_PG_BIN": str(programs())})
    if name == "localstack":
        from infra.local.localstack import python

        return Suite("localstack", ("tests/localstack",), environment={"EVPOWER_LOCALSTACK_PYTHON": str(python())})
    return None


def main(arguments: list[str]) -> int:
    """Exit status for `./dev test`."""
    chosen: list[Suite] = []
    while arguments and not arguments[0].startswith("-") and "/" not in arguments[0]:
        name = arguments.pop(0)
        suite = SUITES.get(name) or _special(name)
        if suite is None:
            names = ", ".join([*SUITES, "localstack", "pg15"])
            print(f"no suite {name!r}; there are {names}", file=sys.stderr)
            return 2
        chosen.append(suite)
    chosen = chosen or [suite for suite in SUITES.values() if has_tests(suite)]
    total, failed = Count(), []
    for suite in chosen:
        passed, count = run_suite(suite, arguments)
        total.add(count)
        if not passed:
            failed.append(suite.name)
    print(f"== total ({', '.join(suite.name for suite in chosen)}): {total}", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LocalSystemError as exc:
        sys.exit(f"test: {exc}")
