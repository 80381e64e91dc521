"""Several systems of one checkout know of each other's files, and of those of killed ones nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from infra.local.processes import ROOT
from infra.local.running_systems import listed, running


def test_the_end_of_one_leaves_the_other(tmp_path: Path) -> None:
    with listed({"database": "first"}, 9210, tmp_path):
        with listed({"database": "second"}, 9310, tmp_path):
            os.utime(tmp_path / "9210.json", (1, 1))
            assert list(running(tmp_path).items()) == [(9310, {"database": "second"}), (9210, {"database": "first"})]
        assert running(tmp_path) == {9210: {"database": "first"}}
    assert running(tmp_path) == {}


def test_what_was_killed_does_not_run(tmp_path: Path) -> None:
    script = (
        "import sys, time, pathlib\n"
        "from infra.local.running_systems import listed\n"
        f"with listed({{}}, 9210, pathlib.Path({str(tmp_path)!r})):\n"
        "    print('listed', flush=True); time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"listed\n"
    assert set(running(tmp_path)) == {9210}
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert running(tmp_path) == {}
    with listed({"database": "next"}, 9210, tmp_path):
        assert running(tmp_path) == {9210: {"database": "next"}}
