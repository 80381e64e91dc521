"""Cards and stored cards (mobile-api.md §4.5: B2, B7, B8; §4.6: Y2, Y4, Y8-Y11). No ``repr`` shows card data."""

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from functions.api.schemas.base import (
    AmountIn,
    Answer,
    IdIn,
    Omit,
    RequestModel,
    Som,
    clean_text,
    strict_integer,
)
from functions.api.schemas.patterns import asks_for

Email = Annotated[
    str,
    Field(
        max_length=254,
        pattern=asks_for(r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,189}$", "an e-mail address"),
        examples=["payer@example.com"],
    ),
]
CardToken = Annotated[
    str, Field(min_length=1, max_length=256, pattern=asks_for(r"^[\x21-\x7e]+$", "printable ASCII without blanks"))
]
Days = Annotated[int, strict_integer, Field(ge=1, le=14)]
Description = Annotated[str, Field(max_length=500), AfterValidator(clean_text)]


class CardPaymentBody(RequestModel):
    """B2, B7, Y2, Y8."""

    amount: AmountIn
    card_pan: Annotated[str, Field(pattern=asks_for(r"^[0-9]{12,19}$", "12 to 19 digits"), repr=False)]
    card_name: Annotated[
        str, Field(pattern=asks_for(r"^[A-Z][A-Z .'-]{0,99}$", "the name in capital Latin letters"), repr=False)
    ]
    card_cvv: Annotated[str, Field(pattern=asks_for(r"^[0-9]{3,4}$", "3 or 4 digits"), repr=False)]
    card_year: Annotated[str, Field(pattern=asks_for(r"^[0-9]{2}$", "the last 2 digits of the year"), repr=False)]
    card_month: Annotated[str, Field(pattern=asks_for(r"^(0[1-9]|1[0-2])$", "01 to 12"), repr=False)]
    email: Email
    phone_number: Annotated[
        str | None, Field(pattern=asks_for(r"^\+?[0-9]{10,15}$", "a phone number of 10 to 15 digits"), repr=False)
    ] = None
    description: Description | None = None
    client_id: Annotated[IdIn | None, Field(description="must be the caller; the token decides")] = None


class TokenPaymentBody(RequestModel):
    """B8, Y9."""

    amount: AmountIn
    card_token: Annotated[CardToken, Field(repr=False)]
    email: Email
    description: Description | None = None
    client_id: Annotated[IdIn | None, Field(description="must be the caller; the token decides")] = None


class CreateTokenBody(RequestModel):
    """Y10."""

    days: Days = 14


class TokenBody(RequestModel):
    """Y4: with ``card_token`` and ``amount`` a payment, else a new token."""

    days: Days = 14
    amount: AmountIn | None = None
    card_token: Annotated[CardToken | None, Field(repr=False)] = None
    email: Email | None = None
    description: Description | None = None
    client_id: Annotated[IdIn | None, Field(description="must be the caller; the token decides")] = None

    @model_validator(mode="after")
    def _whole_payment(self) -> "TokenBody":
        if (self.card_token is None) != (self.amount is None):
            raise ValueError("a payment needs card_token and amount")
        return self


class CardPaymentAnswer(Answer):
    """B2, B7, B8, Y2, Y8, Y9. ``acs_url``, ``md``, ``pa_req``, ``term_url``: the 3-D Secure step, if there is one.

    ``transaction_id`` and ``auth_key`` are the payment's id, by which every payment route finds it.
    """

    transaction_id: str
    auth_key: str
    order_id: str
    status: Annotated[str, Field(examples=["pending"], description="pending, approved, canceled or refunded")]
    message: str
    amount: Som
    client_id: str
    current_balance: Som
    acs_url: Omit[str] = None
    md: Omit[str] = None
    pa_req: Omit[str] = None
    term_url: Omit[str] = None
    error: str | None = None


class CardTokenAnswer(Answer):
    """Y10: the page on which the payer stores a card."""

    token_url: str
    token_expires_in_days: int
    message: str
    error: str | None = None


class CardStatusAnswer(Answer):
    """Y11. ``status``: pending, approved, canceled, refunded or unknown."""

    transaction_id: str
    invoice_id: str
    status: str
    client_id: str
    amount: Som
