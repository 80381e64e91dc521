"""Cold start: what the payment functions must not import before they need it."""

import os
import subprocess
import sys

import pytest

HEAVY = {"boto3", "botocore", "httpx", "redis", "fastapi", "starlette", "mangum", "defusedxml", "ocpp", "websockets"}


@pytest.mark.parametrize("function", ["payment_webhook", "payment_checks"])
def test_heavy_modules_are_lazy(function: str) -> None:
    code = f"import sys, functions.{function}.handler; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert "psycopg" in loaded
    assert not loaded & HEAVY
