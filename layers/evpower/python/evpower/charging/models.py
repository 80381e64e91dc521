"""Sessions, readings and what the services answer. Energy Wh unless a name says kWh; money som; power W."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from evpower.pricing.models import Price
from evpower.records import Record

ZERO = Decimal(0)


class SessionState(StrEnum):
    """Internal state; on the wire pending, charging and stopping are ``started`` (mobile-api.md §0.15)."""

    PENDING = "pending"  # reserved, waiting for StartTransaction
    CHARGING = "charging"  # a transaction is running
    STOPPING = "stopping"  # RemoteStop asked for
    STOPPED = "stopped"  # ended and settled
    ERROR = "error"  # never delivered energy and cannot go on; refunded

    @property
    def live(self) -> bool:
        return self in LIVE_STATES

    @property
    def wire(self) -> str:
        return "started" if self.live else self.value


LIVE_STATES = (SessionState.PENDING, SessionState.CHARGING, SessionState.STOPPING)


class LimitType(StrEnum):
    ENERGY = "energy"  # limit_value in kWh
    AMOUNT = "amount"  # limit_value in som
    NONE = "none"


class EndReason(StrEnum):
    """Why a session ended or was asked to end (column ``stop_reason``)."""

    CLIENT = "client"
    LIMIT = "limit"
    READING_OVERDUE = "reading_overdue"
    NO_CONNECTION = "NO_CONNECTION"
    TOO_LONG = "TOO_LONG"
    STATION_OFFLINE = "station_offline"
    START_REJECTED = "start_rejected"
    STOP_REJECTED = "stop_rejected"
    START_SUPERSEDED = "start_superseded"
    STATION = "station"
    OPERATOR = "operator"


class EnergySource(StrEnum):
    """What the energy of a session is known from (column ``energy_source``). The last two are estimates."""

    REGISTER = "register"
    INTERVAL = "interval"  # Energy.Active.Import.Interval, summed
    POWER = "power"  # Power.Active.Import over time


UNUSABLE = "unusable_entry"
"""Flag of a reading that is kept as it came because its schema refuses it."""
NO_TIME = "unreadable_timestamp"
"""Flag of a reading whose moment cannot be read: that of its receipt counts."""
TRANSACTION_DATA = "transaction_data"
"""Flag of a reading that came with StopTransaction."""
AFTER_STOP = "readings_after_stop"
"""Reason of a review: readings that name the charge came after it was over, and are not billed."""
CONTRADICTION = "readings_contradict"
"""Reason of a review: readings name the charge, but their connector and register are those of another one."""
BY_CARD = "stop_by_card"
"""Reason of a review, and source of a settlement: a StopTransaction was taken for the charge's by its card alone."""


class Reading(Record, frozen=True):
    """One moment of a MeterValues message, normalised (ocpp.md §3). ``None``: the charger did not say."""

    sampled_at: datetime | None
    energy_wh: Decimal | None = None
    power_w: Decimal | None = None
    current_a: Decimal | None = None
    voltage_v: Decimal | None = None
    soc_percent: Decimal | None = None
    temperature_c: Decimal | None = None
    context: str | None = None
    flags: tuple[str, ...] = ()
    raw: str = "{}"  # JSON text of the sample as it came, cleaned of NUL
    interval_wh: Decimal | None = None  # energy since the reading before, for chargers without a register


class MeterMemory(Record, frozen=True, omit_defaults=True):
    """What a meter remembers beside its register while there is something to remember (column ``meter_memory``).

    ``power_wh``: energy by power over ``measured_s`` seconds; ``interval_wh``: sum of the interval energies of the
    timestamps ``intervals``; ``left_wh``: the register before the present one (it fell, or another is sent in turn),
    with the session's energy and the times (server's, charger's) when it was left; ``owed_wh``: what the register
    showed sooner than the connector seemed able to deliver it since the begin.
    """

    power_wh: Decimal = ZERO
    measured_s: Decimal = ZERO
    interval_wh: Decimal = ZERO
    intervals: tuple[datetime, ...] = ()
    left_wh: Decimal | None = None
    left_energy_wh: Decimal = ZERO
    left_since: datetime | None = None
    left_since_charger: datetime | None = None
    owed_wh: Decimal = ZERO


