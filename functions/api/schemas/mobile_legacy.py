"""Where the legacy routes differ from their v1 counterparts (mobile-api.md §4.10)."""

from typing import Annotated

from pydantic import Field

from functions.api.schemas.balance import TopUpBody
from functions.api.schemas.base import IdIn, Omit, ResponseModel, Som
from functions.api.schemas.cards import CardPaymentAnswer, CardPaymentBody, CardStatusAnswer, TokenPaymentBody
from functions.api.schemas.charging import StartBody
from functions.api.schemas.payment import PaymentCanceled, PaymentChecked

OwnId = Annotated[IdIn, Field(description="must be the caller; the token decides")]


class LegacyStartBody(StartBody):
    """G1."""

    client_id: OwnId


class LegacyTopUpBody(TopUpBody):
    """G9."""

    client_id: OwnId


class LegacyCardPaymentBody(CardPaymentBody):
    """G10, G11, G14."""

    client_id: OwnId


class LegacyTokenPaymentBody(TokenPaymentBody):
    """G12."""

    client_id: OwnId


class LegacyPaymentChecked(PaymentChecked):
    """G6. The check is made before the answer, so nothing is left to wait for."""

    check_type: str = "immediate"
    estimated_completion_seconds: int = 0


class LegacyPaymentCanceled(PaymentCanceled):
    """G17."""

    client_id: str
    amount: Som
    previous_status: str
    new_status: str
    provider: str


class CardStep(ResponseModel):
    """What the payer has to do, and how much it is about."""

    amount: Som
    acs_url: Omit[str] = None
    md: Omit[str] = None
    pa_req: Omit[str] = None
    term_url: Omit[str] = None


class LegacyCardPayment(CardPaymentAnswer):
    """G14: ``final`` is true when nothing more can come of the payment."""

    payment_id: str
    final: bool
    detail: CardStep


class LegacyCardStatus(CardStatusAnswer):
    """G16."""

    payment_id: str
    final: bool
    detail: CardStep
