"""Who is signed in (mobile-api.md §4.2 A2, §4.3 A5, §4.4 P1)."""

from typing import Annotated, Literal

from pydantic import Field

from functions.api.schemas.base import Answer, Moment, Omit, ResponseModel, Som


class ClientUser(ResponseModel):
    """A client in the form that the app reads."""

    id: str
    phone: str | None
    name: str | None
    balance: Som
    status: Annotated[str, Field(examples=["active"])]
    created_at: Moment | None


class StaffUser(ResponseModel):
    """A member of staff in the form that the app reads. A member of :class:`ClientUser` would make it one."""

    id: str
    phone: str | None
    email: str | None
    role: Annotated[str, Field(examples=["operator"])]
    is_active: bool
    created_at: Moment | None


class ClientProfile(Answer):
    """A5, P1 of a client: the flat form of older clients, with the app's form in ``user``."""

    user_type: Literal["client"] = "client"
    user: ClientUser
    client_id: str
    email: str | None
    phone: str | None
    name: str | None
    balance: Som
    status: str


class StaffProfile(Answer):
    """A5, P1 of staff. The client's members are there once the person has signed in by a code."""

    user_type: Literal["owner"] = "owner"
    user: StaffUser
    user_id: str
    role: str
    is_active: bool
    admin_id: str | None
    stations_count: int
    locations_count: int
    email: str | None
    phone: str | None
    name: str | None
    client_id: Omit[str] = None
    balance: Omit[Som] = None
    status: Omit[str] = None


class Deleted(Answer):
    """A6, P2."""

    message: str
