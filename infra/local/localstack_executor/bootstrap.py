"""First code of a function's process: `python bootstrap.py PARENT TASK_ROOT [LAYER...]`, then AWS's runtime client.

The layers come last on the path. The layer of our own code is found there and nowhere else; the layer of third-party
packages was built for arm64 and Lambda's Python, so this interpreter's own packages have to win.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def _end_with(parent: int) -> None:
    """Never outlive LocalStack, however it ends (Linux only)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the line above
        sys.exit(1)


def main(arguments: list[str]) -> None:
    """Run the handler named by `_HANDLER`."""
    parent, task_root, *layers = arguments
    _end_with(int(parent))
    sys.path[0] = task_root  # it was this file's folder
    sys.path += layers
    os.chdir(task_root)
    from awslambdaric.__main__ import main as run

    run([task_root, os.environ["_HANDLER"]])


if __name__ == "__main__":
    main(sys.argv[1:])
