"""Errors to Sentry when SENTRY_DSN is set; without it nothing of Sentry is imported.

What is reported: lines of level ERROR (and above) with their exception, and whatever ends an invocation. An event names
the part, the release and the correlation id. It holds no request, no local variables and no breadcrumbs, and what is
left is scrubbed: members by name as in our log lines, texts by what phone numbers, tokens and cards look like.
"""

import functools
import logging
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evpower.ids import correlation_id
from evpower.logging import get_logger, mask

if TYPE_CHECKING:
    from evpower.config import Settings

_PER_MINUTE = 30  # an outage repeats one error a thousand times; its first reports say it all
_FLUSH_S = 2.0
_DROPPED = ("request", "user", "breadcrumbs", "modules", "server_name")
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"), "***"),  # user and password of a URL
    (re.compile(r"eyJ[\w-]+\.[\w-]+\.?[\w-]*"), "***"),  # a JWT
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]+"), r"\1 ***"),
    (re.compile(r"(?i)([\w-]*(?:password|secret|token|signature|api_?key|authorization)[\w-]*\"?'?\s*[=:]\s*\"?'?)[^\s&\"',}]+"),
     r"\1***"),
    (re.compile(r"\+\d[\d ()-]{8,17}\d"), "+***"),  # a phone number
    (re.compile(r"\b996\d{9}\b"), "996***"),
    (re.compile(r"\b\d(?:[ -]?\d){12,18}\b"), "***"),  # a card's number
)  # fmt: skip
# Sentry's own members: identifiers and times that only look like secrets.
_KEPT = frozenset({"event_id", "timestamp", "start_timestamp", "level", "platform", "sdk", "release", "environment",
                   "trace_id", "span_id", "type"})  # fmt: skip

_log = get_logger(__name__)
_wanted: "tuple[Settings, str] | None" = None  # SENTRY_DSN is set, and nothing was imported yet
_flush: Callable[[], None] | None = None
_pending = False


def start(settings: "Settings", service: str, *, at_once: bool = False) -> None:
    """Report the errors of this process from now on; call it after logging is configured.

    The SDK costs a third of a second to import, so it is loaded for the first error; ``at_once`` loads it now, where
    that time is nobody's, and reports what ends the process too.
    """
    global _wanted
    if settings.sentry_dsn:
        _wanted = (settings, service)
        if at_once:
            _load()
        else:
            logging.getLogger().addHandler(_FirstError(logging.ERROR))


class _FirstError(logging.Handler):
    """Loads the SDK and hands it the record that made it necessary; the SDK sees all later ones by itself."""

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger().removeHandler(self)
        if _load():
            from sentry_sdk.integrations.logging import EventHandler

            EventHandler(logging.ERROR).handle(record)


def _load() -> bool:
    """Whether errors can be reported. A DSN that cannot be used is logged: it must not stop the product."""
    global _wanted, _flush
    if _wanted is None:
        return _flush is not None
    settings, service = _wanted
    _wanted = None
    import sentry_sdk
    from sentry_sdk.integrations.atexit import AtexitIntegration
    from sentry_sdk.integrations.dedupe import DedupeIntegration
    from sentry_sdk.integrations.excepthook import ExcepthookIntegration
    from sentry_sdk.integrations.logging import LoggingIntegration
    from sentry_sdk.integrations.threading import ThreadingIntegration

    try:
        sentry_sdk.init(
            dsn=settings.sentry_dsn,
            environment=settings.environment,
            release=settings.git_commit or None,
            server_name=service,
            # Only these: the automatic ones import every library that they know.
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[
                LoggingIntegration(level=None, event_level=logging.ERROR),
                DedupeIntegration(),
                ExcepthookIntegration(),
                ThreadingIntegration(propagate_scope=False),
                AtexitIntegration(callback=lambda pending, timeout: None),
            ],
            before_send=_Outbox(service).take,
            send_default_pii=False,
            include_local_variables=False,
            max_request_body_size="never",
            shutdown_timeout=_FLUSH_S,
        )
    except Exception:
        _log.exception("errors cannot be reported: is SENTRY_DSN right?")
        return False
    _flush = functools.partial(sentry_sdk.flush, timeout=_FLUSH_S)
    return True


def capture(error: BaseException) -> None:
    """Report an exception that ends an invocation; one that was logged before is reported once."""
    if _load():
        import sentry_sdk

        sentry_sdk.capture_exception(error)


def flush() -> None:
    """Send what waits, before a Lambda process is frozen. Costs nothing when nothing was reported."""
    global _pending
    if _flush is not None and _pending:
        _pending = False
        _flush()


def scrub(value: Any) -> Any:
    """Copy of ``value`` without secrets and personal data in its texts, at any depth."""
    if isinstance(value, str):
        for pattern, replacement in _PATTERNS:
            value = pattern.sub(replacement, value)
        return value
    if isinstance(value, dict):
        return {key: item if key in _KEPT else scrub(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [scrub(item) for item in value]
    return value


class _Outbox:
    """The last look at an event before it leaves."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._minute = 0
        self._sent = 0

    def take(self, event: Any, _hint: Any) -> Any:
        """The event as it may leave, or None."""
        global _pending
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._sent = minute, 0
        self._sent += 1
        if self._sent > _PER_MINUTE:
            return None
        _pending = True
        kept = {name: value for name, value in event.items() if name not in _DROPPED}
        clean: dict[str, Any] = scrub(mask(kept))
        tags = {"service": self._service, "correlation_id": correlation_id.get()}
        clean["tags"] = {name: value for name, value in tags.items() if value}
        return clean
