"""Money of the network: Kyrgyz som as ``Decimal`` with two places inside, integer tyiyn on the provider's wire.

1 som (KGS) = 100 tyiyn. Nothing in the product ever holds money in a binary float; floats appear only in
:func:`number`, at the JSON boundary.
"""

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

CURRENCY = "KGS"
ZERO = Decimal("0.00")
TYIYN = Decimal("0.01")


def som(value: Decimal | int | str) -> Decimal:
    """Round ``value`` (som) half up to whole tyiyn.

    Raises:
        ValueError: the value is not a finite number.
    """
    try:
        amount = value if type(value) is Decimal else Decimal(value)
    except InvalidOperation as error:
        raise ValueError(f"not an amount: {value!r}") from error
    if not amount.is_finite():
        raise ValueError(f"not an amount: {value!r}")
    return amount.quantize(TYIYN, rounding=ROUND_HALF_UP)


def tyiyn(amount: Decimal) -> int:
    """Whole tyiyn of an amount in som.

    Raises:
        ValueError: the amount has fractions of a tyiyn; rounding is the caller's decision, not this function's.
    """
    scaled = amount * 100
    whole = int(scaled)
    if scaled != whole:
        raise ValueError(f"fractions of a tyiyn in {amount}")
    return whole


def from_tyiyn(value: int | str) -> Decimal:
    """Som of an integer number of tyiyn, as the provider sends it (int or decimal digits)."""
    if isinstance(value, str) and not value.strip().lstrip("-").isdigit():
        raise ValueError(f"not a whole number of tyiyn: {value!r}")
    return (Decimal(int(value)) / 100).quantize(TYIYN)


def number(value: Decimal) -> float | int:
    """JSON number of a decimal (pydantic and orjson would otherwise write a string or refuse it)."""
    return int(value) if value == value.to_integral_value() else float(value)
