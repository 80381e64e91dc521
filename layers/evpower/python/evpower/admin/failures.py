"""Failures that only staff meet. The contract has no codes of its own for them (mobile-api.md §7.3: 400)."""

from evpower.errors import InvalidRequest


class AlreadyRegistered(
    InvalidRequest,
    spec={
        "texts": {
            "ru": "Этот телефон или адрес почты уже зарегистрирован.",
            "ky": "Бул телефон же почта дареги мурун катталган.",
            "en": "This phone or e-mail address is already registered.",
        }
    },
):
    """The phone is a client's or a staff member's, or the e-mail address a staff member's."""


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
