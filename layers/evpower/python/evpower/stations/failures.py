"""Failures that only operators of stations meet."""

from evpower.errors import StateConflict


class CredentialsConflict(
    StateConflict,
    spec={
        "texts": {
            "ru": "Сейчас это невозможно для учётных данных этой станции.",
            "ky": "Бул станциянын эсептик маалыматтары үчүн азыр мүмкүн эмес.",
            "en": "This is not possible for the credentials of this station now.",
        },
    },
):
    """What is asked for would not work or would lock the station out; the reason says which."""
