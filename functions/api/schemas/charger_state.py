"""Reservations, local lists and charging profiles of a station. Limits in W or A, times in seconds where named."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from functions.api.schemas.base import Answer, IdIn, Moment, Number, ResponseModel, strict_integer
from functions.api.schemas.desk import TagIn
from functions.api.schemas.ocpp_types import ConnectorOrAll, Count, Int, Limit, Part, Purpose, When

# --- Reservations -------------------------------------------------------------------------------------------------


class ReservationBody(Part):
    """Keep a connector (0: any) for a card, or for a client's next start from the app."""

    connector_id: ConnectorOrAll
    expires_at: Annotated[When | None, Field(description="at most 7 days ahead")] = None
    expires_in_s: Annotated[
        int | None, Field(strict=True, ge=60, le=7 * 86400, description="the same, counted from now")
    ] = None
    id_tag: TagIn | None = None
    client_id: IdIn | None = None
    parent_id_tag: Annotated[TagIn | None, Field(description="cards of this group may use it as well")] = None

    @model_validator(mode="after")
    def _for_whom_and_how_long(self) -> "ReservationBody":
        if (self.id_tag is None) is (self.client_id is None):
            raise PydanticCustomError("one_of", "needs either id_tag or client_id, and not both")
        if (self.expires_at is None) is (self.expires_in_s is None):
            raise PydanticCustomError("one_of", "needs either expires_at or expires_in_s, and not both")
        return self

    def end(self, now: datetime) -> datetime:
        """When the reservation ends."""
        return self.expires_at or now + timedelta(seconds=self.expires_in_s or 0)


ReservationWord = Literal["requested", "accepted", "rejected", "used", "cancelled", "expired", "failed"]


class ReservationItem(ResponseModel):
    """A reservation. ``refusal``: the charger's word, or why it ended otherwise than asked for.

    ``is_for_app``: the id tag was made for the client, whose start from the app carries it. ``cancelling``: the charger
    is being asked to let go.
    """

    reservation_id: int
    station_id: str
    connector_id: int
    id_tag: str
    parent_id_tag: str | None
    client_id: str | None
    is_for_app: bool
    state: Annotated[str, Field(examples=["accepted"])]
    refusal: str | None
    cancelling: bool
    expires_at: Moment
    command_id: str | None
    cancel_command_id: str | None
    transaction_id: int | None
    session_id: str | None
    requested_by: str
    created_at: Moment
    updated_at: Moment
    ended_at: Moment | None


class ReservationAnswer(Answer):
    """One reservation."""

    data: ReservationItem


class ReservationsData(ResponseModel):
    """A page of reservations, newest first."""

    reservations: list[ReservationItem]
    total: int
    limit: int
    offset: int


class ReservationsAnswer(Answer):
    """Reservations of a station."""

    data: ReservationsData


# --- Local list ---------------------------------------------------------------------------------------------------

Tags = Annotated[list[TagIn], Field(max_length=1000)]


class LocalListBody(Part):
    """What the list shall hold. ``id_tags`` replaces the chosen cards; without it they stay as they are."""

    enabled: Annotated[bool, Field(strict=True)]
    selection: Annotated[
        Literal["chosen", "all_active"], Field(description="chosen cards, or every card that may charge")
    ] = "chosen"
    id_tags: Tags | None = None


class LocalListEntriesBody(Part):
    """Cards to add to the chosen ones, and cards to take from them."""

    add: Annotated[Tags, Field(default_factory=list)]
    remove: Annotated[Tags, Field(default_factory=list)]


class LocalListSyncBody(Part):
    """``full``: replace the charger's list, whatever it is said to hold."""

    full: Annotated[bool, Field(strict=True)] = False


class LocalListPart(ResponseModel):
    """One message of the last update. ``state``: waiting, sent, accepted, refused; ``answer``: the charger's word."""

    list_version: int
    update_type: Annotated[str, Field(examples=["Full"])]
    entries: int
    state: str
    answer: str | None
    command_id: str | None


class LocalListItem(ResponseModel):
    """The list. ``state``: idle, sending, verifying, synced, failed; ``failure`` says why, or what is not proven.

    ``held_version``: what the charger took last; ``told_version``: what it says itself (0: empty, -1: not supported).
    ``differs``: an update would change something. ``enabled_at_charger``, ``max_length``, ``part_length``: of its
    configuration as last read.
    """

    station_id: str
    enabled: bool
    selection: str
    state: str
    failure: str | None
    version: int
    held_version: int
    told_version: int | None
    told_at: Moment | None
    wanted: int
    held: int
    differs: bool
    enabled_at_charger: bool | None
    max_length: int | None
    part_length: int | None
    command_id: str | None
    synced_at: Moment | None
    updated_at: Moment
    parts: list[LocalListPart]


class LocalListAnswer(Answer):
    """The station's list."""

    data: LocalListItem


