"""Cold start: what the small functions must not import before they need it."""

import os
import subprocess
import sys

import pytest

HEAVY = {
    "aws_xray_sdk",
    "boto3",
    "botocore.session",  # Powertools imports the bare `botocore`, which is one small module
    "defusedxml",
    "fastapi",
    "httpx",
    "mangum",
    "ocpp",
    "redis",
    "starlette",
    "websockets",
}


@pytest.mark.parametrize("function", ["payment_webhook", "payment_checks", "push"])
def test_heavy_modules_are_lazy(function: str) -> None:
    code = f"import sys, functions.{function}.handler; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    loaded = set(run.stdout.split())
    assert "psycopg" in loaded
    assert not loaded & HEAVY
