"""Amounts in the audit log tell their magnitude only."""

from decimal import Decimal

import pytest

from evpower.audit.service import mask_amount


@pytest.mark.parametrize(
    ("amount", "masked"),
    [
        (None, None),
        (Decimal("NaN"), None),
        (Decimal("1250.50"), "1***"),
        (Decimal("-40"), "-4*"),
        (Decimal("0.5"), "0"),
        (Decimal("1e300"), "1" + "*" * 12),
        (Decimal("-1e300"), "-1" + "*" * 12),
    ],
)
def test_an_amount_is_masked(amount: Decimal | None, masked: str | None) -> None:
    assert mask_amount(amount) == masked
