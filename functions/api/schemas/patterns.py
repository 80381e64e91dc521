"""Patterns of texts with what they ask for in words: whoever sends another text reads the words, not the pattern."""

_WORDS: dict[str, str] = {}


def asks_for(pattern: str, words: str) -> str:
    """The pattern itself, for ``Field``. ``words`` follow "must be"."""
    _WORDS[pattern] = words
    return pattern


def words_of(pattern: str) -> str:
    """What a pattern asks for; for one without words, the pattern."""
    return _WORDS.get(pattern) or f"of the form {pattern}"
