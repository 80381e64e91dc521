"""Failures that only staff meet. The contract has no codes of its own for them (mobile-api.md §7.3)."""

from evpower.errors import InvalidRequest
from evpower.errors.base import Declared, error


class AlreadyRegistered(
    Declared,
    spec=error(
        "already_registered",
        409,
        "Этот телефон или адрес почты уже зарегистрирован.",
        "Бул телефон же почта дареги мурун катталган.",
        "This phone or e-mail address is already registered.",
    ),
):
    """The phone is a client's or a staff member's, or the e-mail address a staff member's."""


class OperatorRegistered(AlreadyRegistered, spec={"http_status": 400}):
    """The same for a new operator, where the contract says 400."""


class OwnAccount(
    InvalidRequest,
    spec={
        "texts": {
            "ru": "Собственный аккаунт изменить нельзя.",
            "ky": "Өз аккаунтуңузду өзгөртүүгө болбойт.",
            "en": "You cannot change your own account.",
        }
    },
):
    """Nobody takes away its own rights by mistake, or gives itself more."""
