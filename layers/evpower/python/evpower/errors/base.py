"""Base of all failures and the form in which one is declared."""

from typing import Any, ClassVar

LANGUAGES = ("ru", "ky", "en")


class EvPowerError(Exception):
    """Base of all domain failures; also the answer for a fault of ours (``internal_error``)."""

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    texts: ClassVar[dict[str, str]] = {
        "ru": "Внутренняя ошибка сервера. Попробуйте ещё раз.",
        "ky": "Сервердин ички катасы. Кайра аракет кылыңыз.",
        "en": "Internal server error. Please try again.",
    }

    def __init__(self, reason: str | None = None, **details: Any) -> None:
        super().__init__(reason or self.code)
        self.reason = reason
        self.details = details

    def message(self, language: str = "ru") -> str:
        """Human sentence; a ``reason`` given at the raise (English, technical) is shown only in ``en``."""
        if language == "en" and self.reason:
            return self.reason
        return self.texts.get(language) or self.texts["ru"]


def error(code: str, http_status: int, ru: str, ky: str, en: str) -> dict[str, Any]:
    """Class attributes of one error code, with its sentence in each language."""
    return {"code": code, "http_status": http_status, "texts": {"ru": ru, "ky": ky, "en": en}}


class Declared(EvPowerError):
    """Takes its class attributes from one line of declaration."""

    def __init_subclass__(cls, spec: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, value in (spec or {}).items():
            setattr(cls, name, value)
