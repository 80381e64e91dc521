"""Errors that leave for Sentry: what is in them, and what never is."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.error_reports import scrub
from tests.fakes.sentry import SentryStandin

PHONE, CARD = "+996 700 000 012", "4111 1111 1111 1111"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjbGllbnQtMSJ9.c2lnbmF0dXJl"
CONTEXT = """
from types import SimpleNamespace
context = SimpleNamespace(aws_request_id="r-1", function_name="evpower-push", memory_limit_in_mb=256,
                          invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:evpower-push")
"""


@pytest.fixture
def sentry() -> Iterator[SentryStandin]:
    with SentryStandin().running() as standin:
        yield standin


def run(code: str, dsn: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "SENTRY_DSN": dsn,
            "ENVIRONMENT": "test",
            "GIT_COMMIT": "abc1234",
            **environment,
        },
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_error_of_a_function_arrives_before_the_process_is_frozen(sentry: SentryStandin) -> None:
    """The stand-in has the event when the handler returns: afterwards Lambda may stop the clock."""
    code = f"""{CONTEXT}
import os
from evpower.ids import correlation_id
from evpower.lambda_runtime.entry import observed
from evpower.logging import get_logger
log = get_logger("evpower.payments.checks")

@observed("payment_checks", "INFO")
def handler(event, context):
    correlation_id.set("phone-77")
    token = {TOKEN!r}
    try:
        raise ValueError("driver {PHONE} paid by {CARD} with " + token)
    except ValueError:
        log.exception("check of %s failed", "996700000012", extra={{"api_key": "k-1", "amount": 5, "note": token}})
    log.warning("not an error")

handler({{"headers": {{"Authorization": "Bearer " + {TOKEN!r}}}}}, context)
os._exit(0)  # nothing is sent at the end of the process
"""
    run(code, sentry.dsn)
    (event,) = sentry.wait(1)
    assert event["tags"] == {"service": "payment_checks", "correlation_id": "phone-77"}
    assert (event["release"], event["environment"], event["level"]) == ("abc1234", "test", "error")
    (error,) = event["exception"]["values"]
    assert (error["type"], error["value"]) == ("ValueError", "driver +*** paid by *** with ***")
    assert all("vars" not in frame for frame in error["stacktrace"]["frames"])
    assert event["extra"]["amount"] == 5
    assert event["logentry"]["formatted"] == "check of 996*** failed"
    for secret in (PHONE, CARD, TOKEN, TOKEN.split(".")[1], "700000012", "k-1"):
        assert secret not in sentry.raw
    assert not {"request", "user", "breadcrumbs", "modules", "server_name"} & event.keys()


def test_what_ends_an_invocation_is_reported_once(sentry: SentryStandin) -> None:
    code = f"""{CONTEXT}
from evpower.lambda_runtime.entry import observed
from evpower.logging import get_logger

@observed("sweeps", "INFO")
def handler(event, context):
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        if event:
            get_logger("functions.sweeps").exception("sweep failed")
        raise

for event in ({{}}, {{"logged": True}}):
    try:
        handler(event, context)
    except RuntimeError:
        pass
"""
    run(code, sentry.dsn)
    assert [event["exception"]["values"][0]["value"] for event in sentry.wait(2)] == ["broken", "broken"]
    assert len(sentry.events) == 2


def test_an_outage_does_not_become_a_flood(sentry: SentryStandin) -> None:
    code = """
from evpower import error_reports
from evpower.config import get_settings
from evpower.logging import get_logger
error_reports.start(get_settings(), "socket-tier")
for number in range(500):
    get_logger("socket_tier.connection").error("the database is away, %d", number)
error_reports.flush()
"""
    run(code, sentry.dsn)
    # Two minutes of the clock at most.
    assert 30 <= len(sentry.wait(30)) <= 60


def test_without_a_dsn_nothing_of_it_is_imported() -> None:
    code = """
import sys
import functions.sweeps.handler
from evpower import error_reports
error_reports.capture(ValueError()), error_reports.flush()
print("sentry_sdk" in sys.modules)
"""
    assert run(code, "").splitlines()[-1] == "False"


def test_a_cold_start_does_not_pay_for_it(sentry: SentryStandin) -> None:
    code = f"""{CONTEXT}
import sys
from evpower.lambda_runtime.entry import observed
from evpower.logging import get_logger

@observed("push", "INFO")
def handler(event, context):
    get_logger("x").log(event["level"], "line")

handler({{"level": 30}}, context)
assert "sentry_sdk" not in sys.modules
handler({{"level": 40}}, context)
handler({{"level": 40}}, context)
"""
    run(code, sentry.dsn)
    assert [event["logentry"]["message"] for event in sentry.wait(2)] == ["line", "line"]


def test_a_wrong_dsn_does_not_stop_the_product() -> None:
    code = f"""{CONTEXT}
from evpower.lambda_runtime.entry import observed
from evpower.logging import get_logger

@observed("push", "INFO")
def handler(event, context):
    get_logger("x").error("broken")
    return "answered"

print(handler({{}}, context))
"""
    output = run(code, "not-a-dsn")
    assert "answered" in output
    assert "is SENTRY_DSN right?" in output


def test_an_unreachable_sentry_costs_seconds_and_no_answer() -> None:
    code = f"""{CONTEXT}
import time
from evpower.lambda_runtime.entry import observed
from evpower.logging import get_logger

@observed("push", "INFO")
def handler(event, context):
    get_logger("x").error("broken")
    return "answered"

began = time.monotonic()
assert handler({{}}, context) == "answered"
assert time.monotonic() - began < 5
"""
    run(code, "http://public@127.0.0.1:9/7")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgresql://evpower:p4ss@db:5432/evpower", "postgresql://***@db:5432/evpower"),
        ("GET https://x.kg/a?token=abc&order=7", "GET https://x.kg/a?token=***&order=7"),
        ('{"password": "p4ss", "amount": 5}', '{"password": "***", "amount": 5}'),
        ("Authorization: Basic ZXY6cDRzcw==", "Authorization: ***"),
        ("station EVP-1 at +996700000012", "station EVP-1 at +***"),
        ("session 39dfcc49-d951-418a-9022-8733a72fd964 at 2026-01-15T06:00:00Z", None),
        ("order evp-4f0c2f1b8a7e4c3d9e8f7a6b5c4d3e2f was paid 500.00 som", None),
    ],
)
def test_texts_lose_secrets_and_keep_the_rest(text: str, clean: str | None) -> None:
    shown = scrub({"deep": [text]})["deep"][0]
    if clean is None:
        assert shown == text
    else:
        assert "p4ss" not in shown
        assert "ZXY6" not in shown
        assert shown == clean or shown.startswith("Authorization: ***")


_JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(_JSON)
def test_scrubbing_is_stable(value: object) -> None:
    once = scrub(value)
    assert scrub(once) == once
