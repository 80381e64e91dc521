"""Failures that only operators of stations meet. The contract has no codes of its own for them (mobile-api.md §8)."""

from evpower.errors import InvalidRequest


class CredentialsConflict(
    InvalidRequest,
    spec={
        "http_status": 409,
        "texts": {
            "ru": "Сейчас это невозможно для учётных данных этой станции.",
            "ky": "Бул станциянын эсептик маалыматтары үчүн азыр мүмкүн эмес.",
            "en": "This is not possible for the credentials of this station now.",
        },
    },
):
    """What is asked for would not work or would lock the station out; the reason says which."""
