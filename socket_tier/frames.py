"""WebSocket frames as chargers send them, read without the library's parser where nothing is special. No I/O.

The library (``websockets``) reads a frame through four nested generators, an ``Enum`` and two objects: a sixth of what
a meter reading cost in all. Nearly every frame of a charger is a whole text message that arrives in one piece; that one
is read here. Anything else (fragments, control frames, binary, faults, oversized) goes to the library, always as whole
frames, so that its own parser stands between two frames whenever ours looks again.
"""

import struct

try:
    from websockets.speedups import apply_mask
except ImportError:  # no compiled wheel for this platform
    from websockets.utils import apply_mask

_FIN_TEXT = 0x81
_MASKED_16_BIT = 0x80 | 126
_OPCODES = frozenset((0, 1, 2, 8, 9, 10))


def whole_text(data: bytes) -> bytes | None:
    """The message, if ``data`` is exactly one unfragmented, masked text frame without extensions; else None."""
    size = len(data)
    if size < 6 or data[0] != _FIN_TEXT:
        return None
    second = data[1]
    if second == _MASKED_16_BIT:
        if size < 8 or size - 8 != data[2] << 8 | data[3]:
            return None
        return apply_mask(data[8:], data[4:8])
    if second - 0x80 != size - 6 or second > 0x80 + 125:
        return None  # unmasked, longer than it says, or a 64-bit length
    return apply_mask(data[6:], data[2:6])


def is_whole_text(data: bytes | bytearray) -> bool:
    """Whether ``data``, which is not empty, begins with an unfragmented text frame."""
    return data[0] == _FIN_TEXT


def is_no_frame(data: bytes | bytearray) -> bool:
    """Whether ``data`` begins with what can be no frame of a client: without mask, or of an unknown kind."""
    return len(data) > 1 and (not data[1] & 0x80 or data[0] & 0x0F not in _OPCODES)


def frame_size(data: bytes | bytearray) -> int | None:
    """Bytes of the first frame in ``data``, header and mask included; None while the header is incomplete."""
    if len(data) < 2:
        return None
    length = data[1] & 0x7F
    if length == 126:
        return None if len(data) < 4 else 8 + int.from_bytes(data[2:4], "big")
    if length == 127:
        return None if len(data) < 10 else 14 + int.from_bytes(data[2:10], "big")
    return 6 + length


def text_frame(payload: bytes) -> bytes:
    """A server's text message in one frame (RFC 6455 section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((_FIN_TEXT, size)) + payload
    if size < 65536:
        return struct.pack("!BBH", _FIN_TEXT, 126, size) + payload
    return struct.pack("!BBQ", _FIN_TEXT, 127, size) + payload
