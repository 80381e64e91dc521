"""The process reports to Sentry what ends it."""

import os
import socket
import subprocess
import sys

from infra.local.processes import ROOT
from tests.fakes.sentry import SentryStandin


def test_what_ends_the_process_is_reported(database_url: str, redis_url: str) -> None:
    with SentryStandin().running() as sentry, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = subprocess.run(
            [sys.executable, "-m", "socket_tier"],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "layers/evpower/python")]),
                "DATABASE_URL": database_url,
                "REDIS_URL": redis_url,
                "SOCKET_TIER_PORT": str(taken.getsockname()[1]),
                "SENTRY_DSN": sentry.dsn,
                "GIT_COMMIT": "abc1234",
                "ENVIRONMENT": "test",
            },
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode != 0
        event = sentry.wait(1)[-1]
    assert event["exception"]["values"][-1]["type"] == "OSError"
    assert (event["tags"]["service"], event["release"]) == ("socket-tier", "abc1234")
    assert "server_name" not in event
