"""RFID cards, messages put aside, sessions for review: what staff work through. Energy and registers Wh where named."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from functions.api.schemas.admin import AdminSession, Line
from functions.api.schemas.base import (
    AmountIn,
    Answer,
    IdIn,
    Kwh,
    Moment,
    Number,
    ResponseModel,
    Som,
    StaffRequest,
    strict_integer,
)
from functions.api.schemas.patterns import asks_for

_YEARS = range(2000, 2101)


def _parsed_moment(value: object) -> object:
    if not isinstance(value, str) or len(value) > 40:
        raise PydanticCustomError("datetime_type", "must be a date-time text")
    try:
        found = datetime.fromisoformat(value)
    except ValueError as error:
        raise PydanticCustomError("datetime_parsing", "must be a date-time") from error
    if found.tzinfo is None or found.year not in _YEARS:
        raise PydanticCustomError("datetime_parsing", "must be a date-time of this century with its offset")
    return found


MomentIn = Annotated[datetime, BeforeValidator(_parsed_moment)]
TagIn = Annotated[
    str,
    Field(
        min_length=1,
        max_length=20,
        pattern=asks_for(r"^[!-~]+$", "printable ASCII without blanks"),
        description="OCPP 1.6 CiString20, printable ASCII",
    ),
]
NameIn = Annotated[Line, Field(min_length=1, max_length=100)]
NoteIn = Annotated[Line, Field(min_length=3, max_length=500)]
CardWord = Literal["active", "blocked"]


# --- RFID cards ---------------------------------------------------------------------------------------------------


class CardBody(StaffRequest):
    """A card for a client. Cards with the same ``parent_id_tag`` may stop each other's charges."""

    id_tag: TagIn
    client_id: IdIn
    name: NameIn | None = None
    expires_at: MomentIn | None = None
    parent_id_tag: TagIn | None = None


class CardChangeBody(StaffRequest):
    """What is to be changed; null empties ``name``, ``expires_at`` and ``parent_id_tag``."""

    status: CardWord | None = None
    client_id: IdIn | None = None
    name: NameIn | None = None
    expires_at: MomentIn | None = None
    parent_id_tag: TagIn | None = None

    def changes(self) -> dict[str, Any]:
        """The members that were sent."""
        sent = {name: getattr(self, name) for name in self.model_fields_set}
        return {name: value for name, value in sent.items() if value is not None or name not in ("status", "client_id")}


class CardItem(ResponseModel):
    """An RFID card. Its tag is compared without regard to letter case."""

    id: int
    id_tag: str
    client_id: str | None
    client_name: str | None
    client_phone: str | None
    status: str
    expires_at: Moment | None
    parent_id_tag: str | None
    name: str | None
    last_used_at: Moment | None
    created_at: Moment
    updated_at: Moment


class CardsData(ResponseModel):
    """A page of cards."""

    id_tags: list[CardItem]
    total: int
    limit: int
    offset: int


class CardsAnswer(Answer):
    """A page of cards."""

    data: CardsData


class CardAnswer(Answer):
    """One card."""

    data: CardItem


class CardRemovedData(ResponseModel):
    """``deleted`` false: the card has started charges, so it was blocked instead."""

    id: int
    deleted: bool
    status: str


class CardRemovedAnswer(Answer):
    """What became of the card."""

    data: CardRemovedData


# --- Messages put aside -------------------------------------------------------------------------------------------


class QuarantinedItem(ResponseModel):
    """A message of a charger that no transaction explains. ``resolved_as``: dismissed, applied, automatic.

    With ``resolved_as`` and without ``resolved_at``: it came again after it was decided on.
    """

    id: int
    station_id: str
    action: str
    reason: str
    repeat_count: int
    received_at: Moment
    last_received_at: Moment
    resolved_at: Moment | None
    resolved_by: str | None
    resolved_as: str | None
    resolution: str | None
    resolved_transaction_id: int | None


class QuarantinedData(ResponseModel):
    """A page of messages."""

    messages: list[QuarantinedItem]
    total: int
    limit: int
    offset: int


class QuarantinedListAnswer(Answer):
    """A page of messages."""

    data: QuarantinedData


class CandidateItem(ResponseModel):
    """A transaction that the message may be about. Registers in Wh; ``started_at`` by the charger's clock."""

    transaction_id: int
    session_id: str | None
    connector_id: int
    id_tag: str
    status: str
    meter_start: Number
    meter_stop: Number | None
    started_at: Moment
    received_at: Moment


class QuarantinedDetail(QuarantinedItem):
    """A message with its content as it came, and the newest transactions of its station."""

    payload: dict[str, Any]
    candidates: list[CandidateItem]


class QuarantinedAnswer(Answer):
    """One message in full."""

    data: QuarantinedDetail


