"""Powertools' Logger for all of a function's lines, those of the domain modules as well."""

import logging
import sys
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

from evpower.clock import iso_z
from evpower.ids import correlation_id
from evpower.logging import json_line, mask, time_of


class FunctionFormatter(LambdaPowertoolsFormatter):
    """The form of :class:`evpower.logging.JsonFormatter` with what Powertools knows about the invocation.

    That is ``cold_start``, ``function_name``, ``function_request_id``, ``xray_trace_id`` and ``location``.
    """

    def __init__(self, service: str) -> None:
        super().__init__(
            # A message stays text: Powertools would turn "123" into a number and '{"a": 1}' into an object.
            json_deserializer=str,
            log_record_order=["timestamp", "level", "service", "name", "message"],
            serialize_stacktrace=False,  # `exception` has it
            service=service,
            name="%(name)s",
        )

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """The record's time in UTC, as everywhere in our JSON."""
        return iso_z(time_of(record))

    def serialize(self, log: dict[str, Any]) -> str:  # type: ignore[override]
        """One line; members are masked by name, at any depth."""
        entry = {"logger" if key == "name" else key: mask(value, key) for key, value in log.items()}
        entry.pop("taskName", None)
        if cid := correlation_id.get():
            entry["correlation_id"] = cid
        return json_line(entry)


class _StandardOutput(logging.Handler):
    """Writes to what `sys.stdout` is at that moment: the runtime may replace it after our import."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stdout.write(self.format(record) + "\n")
            sys.stdout.flush()
        except Exception:
            self.handleError(record)


def configure_function_logging(service: str, level: str) -> Logger:
    """Powertools' Logger with our formatter, as the one handler of the root logger. Safe to call again."""
    root = logging.getLogger()
    # Before the Logger is made: it silences its own name in every handler that it finds at the root.
    root.handlers.clear()
    formatter, handler = FunctionFormatter(service), _StandardOutput()
    handler.setFormatter(formatter)
    logger = Logger(service=service, level=level, logger_handler=handler, logger_formatter=formatter)
    logger.handlers.clear()  # its own lines go through the root as well
    root.handlers[:] = [handler]
    root.setLevel(logger.log_level)
    return logger
