"""Staff accounts: D12-D21 (mobile-api.md §7.3)."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from functions.api.schemas.admin import Line
from functions.api.schemas.base import Answer, IdIn, Moment, RequestModel, ResponseModel
from functions.api.schemas.patterns import asks_for

RoleIn = Literal["operator", "admin", "superadmin"]
NameIn = Annotated[Line, Field(max_length=200)]


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


EmailIn = Annotated[
    Line,
    BeforeValidator(_lower),
    Field(
        max_length=254,
        pattern=asks_for(r"^[^@\s]+@[^@\s]+\.[^@\s]+$", "an e-mail address"),
        examples=["admin@example.com"],
    ),
]


class Operator(ResponseModel):
    """An operator as its admin sees it."""

    id: str
    phone: str
    name: str | None
    is_active: bool


class OperatorsAnswer(Answer):
    """D12."""

    operators: list[Operator]


class OperatorAnswer(Operator):
    """D13: the operator, not wrapped."""

    success: bool = True


class OperatorBody(RequestModel):
    """D13. ``admin_id``: whom it works for; only a superadmin may name somebody else."""

    phone: Annotated[Line, Field(min_length=9, max_length=20)]
    name: NameIn | None = None
    admin_id: IdIn | None = None


class StaffMessage(Answer):
    """D14, D15, D20, D21."""

    message: str


class User(ResponseModel):
    """A staff account. ``email`` is empty for those who sign in by phone."""

    id: str
    email: str
    phone: str | None
    role: str
    is_active: bool
    name: str | None
    admin_id: str | None
    created_at: Moment | None
    stations_count: int
    locations_count: int


class UsersAnswer(Answer):
    """D16."""

    users: list[User]
    total: int
    page: int
    per_page: int


class UserAnswer(Answer):
    """D17-D19."""

    user: User


class UserBody(RequestModel):
    """D18. With a ``phone`` the person signs in by a code; ``admin_id`` is for operators."""

    email: EmailIn
    password: Annotated[str, Field(min_length=8, max_length=200)]
    role: RoleIn = "operator"
    name: NameIn | None = None
    phone: Annotated[Line, Field(min_length=9, max_length=20)] | None = None
    admin_id: IdIn | None = None


class UserChangeBody(RequestModel):
    """D19: all optional."""

    role: RoleIn | None = None
    is_active: Annotated[bool | None, Field(strict=True)] = None
    name: NameIn | None = None
    admin_id: IdIn | None = None
