"""JSON with something around it, as firmware sends it. Pure."""

import orjson

_BLANKS = b"\0 \t\r\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def within(data: bytes) -> bytes | None:
    """The JSON within ``data``, in UTF-8; None where there is none.

    Use case: a string with the closing NUL of C, a byte order mark, or a name in the letters of the charger's country.
    """
    found = data.strip(_BLANKS).removeprefix(_BYTE_ORDER_MARK).strip(_BLANKS)
    for text in (found, found.decode("latin-1").encode()):
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError:
            continue
        return text
    return None
