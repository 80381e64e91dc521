"""JSON log lines with the correlation id, the same form in functions and in the socket tier.

Functions write them through Powertools, which adds the invocation: :mod:`evpower.lambda_runtime.log_lines`.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

from evpower.clock import iso_z
from evpower.ids import correlation_id

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_SECRET_NAME = re.compile(
    r"password|secret|token|authorization|api_?key|signature|hash|cvv|card|pan\b|^key$", re.IGNORECASE
)
_MASK = "***"


def mask(value: Any, name: str = "") -> Any:
    """Copy of ``value`` with the values of secret-looking members replaced, at any depth."""
    if name and _SECRET_NAME.search(name) and value is not None:
        return _MASK
    if isinstance(value, dict):
        return {key: mask(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask(item) for item in value]
    return value


def json_line(entry: dict[str, Any]) -> str:
    """One line of JSON, whatever is in it: half a surrogate pair of a path must not cost the line."""
    try:
        return orjson.dumps(entry, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        return json.dumps(entry, default=str)


def time_of(record: logging.LogRecord) -> datetime:
    """When the line was written, in UTC."""
    return datetime.fromtimestamp(record.created, UTC)


class JsonFormatter(logging.Formatter):
    """One JSON object a line; members given as ``extra`` are masked by name."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "timestamp": iso_z(time_of(record)),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if cid := correlation_id.get():
            entry["correlation_id"] = cid
        entry.update({k: mask(v, k) for k, v in record.__dict__.items() if k not in _STANDARD})
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json_line(entry)


def configure_logging(service: str, level: str = "INFO") -> None:
    """Send the root logger's lines to standard output as JSON (socket tier and tools). Safe to call again."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


def get_logger(name: str) -> logging.Logger:
    """Logger of a module; pass structured members with ``extra={...}``."""
    return logging.getLogger(name)
