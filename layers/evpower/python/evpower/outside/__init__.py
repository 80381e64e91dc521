"""Calls to somebody else's server, measured the same way: how many, how long, how they ended, and a trace segment."""

import functools
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

from evpower import metrics, tracing

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class Seen:
    """How the call ended: the name of a type or another of a few words, never a text from outside."""

    outcome: str = "Failed"


@contextmanager
def call(provider: str, operation: str) -> Iterator[Seen]:
    """Measure one call; the body sets ``outcome``. An exception leaves it at ``Failed``."""
    seen = Seen()
    began = time.perf_counter()
    try:
        with tracing.segment(provider, operation=operation):
            yield seen
    finally:
        metrics.emit({"ProviderCalls": 1}, Provider=provider, Outcome=seen.outcome)
        metrics.emit({"ProviderCallDuration": round((time.perf_counter() - began) * 1000, 1)}, Provider=provider)


def measured(
    provider: str,
) -> Callable[[Callable[Concatenate[Any, str, P], Awaitable[T]]], Callable[Concatenate[Any, str, P], Awaitable[T]]]:
    """:func:`call` around a client's method whose first argument names the operation; the outcome is its type."""

    def decorate(
        ask: Callable[Concatenate[Any, str, P], Awaitable[T]],
    ) -> Callable[Concatenate[Any, str, P], Awaitable[T]]:
        @functools.wraps(ask)
        async def asked(client: Any, operation: str, /, *args: P.args, **kwargs: P.kwargs) -> T:
            with call(provider, operation) as seen:
                outcome = await ask(client, operation, *args, **kwargs)
                seen.outcome = type(outcome).__name__
            return outcome

        return asked

    return decorate
