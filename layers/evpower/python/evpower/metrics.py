"""CloudWatch metrics in the Embedded Metric Format (EMF): one JSON log line per emission, no agent, no call.

Functions and the socket tier write the same form; namespace ``EvPower``.
"""

import sys
import time
from collections.abc import Mapping

import orjson

NAMESPACE = "EvPower"


def emit(metrics: Mapping[str, float], *, unit: str = "Count", **dimensions: str) -> None:
    """Write ``metrics`` (name -> value, all in ``unit``) with ``dimensions`` as one EMF line to standard output."""
    if not metrics:
        return
    document = {
        "_aws": {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": NAMESPACE,
                    "Dimensions": [sorted(dimensions)],
                    "Metrics": [{"Name": name, "Unit": unit} for name in metrics],
                }
            ],
        },
        **dimensions,
        **metrics,
    }
    sys.stdout.write(orjson.dumps(document).decode() + "\n")
