"""Profile (mobile-api.md §4.3 A5, §4.4 P1)."""

from functions.api.schemas.base import Answer, Moment, ResponseModel, Som


class ClientUser(ResponseModel):
    """The form that the app reads."""

    id: str
    phone: str | None
    name: str | None
    balance: Som
    status: str
    created_at: Moment | None


class ProfileAnswer(Answer):
    """P1: the flat form of older clients, with the app's form in ``user``."""

    user_type: str
    user: ClientUser
    client_id: str
    email: str | None
    phone: str | None
    name: str | None
    balance: Som
    status: str