class MeterState(Record, frozen=True):
    """Where the meter of one session stands; see :mod:`evpower.charging.meter`.

    ``register_wh`` is the last accepted register, ``candidate_wh`` an implausible one that the next reading confirms
    or refutes, ``energy_wh`` the billable energy so far, ``since`` the server time from which the next difference is
    judged: that of the last reading that told energy. ``source`` is an :class:`EnergySource`, None before the first.
    """

    meter_start_wh: Decimal
    register_wh: Decimal
    energy_wh: Decimal = ZERO
    candidate_wh: Decimal | None = None
    since: datetime | None = None
    since_charger: datetime | None = None
    power_w: Decimal | None = None
    current_a: Decimal | None = None
    voltage_v: Decimal | None = None
    soc_percent: Decimal | None = None
    temperature_c: Decimal | None = None
    source: str | None = None
    memory: MeterMemory | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A row of ``charging_sessions``."""

    id: str
    user_id: str
    station_id: str
    connector_id: int
    id_tag: str
    start_source: str
    state: SessionState
    limit_type: LimitType
    limit_value: Decimal
    price: Price
    reserved_amount: Decimal
    reserve_count: int
    taken_amount: Decimal
    amount: Decimal
    final_amount: Decimal | None
    refund_amount: Decimal
    written_off_amount: Decimal
    settlement_revision: int
    created_at: datetime
    start_time: datetime
    charging_started_at: datetime | None
    stop_requested_at: datetime | None
    stop_time: datetime | None
    ocpp_transaction_id: int | None
    meter_start: Decimal | None
    meter_current: Decimal | None
    meter_candidate: Decimal | None
    energy_wh: Decimal
    last_meter_at: datetime | None
    last_meter_charger_at: datetime | None
    power_w: Decimal | None
    current_a: Decimal | None
    voltage_v: Decimal | None
    soc_percent: Decimal | None
    temperature_c: Decimal | None
    sample_interval_s: int
    limit_reached: bool
    stop_reason: str | None
    stop_initiator: str | None
    error_code: str | None
    needs_review: bool
    correlation_id: str | None
    updated_at: datetime
    energy_source: str | None = None
    meter_memory: MeterMemory | None = None
    register_factor: int = 1

    @property
    def client_id(self) -> str:
        return self.user_id

    @property
    def energy_kwh(self) -> Decimal:
        return self.energy_wh / 1000

    @property
    def status(self) -> str:
        return self.state.wire

    def meter(self) -> MeterState | None:
        """The session's meter, once its transaction has begun."""
        if self.meter_start is None:
            return None
        return MeterState(
            meter_start_wh=self.meter_start,
            register_wh=self.meter_current if self.meter_current is not None else self.meter_start,
            energy_wh=self.energy_wh,
            candidate_wh=self.meter_candidate,
            since=self.last_meter_at or self.charging_started_at,
            since_charger=self.last_meter_charger_at,
            power_w=self.power_w,
            current_a=self.current_a,
            voltage_v=self.voltage_v,
            soc_percent=self.soc_percent,
            temperature_c=self.temperature_c,
            source=self._source(),
            memory=self.meter_memory,
        )

    def _source(self) -> str | None:
        """What the energy is known from; before this was written down it was always the register."""
        moved = self.meter_current is not None and self.meter_current != max(self.meter_start or ZERO, ZERO)
        return self.energy_source or (EnergySource.REGISTER if moved or self.energy_wh > 0 else None)


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A driver's wish to charge. Neither limit: until the balance ends."""

    client_id: str
    station_ref: str  # stations.id or serial_number
    connector_id: int
    energy_kwh: Decimal | None = None
    amount_som: Decimal | None = None
    promo_code: str | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """Answer to a start: the session, its RemoteStart command (to be sent after commit) and the client's balance."""

    session: Session
    command_id: str
    balance: Decimal
    station_online: bool
    estimated_cost: Decimal


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Answer to a stop: the session as it stands and, when a transaction runs, the command to be sent."""

    session: Session
    command_id: str | None
    balance: Decimal


@dataclass(frozen=True, slots=True)
class ReceivedStart:
    """OCPP 1.6 StartTransaction.req as far as it could be read; ``None``: it could not.

    ``as_sent`` is the fingerprint of the members that make it the same start again, as the charger wrote them.
    """

    station_id: str
    connector_id: int | None
    id_tag: str | None
    meter_start_wh: Decimal | None
    started_at: datetime | None
    received_at: datetime
    epoch: int
    message_id: str | None
    as_sent: str


@dataclass(frozen=True, slots=True)
class StartTransaction:
    """OCPP 1.6 StartTransaction.req with the charger's and the server's time.

    ``unreadable`` names the members that were replaced by what is known; then ``as_sent``, and not their replacements,
    tells whether the start is a repeat.
    """

    station_id: str
    connector_id: int
    id_tag: str
    meter_start_wh: Decimal
    started_at: datetime  # charger's clock
    received_at: datetime
    epoch: int
    message_id: str | None = None
    as_sent: str | None = None
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StopTransaction:
    """OCPP 1.6 StopTransaction.req; ``readings`` is its transactionData, normalised.

    ``unreadable`` names the members that could not be read. A register of None is billed by the last one known, a time
    of None to the last reading; ``raw`` tells whether the stop is a repeat. ``measured_at``: time of receipt by which
    energy and minutes are judged, where the instance kept the time of the transaction (:meth:`MeterContext.measured`).
    """

    station_id: str
    transaction_id: int
    meter_stop_wh: Decimal | None
    stopped_at: datetime | None
    received_at: datetime
    epoch: int
    reason: str | None = None
    id_tag: str | None = None
    readings: tuple[Reading, ...] = ()
    raw: dict[str, Any] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()
    measured_at: datetime | None = None

    @property
    def bound_at(self) -> datetime:
        """Server time until which energy and minutes of the transaction can have been delivered."""
        return self.measured_at or self.received_at


@dataclass(frozen=True, slots=True)
class TransactionStarted:
    """What StartTransaction is answered with, and what must follow after the commit."""

    transaction_id: int
    id_tag_status: str  # Accepted, Blocked, Expired, Invalid, ConcurrentTx (OCPP 1.6 §7.2)
    session_id: str | None = None
    command_id: str | None = None  # RemoteStop to be dispatched: the transaction must not go on
    repeated: bool = False
    expires_at: datetime | None = None  # of the card
    parent_id_tag: str | None = None


@dataclass(frozen=True, slots=True)
class TransactionStopped:
    """Outcome of a StopTransaction; it is always acknowledged."""

    session_id: str | None
    quarantined: bool = False
    repeated: bool = False


class MeterUpdate(Record, frozen=True):
    """One MeterValues message ready for the batch flush: its readings and the session's new meter."""

    station_id: str
    epoch: int
    connector_id: int
    transaction_id: int | None
    session_id: str | None
    received_at: datetime
    readings: tuple[Reading, ...]
    meter: MeterState | None = None
    cost: Decimal | None = None
    auto_stop_at: datetime | None = None
    review: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FlushNumber:
    """Which group commit this is: ``writer`` counts its own, and makes one after the other."""

    writer: str
    number: int


@dataclass(frozen=True, slots=True)
class FlushOutcome:
    """What became of a batch, by positions in it.

    Attributes:
        locked: nothing of these is stored, because somebody has locked their sessions.
        stale: their readings are stored; their session has ended, or its station has connected elsewhere.
    """

    locked: frozenset[int] = frozenset()
    stale: frozenset[int] = frozenset()
