"""Answers about commands to chargers. Payloads and answers are shown without secrets."""

from typing import Any

from functions.api.schemas.base import Answer, Moment, ResponseModel


class CommandView(ResponseModel):
    """A command. ``status``: queued, sent, then accepted, rejected, failed, timed_out, expired or cancelled."""

    id: str
    station_id: str
    action: str
    payload: dict[str, Any]
    status: str
    attempt: int
    session_id: str | None
    requested_by: str
    correlation_id: str | None
    created_at: Moment
    expires_at: Moment
    sent_at: Moment | None
    finished_at: Moment | None
    response: dict[str, Any] | None
    error: str | None


class CommandData(ResponseModel):
    """``done``: nothing more will happen. Not ``connected``: it waits for the charger, until it expires."""

    command: CommandView
    done: bool
    connected: bool


class CommandAnswer(Answer):
    """One command."""

    data: CommandData


class CommandsData(ResponseModel):
    """``next_cursor``: where the next page begins; null on the last one."""

    commands: list[CommandView]
    next_cursor: str | None


class CommandsAnswer(Answer):
    """A page of commands, newest first."""

    data: CommandsData
