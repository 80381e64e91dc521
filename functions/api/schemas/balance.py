"""Balance and top-ups (mobile-api.md §4.5: B1-B5; §4.9: H2)."""

from typing import Annotated

from pydantic import Field

from functions.api.schemas.base import AmountIn, Answer, IdIn, Moment, Omit, RequestModel, ResponseModel, Som


class TopUpBody(RequestModel):
    """B1."""

    amount: AmountIn
    description: Annotated[str | None, Field(max_length=500)] = None
    client_id: Annotated[IdIn | None, Field(description="must be the caller; the token decides")] = None


class TopUpAnswer(Answer):
    """B1. The picture is ``qr_code_url``; ``qr_code`` is the payload for those who draw it themselves."""

    invoice_id: Omit[str] = None
    order_id: str
    qr_code: Omit[str] = None
    qr_code_url: Omit[str] = None
    app_link: Omit[str] = None
    amount: Som
    client_id: str
    current_balance: Som
    qr_expires_at: Omit[Moment] = None
    invoice_expires_at: Omit[Moment] = None
    qr_lifetime_seconds: int
    invoice_lifetime_seconds: int
    error: str | None = None


class BalanceAnswer(Answer):
    """B3, B5."""

    client_id: str
    balance: Som
    current_balance: Som
    currency: str
    last_topup_at: Moment | None
    total_spent: Som | None


class MoneyHistoryItem(ResponseModel):
    """B4, H2: one movement of money, or a top-up that brought none."""

    id: str
    transaction_type: str
    amount: Som
    requested_amount: Som
    balance_before: Som | None
    balance_after: Som | None
    created_at: Moment | None
    completed_at: Moment | None
    status: str | None
    payment_method: str | None
    invoice_id: str | None


class MoneyHistory(Answer):
    """B4: a page, newest first."""

    data: list[MoneyHistoryItem]
    total: int
    limit: int
    offset: int
