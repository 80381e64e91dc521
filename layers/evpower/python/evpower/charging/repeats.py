"""Is a StartTransaction with known content the same start again, or another charge? Pure (docs/decisions/0008).

Chargers repeat a StartTransaction until they see its answer, with new message ids, after reboots, on other instances:
equal content is the same transaction. A charger without a clock, whose register starts at 0 with each charge, sends
equal content for different charges of one card; taken for repeats, all but the first would be free.
"""

from datetime import datetime
from decimal import Decimal
from typing import Protocol

from evpower.charging import meter


class Earlier(Protocol):
    """What is known of the transaction with the same content."""

    @property
    def status(self) -> str: ...
    @property
    def received_at(self) -> datetime: ...
    @property
    def started_at(self) -> datetime: ...
    @property
    def start_message_id(self) -> str | None: ...
    @property
    def stop_named_id(self) -> bool | None: ...
    @property
    def session_id(self) -> str | None: ...
    @property
    def id_tag_status(self) -> str: ...


def is_another_charge(earlier: Earlier, message_id: str | None, *, told_time: bool = True) -> bool:
    """Whether a start with the content of ``earlier`` begins another charge.

    Only if all of this holds: the earlier one has ended; its StopTransaction named our id, so the charger had seen
    the answer to its start and has no reason to send it again; the clock was dead when it began, so the equal time says
    nothing; and this is not the very same message. ``told_time``: both told a time at all; none is as good as a dead
    clock.
    """
    return (
        earlier.status == "stopped"
        and earlier.stop_named_id is True
        and not (told_time and not meter.clock_is_dead(earlier.started_at, earlier.received_at))
        and message_id is not None
        and message_id != earlier.start_message_id
    )


def may_be_another_attempt(earlier: Earlier, message_id: str | None, *, told_time: bool = True) -> bool:
    """Whether a start with the content of ``earlier``, which was refused and whose end never came, may be another one.

    Use case: the card was blocked; the charger told no end of a charge that never began, and its card is good by now.
    Nothing was billed, so nothing can be billed twice. It is another attempt only if it would be accepted: a refusal
    that is repeated stays one.
    """
    return (
        earlier.status != "stopped"
        and earlier.session_id is None
        and earlier.id_tag_status != "Accepted"
        and not (told_time and not meter.clock_is_dead(earlier.started_at, earlier.received_at))
        and message_id is not None
        and message_id != earlier.start_message_id
    )


def could_deliver(energy_wh: Decimal, since: datetime, until: datetime, max_power_w: Decimal) -> bool:
    """Whether that much energy can have been delivered between two moments of the server.

    Use case: a charger without a clock restores an old queue and plays a charge again that was billed. Start and stop
    come within seconds, with the register and time of the first stop.
    """
    return energy_wh <= meter.plausible_wh(until - since, max_power_w) - meter.ALLOWANCE_WH
