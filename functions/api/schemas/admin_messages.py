"""Answers about what was said to and by a charger."""

from functions.api.schemas.admin_station import LatestMessage
from functions.api.schemas.base import Answer, ResponseModel


class MessagesData(ResponseModel):
    """``next_cursor``: where the next page begins; null on the last one."""

    messages: list[LatestMessage]
    next_cursor: str | None


class MessagesAnswer(Answer):
    """A page of the message log."""

    data: MessagesData
