"""The decorator of every function's handler: log context, cold-start metric, trace."""

import functools
import os
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools import Tracer
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

from evpower import error_reports, tracing
from evpower.config import get_settings
from evpower.lambda_runtime.log_lines import configure_function_logging
from evpower.logging import get_logger
from evpower.metrics import NAMESPACE, emit

Handler = Callable[[dict[str, Any], Any], Any]

_log = get_logger(__name__)


class _Metrics(AmazonCloudWatchEMFProvider):
    """Powertools' Metrics for the cold start; all others leave at once by :func:`evpower.metrics.emit`."""

    def add_cold_start_metric(self, context: Any) -> None:
        """The function's role instead of its full name: the name differs by stage, and alarms would differ with it."""
        emit({"ColdStarts": 1}, Function=self.service)

    def flush_metrics(self, raise_on_empty_metrics: bool = False) -> None:
        if self.metric_set:  # Powertools warns after every invocation that added none
            super().flush_metrics(raise_on_empty_metrics)


def observed(service: str, level: str) -> Callable[[Handler], Handler]:
    """Set up Powertools for this process; the decorator for its handler.

    Every line of any logger then tells the invocation it belongs to; the first invocation of a process counts as
    ``ColdStarts``; sampled invocations get a subsegment in X-Ray; errors go to Sentry before the process is frozen.
    """
    logger = configure_function_logging(service, level)
    metrics = _Metrics(namespace=NAMESPACE, service=service)
    error_reports.start(get_settings(), service)

    def decorate(handler: Handler) -> Handler:
        counted: Handler = metrics.log_metrics(_traced(handler, service), capture_cold_start_metric=True)
        return logger.inject_lambda_context(_reported(counted))

    return decorate


def _reported(handler: Handler) -> Handler:
    @functools.wraps(handler)
    def call(event: dict[str, Any], context: Any) -> Any:
        try:
            return handler(event, context)
        except BaseException as error:
            error_reports.capture(error)
            raise
        finally:
            error_reports.flush()

    return call


def is_traced() -> bool:
    """Whether X-Ray asked for this invocation's trace. Never outside Lambda or with POWERTOOLS_TRACE_DISABLED."""
    is_disabled = os.environ.get("POWERTOOLS_TRACE_DISABLED", "").lower() in {"1", "true", "t", "yes", "y", "on"}
    return (
        not is_disabled
        and bool(os.environ.get("LAMBDA_TASK_ROOT"))
        and "Sampled=1" in os.environ.get("_X_AMZN_TRACE_ID", "")
    )


def _traced(handler: Handler, service: str) -> Handler:
    """The handler, inside a subsegment when its invocation is traced.

    The X-Ray SDK takes as long to import as a small function, so it is loaded for the first traced invocation.
    Libraries are not patched: our calls run concurrently on one thread, and the SDK keeps its open subsegment per
    thread.
    """
    inside: Handler | None = None

    @functools.wraps(handler)
    def call(event: dict[str, Any], context: Any) -> Any:
        nonlocal inside
        if not is_traced():
            return handler(event, context)
        if inside is None:
            inside = _with_tracer(handler, service)
        return inside(event, context)

    return call


def _with_tracer(handler: Handler, service: str) -> Handler:
    try:
        tracer = Tracer(service=service, auto_patch=False)
        recorder: Any = tracer.provider

        @functools.wraps(handler)
        def entered(event: dict[str, Any], context: Any) -> Any:
            tracing.enter(recorder.current_subsegment())
            try:
                return handler(event, context)
            finally:
                tracing.enter(None)

        # Answers and errors may hold what only the client should see.
        return tracer.capture_lambda_handler(entered, capture_response=False, capture_error=False)
    except Exception:
        _log.exception("tracing is not available")
        return handler
