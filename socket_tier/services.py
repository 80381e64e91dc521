"""What the handlers of every charger share: one object per process, made by :mod:`socket_tier.tier`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evpower.clock import Clock
from evpower.config import Settings
from evpower.db import Database

if TYPE_CHECKING:
    from socket_tier.meter_flush import MeterFlush


@dataclass(frozen=True, slots=True)
class Services:
    """Shared parts.

    Attributes:
        flush: the group commit of meter readings.
        dispatch: (station id, command id) -> taken; runs a committed command on a local station at once.
        drain: runs the queued commands of a local station, in the background.
        changed: tells the locations stream that the public state of these stations may have changed.
    """

    database: Database
    clock: Clock
    settings: Settings
    instance_id: str
    flush: "MeterFlush"
    dispatch: Callable[[str, str], bool]
    changed: Callable[[list[str]], Awaitable[None]]
    drain: Callable[[str], None]
