"""Segments of a trace (AWS X-Ray) below the one that Lambda itself opens. Costs nothing while nothing is traced.

The entry of a function (:mod:`evpower.lambda_runtime.entry`) tells this module which subsegment is the invocation's.
New ones are hung onto that one directly and not onto "the current one": calls run concurrently on one thread, and the
SDK keeps its stack of open subsegments by thread.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from evpower.ids import correlation_id

_invocation: Any = None  # the traced invocation's subsegment; a process has one invocation at a time


def enter(subsegment: Any) -> None:
    """The invocation that runs now is traced (None: it is not, or is over)."""
    global _invocation
    _invocation = subsegment


def annotate(name: str, value: str) -> None:
    """Make the invocation's trace findable by ``value``, e.g. by the correlation id that a driver's phone shows."""
    if _invocation is not None:
        _invocation.put_annotation(name, value)


@contextmanager
def segment(name: str, **annotations: str) -> Iterator[None]:
    """A call to somebody else, shown as a node of its own in the trace; an exception marks it as a fault."""
    parent = _invocation
    if parent is None:
        yield
        return
    from aws_xray_sdk.core.models.subsegment import Subsegment

    child = Subsegment(name, "remote", parent.parent_segment)
    for key, value in annotations.items():
        child.put_annotation(key, value)
    if cid := correlation_id.get():
        child.put_annotation("correlation_id", cid)
    parent.add_subsegment(child)
    try:
        yield
    except BaseException:
        child.add_fault_flag()
        raise
    finally:
        child.close()
