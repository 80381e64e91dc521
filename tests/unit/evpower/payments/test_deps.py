"""Which provider a process gets."""

from decimal import Decimal

import pytest

from evpower.config import Settings
from evpower.errors import H2HNotAvailable, TokenNotAvailable
from evpower.payments.deps import payment_provider
from evpower.payments.odengi import OdengiProvider
from evpower.payments.provider import CallbackRejected, CardPayment, RawCallback, TokenPayment, Unreachable
from tests.unit.evpower.payments.test_odengi import REQUEST


def test_odengi_is_the_default() -> None:
    provider = payment_provider(Settings())
    assert isinstance(provider, OdengiProvider)
    assert provider.name == "ODENGI"


async def test_paused_obank_refuses_before_anything_is_sent() -> None:
    provider = payment_provider(Settings(payment_provider="OBANK"))
    assert provider.name == "OBANK"
    assert isinstance(await provider.create_invoice(REQUEST), Unreachable)
    assert isinstance(await provider.payment_status("evp-1"), Unreachable)
    assert isinstance(await provider.cancel_invoice("1"), Unreachable)
    assert isinstance(await provider.refund("1", Decimal(1), full=True), Unreachable)
    card = CardPayment("evp-1", Decimal(1), "", "p@example.com", pan="0", holder="A", cvv="0", year="30", month="1")
    with pytest.raises(H2HNotAvailable):
        await provider.create_card_payment(card)
    with pytest.raises(TokenNotAvailable):
        await provider.create_card_token(1)
    with pytest.raises(TokenNotAvailable):
        await provider.pay_by_token(TokenPayment("evp-1", Decimal(1), "", "p@example.com", token="t"))
    with pytest.raises(CallbackRejected):
        provider.parse_callback(RawCallback(b"{}"), REQUEST.expires_at)
