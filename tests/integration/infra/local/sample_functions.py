"""Handlers that the Lambda pool runs in its tests."""

import os
import time
from typing import Any


def echo(event: Any, context: Any) -> Any:
    return {
        "event": event,
        "pid": os.getpid(),
        "name": context.function_name,
        "remaining_ms": context.get_remaining_time_in_millis(),
        "request_id": context.aws_request_id,
    }


def wait(event: Any, context: Any) -> Any:
    if event.get("started"):
        with open(event["started"], "w") as file:
            file.write(str(os.getpid()))
    time.sleep(event["seconds"])
    return {"pid": os.getpid()}


def fail(event: Any, context: Any) -> Any:
    raise ValueError(f"no {event['what']}")


def large(event: Any, context: Any) -> Any:
    return "x" * event["bytes"]


def proxy(event: Any, context: Any) -> Any:
    """A REST proxy function; the path chooses what it does."""
    import json

    if event["path"] == "/slow":
        time.sleep(60)
    if event["path"] == "/crash":
        raise RuntimeError("boom")
    if event["path"] == "/malformed":
        return {"body": "no status"}
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json", "x-who": os.environ.get("WHO", "")},
        "body": json.dumps({"event": event}),
    }


def consume(event: Any, context: Any) -> Any:
    """An SQS consumer that notes each record; "...-once" goes wrong at its first delivery."""
    failures = []
    for record in event["Records"]:
        with open(os.environ["RECORDS"], "a") as file:
            file.write(record["body"] + "\n")
        first = record["attributes"]["ApproximateReceiveCount"] == "1"
        if record["body"] == "hangs-once" and first:
            time.sleep(60)
        if record["body"] == "fails-once" and first:
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}
