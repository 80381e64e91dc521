"""Login (mobile-api.md §4.2, §4.3: A1-A4, A7, A8, A13)."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from functions.api.schemas.base import Answer, Omit, RequestModel, clean_text
from functions.api.schemas.patterns import asks_for
from functions.api.schemas.profile import ClientUser, StaffUser

PhoneIn = Annotated[
    str,
    Field(min_length=4, max_length=32, description="E.164; spaces and dashes are dropped", examples=["+996700000001"]),
    AfterValidator(clean_text),
]
TokenIn = Annotated[str, Field(max_length=4096)]


class SendBody(RequestModel):
    """A1, A7."""

    phone: PhoneIn


class VerifyBody(RequestModel):
    """A2, A8."""

    phone: PhoneIn
    code: Annotated[str, Field(pattern=asks_for(r"^[0-9]{6}$", "6 digits"), examples=["123456"])]


class RefreshBody(RequestModel):
    """A3, A4. Absent (a cookie client of the earlier system) means: no token."""

    refresh_token: TokenIn | None = None


class CodeSent(Answer):
    """A1, A7."""

    message: str
    phone: str
    expires_in_seconds: int
    resend_available_in_seconds: int


class SignedIn(Answer):
    """A2 and A8 in one; they differ in the word for staff: ``admin`` and ``owner``."""

    message: str
    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the scheme's name
    expires_in: Annotated[int, Field(description="seconds")]
    user: ClientUser | StaffUser
    user_type: Literal["client", "admin", "owner"]
    is_new_user: bool
    user_id: str
    role: Omit[str] = None


class StaffSignedIn(SignedIn):
    """The same for staff, with ``admin_id``, which is null for those who have no admin above them."""

    role: str
    admin_id: str | None


class Refreshed(Answer):
    """A3. The refresh token stays as it is."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the scheme's name
    expires_in: Annotated[int, Field(description="seconds")]


class SignedOut(Answer):
    """A4, A13."""

    message: str
