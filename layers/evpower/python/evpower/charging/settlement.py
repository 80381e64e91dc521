"""How a session's bill turns into one balance movement. Pure; som.

Every settlement has the same form, also a later, truer one: what is due now against what was taken so far. The first
settles the reserve, later ones book only the difference (design: Money).
"""

from dataclasses import dataclass
from decimal import Decimal

from evpower.money import ZERO
from evpower.pricing import rules
from evpower.pricing.models import Bill, Price


@dataclass(frozen=True, slots=True)
class Settlement:
    """``movement`` is signed som for the balance (refund > 0 > payment); ``written_off`` could not be collected."""

    due: Decimal
    movement: Decimal
    taken: Decimal
    written_off: Decimal


def bill(price: Price, energy_wh: Decimal, minutes: Decimal) -> Bill:
    """The bill. A session that delivered nothing costs nothing, whatever its fees."""
    if energy_wh <= 0:
        return Bill(ZERO, ZERO, ZERO)
    return rules.bill(price, energy_wh / 1000, minutes)


def settle(due: Decimal, taken: Decimal, balance: Decimal) -> Settlement:
    """Collect ``due`` from what was ``taken`` already and, if that is not enough, from the ``balance``.

    The bill never exceeds the reserve plus the remaining balance; what lies beyond is written off.
    """
    if due < 0 or taken < 0 or balance < 0:
        raise ValueError("amounts of a settlement are not negative")
    missing = due - taken
    collected = min(missing, balance)
    return Settlement(due=due, movement=-collected, taken=taken + collected, written_off=missing - collected)
