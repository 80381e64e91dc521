"""Failures that only staff meet. The contract has no codes of its own for them (mobile-api.md §8)."""

from evpower.errors import InvalidRequest


class TooMany(
    InvalidRequest,
    spec={
        "http_status": 409,
        "texts": {
            "ru": "Слишком много: завершите или удалите начатое.",
            "ky": "Өтө көп: башталганды бүтүрүңүз же өчүрүңүз.",
            "en": "Too many: end or remove some first.",
        },
    },
):
    """A bound on open jobs of a station, or on firmware files."""


class FirmwareNotReady(
    InvalidRequest,
    spec={
        "http_status": 409,
        "texts": {
            "ru": "Файл прошивки недоступен для этого действия.",
            "ky": "Прошивка файлы бул аракет үчүн жеткиликсиз.",
            "en": "The firmware file is not in a state for this.",
        },
    },
):
    """Not uploaded, not what was announced, retired, or a charger may still download it."""
