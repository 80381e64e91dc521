"""Failures that only senders of commands meet. The contract has no codes of its own for them (mobile-api.md §8)."""

from evpower.errors import InvalidRequest


class CommandUnderWay(
    InvalidRequest,
    spec={
        "http_status": 409,
        "texts": {
            "ru": "Команду уже нельзя отменить.",
            "ky": "Буйрукту эми жокко чыгарууга болбойт.",
            "en": "The command cannot be taken back any more.",
        },
    },
):
    """Only a command that waits for its charger can be taken back."""
