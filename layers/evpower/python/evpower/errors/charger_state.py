"""What a charger keeps for us: reservations, local list, charging profiles."""

from evpower.errors.base import Declared, error


class StateConflict(
    Declared,
    spec=error(
        "state_conflict",
        409,
        "Сейчас это невозможно.",
        "Азыр бул мүмкүн эмес.",
        "Not possible in the present state.",
    ),
):
    """The thing has ended, is being changed already, or another one stands in its way; ``reason`` says which."""
