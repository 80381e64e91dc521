"""Charging services. All take an open transaction; entries commit and then send the commands named in the answers."""

from evpower.charging.service.cards import CardTaken, change_card, create_card, remove_card
from evpower.charging.service.common import ConnectionLost, get_session, history, lock_pending
from evpower.charging.service.meter_updates import (
    auto_stop,
    extend_reserve,
    flush_readings,
    is_transaction,
    meter_context,
    quarantine_readings,
    running_on,
    sampling_changed,
    sampling_observed,
    stop_closed,
    store_readings_apart,
)
from evpower.charging.service.quarantine import (
    AlreadyDecided,
    NotApplicable,
    apply_quarantined_stop,
    dismiss_quarantined,
    quarantine_stop,
)
from evpower.charging.service.reviews import SessionAdjustment, SessionRuns, adjust_session, close_review
from evpower.charging.service.start import places_to_go_on, start, start_again
from evpower.charging.service.start_members import complete_start
from evpower.charging.service.start_transaction import start_transaction
from evpower.charging.service.stop import remote_start_rejected, remote_stop_rejected, request_stop
from evpower.charging.service.stop_transaction import has_transaction, stop_transaction, stop_verdict
from evpower.charging.service.sweeps import SWEEPS, Sweep
from evpower.charging.service.tags import TagVerdict, authorize, forget_client, start_verdict
from evpower.charging.service.waiting_stops import settle_before_start

__all__ = [
    "SWEEPS",
    "AlreadyDecided",
    "CardTaken",
    "ConnectionLost",
    "NotApplicable",
    "SessionAdjustment",
    "SessionRuns",
    "Sweep",
    "TagVerdict",
    "adjust_session",
    "apply_quarantined_stop",
    "authorize",
    "auto_stop",
    "change_card",
    "close_review",
    "complete_start",
    "create_card",
    "dismiss_quarantined",
    "extend_reserve",
    "flush_readings",
    "forget_client",
    "get_session",
    "has_transaction",
    "history",
    "is_transaction",
    "lock_pending",
    "meter_context",
    "places_to_go_on",
    "quarantine_readings",
    "quarantine_stop",
    "remote_start_rejected",
    "remote_stop_rejected",
    "remove_card",
    "request_stop",
    "running_on",
    "sampling_changed",
    "sampling_observed",
    "settle_before_start",
    "start",
    "start_again",
    "start_transaction",
    "start_verdict",
    "stop_closed",
    "stop_transaction",
    "stop_verdict",
    "store_readings_apart",
]
