"""Text from outside in a form that a database and a log can hold. Pure."""

from urllib.parse import quote


def printable(text: str, limit: int) -> str:
    """``text`` with everything that cannot be printed percent-encoded, as in a URL; at most ``limit`` characters.

    Use case: a path with a NUL, a line break or half a surrogate pair. PostgreSQL stores neither the first nor the
    last, and a line break would begin a line of its own wherever the text is shown.
    """
    return "".join(letter if letter.isprintable() else _encoded(letter) for letter in text[:limit])[:limit]


def storable(text: str, limit: int) -> str:
    """As :func:`printable` for text of several lines: only what PostgreSQL cannot store is encoded."""
    return "".join(_encoded(letter) if _is_refused(letter) else letter for letter in text[:limit])[:limit]


def _is_refused(letter: str) -> bool:
    """By PostgreSQL: NUL and the halves of surrogate pairs."""
    return letter == "\x00" or "\ud800" <= letter <= "\udfff"


def _encoded(letter: str) -> str:
    return quote(letter.encode("utf-8", "surrogatepass"), safe="")
