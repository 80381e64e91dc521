"""One station in full, for operators. Power kW, energy kWh; secrets are masked."""

from typing import Annotated, Any, Literal

from pydantic import Field

from functions.api.schemas.admin import AdminStation
from functions.api.schemas.admin_commands import CommandView
from functions.api.schemas.admin_jobs import JobView
from functions.api.schemas.base import Answer, Kwh, Moment, Number, ResponseModel, Som

SeverityWord = Literal["info", "warning", "error"]


class ConnectionView(ResponseModel):
    """The charger's socket. ``epoch`` counts connections of the network; ``security`` is what this one has proven.

    ``online``: heard of within the offline threshold, which a short break does not end.
    """

    connected: bool
    online: bool
    connected_since: Moment | None
    instance: str | None
    epoch: int
    protocol: str | None
    last_seen_at: Moment | None
    registration_status: str
    security_profile: int
    security: int | None
    heartbeat_interval_s: int | None
    meter_interval_s: int | None


class BootView(ResponseModel):
    """What the charger said of itself in its last BootNotification; ``details`` has all members as they came."""

    booted_at: Moment | None
    vendor: str | None
    model: str | None
    serial_number: str | None
    charge_box_serial_number: str | None
    firmware_version: str | None
    iccid: str | None
    imsi: str | None
    meter_type: str | None
    meter_serial_number: str | None
    details: dict[str, Any]


class LiveSession(ResponseModel):
    """The session that holds a connector."""

    id: str
    client_id: str
    state: str
    id_tag: str
    transaction_id: int | None
    energy_kwh: Kwh
    amount_som: Som
    started_at: Moment | None
    last_reading_at: Moment | None


class ConnectorView(ResponseModel):
    """A connector. ``status`` is what drivers see, ``ocpp_status`` the charger's own word."""

    number: int
    type: str | None
    power_kw: Number | None
    status: str
    ocpp_status: str
    error_code: str | None
    info: str | None
    vendor_error_code: str | None
    charger_at: Moment | None
    received_at: Moment | None
    session: LiveSession | None


class ConfigurationView(ResponseModel):
    """A configuration key as last read. ``is_unknown``: asked for, and the charger does not have it."""

    key: str
    value: str | None
    is_readonly: bool
    is_unknown: bool
    read_at: Moment


class ConfigurationData(ResponseModel):
    """``next_cursor``: where the next page begins; null on the last one."""

    keys: list[ConfigurationView]
    read_at: Moment | None
    next_cursor: str | None


class ConfigurationAnswer(Answer):
    """A page of the configuration, by key."""

    data: ConfigurationData


class EventView(ResponseModel):
    """Something that happened at the station. ``charger_at`` is the charger's clock."""

    id: int
    type: str
    severity: SeverityWord
    connector: int | None
    payload: dict[str, Any]
    charger_at: Moment | None
    received_at: Moment


class EventsData(ResponseModel):
    """``next_cursor``: where the next page begins; null on the last one."""

    events: list[EventView]
    next_cursor: str | None


class EventsAnswer(Answer):
    """A page of events, newest first."""

    data: EventsData


class LatestMessage(ResponseModel):
    """A CALL with its answer (``in``: the charger's), or an ``event`` of the connection."""

    at: Moment
    direction: Literal["in", "out", "event"]
    action: str | None
    message_id: str | None
    request: Any
    response: Any
    error: str | None
    latency_ms: float | None
    is_truncated: bool


class StationDetail(ResponseModel):
    """A station with all that an operator looks for first: the newest 20 of each list, and what is open."""

    station: AdminStation
    ocpp_status: str
    error_code: str | None
    connection: ConnectionView
    boot: BootView
    connectors: list[ConnectorView]
    configuration: ConfigurationData
    events: list[EventView]
    commands: list[CommandView]
    jobs: Annotated[list[JobView], Field(description="open ones")]
    messages: Annotated[list[LatestMessage], Field(description="frames and connection events, secrets masked")]


class StationDetailAnswer(Answer):
    """A station in full."""

    data: StationDetail