class NoteBody(StaffRequest):
    """Why."""

    note: NoteIn


class ApplyBody(StaffRequest):
    """Which transaction the StopTransaction ends: by its id or by its session. ``meter_stop`` in Wh, if it has none."""

    transaction_id: Annotated[int, strict_integer, Field(ge=1, lt=2**31)] | None = None
    session_id: IdIn | None = None
    meter_stop: Annotated[int, strict_integer, Field(ge=0, le=10**12)] | None = None
    note: NoteIn

    @model_validator(mode="after")
    def _names_one(self) -> "ApplyBody":
        if (self.transaction_id is None) == (self.session_id is None):
            raise PydanticCustomError("one_of", "needs transaction_id or session_id, and not both")
        return self


class ResolvedAnswer(Answer):
    """The message after the decision."""

    data: QuarantinedItem


class AppliedData(ResponseModel):
    """``settlement_revision``, ``final_amount_som``: the session's bill now. ``repeated``: nothing was changed."""

    message: QuarantinedItem
    transaction_id: int
    session_id: str | None
    settlement_revision: int | None
    final_amount_som: Som | None
    repeated: bool


class AppliedAnswer(Answer):
    """What the message did."""

    data: AppliedData


# --- Sessions for review ------------------------------------------------------------------------------------------


class ReadingsItem(ResponseModel):
    """The stored readings: how many, how many of them doubtful and why, and between which registers (Wh)."""

    count: int
    flagged: int
    first_at: Moment | None
    last_at: Moment | None
    lowest_wh: Number | None
    highest_wh: Number | None
    flags: list[str]


class MeterItem(ResponseModel):
    """The session's meter, Wh. ``candidate``: a register that was not believed."""

    start: Number | None
    current: Number | None
    candidate: Number | None
    energy_wh: Number
    readings: ReadingsItem


class MoneyItem(ResponseModel):
    """Som. ``taken``: what left the balance for the session; ``written_off``: what could not be collected."""

    reserved: Som
    taken: Som
    written_off: Som


class TransactionItem(ResponseModel):
    """What the charger said of the transaction. Registers in Wh.

    ``status``: active, stopped (by its StopTransaction) or ended_without_stop, when its session was settled without one
    (``ended_by``: why). ``guess_state`` (waiting, used, refuted, superseded, withdrawn): what became of a
    StopTransaction that named only its card, with the register ``guessed_meter_stop``.
    """

    transaction_id: int
    connector_id: int
    id_tag: str
    id_tag_status: str
    status: str
    meter_start: Number
    meter_stop: Number | None
    started_at: Moment
    received_at: Moment
    stopped_at: Moment | None
    stop_received_at: Moment | None
    stop_reason: str | None
    ended_by: str | None
    guess_state: str | None
    guessed_meter_stop: Number | None
    review_reason: str | None


class SettlementItem(ResponseModel):
    """One settlement: the first settles, later ones book the difference."""

    revision: int
    source: str
    energy_wh: Number
    minutes: Number
    due_amount: Som
    taken_before: Som
    taken_after: Som
    written_off: Som
    created_at: Moment


class LedgerItem(ResponseModel):
    """A movement of the client's balance for this session, signed som."""

    id: int
    transaction_type: str
    amount: Som
    balance_before: Som
    balance_after: Som
    description: str | None
    actor: str | None
    created_at: Moment


class ActItem(ResponseModel):
    """What a member of staff did about the session: adjust, close, apply_stop."""

    id: int
    action: str
    actor: str
    note: str
    amount: Som | None
    ledger_id: int | None
    quarantined_message_id: int | None
    created_at: Moment


class ReviewData(ResponseModel):
    """All that explains the bill of a session."""

    session: AdminSession
    needs_review: bool
    reasons: list[str]
    start_source: str
    id_tag: str
    stop_reason: str | None
    stop_initiator: str | None
    energy_kwh: Kwh
    meter: MeterItem
    money: MoneyItem
    transactions: list[TransactionItem]
    settlements: list[SettlementItem]
    ledger: list[LedgerItem]
    acts: list[ActItem]


class ReviewAnswer(Answer):
    """All that explains the bill of a session."""

    data: ReviewData


class AdjustBody(StaffRequest):
    """Signed som for the client's balance, and why."""

    amount: AmountIn
    reason: NoteIn


class AdjustedData(ResponseModel):
    """The balance before and after, and the trace that was left."""

    session_id: str
    client_id: str
    old_balance: Som
    new_balance: Som
    adjustment: Som
    act: ActItem


class AdjustedAnswer(Answer):
    """What was booked."""

    data: AdjustedData


class ClosedData(ResponseModel):
    """``closed`` false: it was not on the list."""

    session_id: str
    needs_review: bool
    closed: bool


class ClosedAnswer(Answer):
    """The session is off the list."""

    data: ClosedData