class LocalListEntry(ResponseModel):
    """One id tag. ``wanted``: what the list shall say of it; ``held``: what the charger holds; null: nothing."""

    id_tag: str
    chosen: bool
    wanted: dict[str, Any] | None
    held: dict[str, Any] | None


class LocalListEntriesData(ResponseModel):
    """A page of tags, by tag."""

    entries: list[LocalListEntry]
    total: int
    limit: int
    offset: int


class LocalListEntriesAnswer(Answer):
    """Tags of the list."""

    data: LocalListEntriesData


# --- Charging profiles --------------------------------------------------------------------------------------------

UnitIn = Literal["W", "A"]


class PeriodPart(Part):
    """From ``start_s`` after the begin of the schedule on at most ``limit``, in A per phase."""

    start_s: Count
    limit: Annotated[Limit, Field(description="W or A, one decimal")]
    phases: Annotated[int, strict_integer, Field(ge=1, le=3)] | None = None


class SchedulePart(Part):
    """The schedule. Without ``duration_s`` the last period goes on."""

    unit: UnitIn
    periods: Annotated[list[PeriodPart], Field(min_length=1, max_length=200)]
    duration_s: Annotated[int, strict_integer, Field(ge=1, le=10 * 366 * 86400)] | None = None
    starts_at: When | None = None
    min_rate: Limit | None = None


class ProfileBody(Part):
    """A profile. A TxProfile without ``transaction_id`` is for the transaction that runs on its connector."""

    connector_id: ConnectorOrAll
    purpose: Purpose
    kind: Literal["Absolute", "Recurring", "Relative"]
    stack_level: Annotated[int, strict_integer, Field(ge=0, le=1000)]
    recurrency_kind: Literal["Daily", "Weekly"] | None = None
    valid_from: When | None = None
    valid_to: When | None = None
    transaction_id: Int | None = None
    schedule: SchedulePart


class ClearProfilesBody(Part):
    """Which profiles to clear: those that all given criteria name; without any all of the charger's."""

    connector_id: ConnectorOrAll | None = None
    purpose: Purpose | None = None
    stack_level: Annotated[int, strict_integer, Field(ge=0, le=1000)] | None = None


ProfileWord = Literal["requested", "active", "rejected", "failed", "cleared", "ended"]


class PeriodItem(ResponseModel):
    """A period of a schedule."""

    start_s: int
    limit: Number
    phases: int | None


class ScheduleItem(ResponseModel):
    """A schedule."""

    unit: str
    periods: list[PeriodItem]
    duration_s: int | None
    starts_at: Moment | None
    min_rate: Number | None


class ProfileContent(ResponseModel):
    """What a profile says."""

    kind: str
    recurrency_kind: str | None
    valid_from: Moment | None
    valid_to: Moment | None
    schedule: ScheduleItem


class ProfileItem(ResponseModel):
    """A profile. ``profile``: what is in force at the charger; ``wanted``: what it was asked to take and has not.

    ``refusal``: its word to the last question; ``asking``, ``clearing``: a question is on its way.
    """

    profile_id: int
    station_id: str
    connector_id: int
    purpose: str
    stack_level: int
    transaction_id: int | None
    state: Annotated[str, Field(examples=["active"])]
    refusal: str | None
    asking: bool
    clearing: bool
    profile: ProfileContent | None
    wanted: ProfileContent | None
    command_id: str | None
    clear_command_id: str | None
    requested_by: str
    created_at: Moment
    updated_at: Moment
    ended_at: Moment | None


class ProfileAnswer(Answer):
    """One charging profile."""

    data: ProfileItem


class ProfilesData(ResponseModel):
    """A page of profiles, newest first."""

    profiles: list[ProfileItem]
    total: int
    limit: int
    offset: int


class ProfilesAnswer(Answer):
    """Charging profiles of a station."""

    data: ProfilesData


class ClearedData(ResponseModel):
    """``status``: of the command; rejected means that the charger had no such profile.

    ``answer``: the charger's word, null until it comes; ``live_profile_ids``: what is left, or waits for the charger.
    """

    command_id: str
    status: str
    answer: str | None
    live_profile_ids: list[int]


class ClearedAnswer(Answer):
    """What became of clearing."""

    data: ClearedData


class CompositePeriod(ResponseModel):
    """From ``start_s`` on at most ``limit``; null: nothing limits it."""

    start_s: int
    limit: Number | None


class CompositeDifference(ResponseModel):
    """Where the charger's schedule is another than the expected one."""

    start_s: int
    expected: Number | None
    told: Number | None


class CompositeData(ResponseModel):
    """``told``: the charger's schedule, null while there is none; ``expected``: what its profiles add up to.

    ``status``: of the command; ``agrees``: null without the charger's schedule.
    """

    command_id: str
    status: str
    error: str | None
    connector_id: int
    starts_at: Moment
    duration_s: int
    unit: str
    told: list[CompositePeriod] | None
    expected: list[CompositePeriod]
    agrees: bool | None
    differences: list[CompositeDifference]


class CompositeAnswer(Answer):
    """The composite schedule."""

    data: CompositeData
