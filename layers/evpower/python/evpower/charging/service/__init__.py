"""Charging services. All take an open transaction; entries commit and then send the commands named in the answers."""

from evpower.charging.service.common import ConnectionLost, get_session, history, lock_pending
from evpower.charging.service.meter_updates import (
    auto_stop,
    extend_reserve,
    flush_readings,
    meter_context,
    quarantine_readings,
    stop_closed,
)
from evpower.charging.service.start import start, start_again
from evpower.charging.service.start_transaction import start_transaction
from evpower.charging.service.stop import remote_start_rejected, remote_stop_rejected, request_stop
from evpower.charging.service.stop_transaction import quarantine_stop, stop_transaction
from evpower.charging.service.sweeps import SWEEPS, Sweep
from evpower.charging.service.tags import TagVerdict, authorize, forget_client

__all__ = [
    "SWEEPS",
    "ConnectionLost",
    "Sweep",
    "TagVerdict",
    "authorize",
    "auto_stop",
    "extend_reserve",
    "flush_readings",
    "forget_client",
    "get_session",
    "history",
    "lock_pending",
    "meter_context",
    "quarantine_readings",
    "quarantine_stop",
    "remote_start_rejected",
    "remote_stop_rejected",
    "request_stop",
    "start",
    "start_again",
    "start_transaction",
    "stop_closed",
    "stop_transaction",
]
