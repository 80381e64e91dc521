"""Frames that the server builds itself are those of the library."""

import pytest
from websockets.frames import Frame, Opcode

from socket_tier.server import text_frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 100_000])
def test_a_text_frame_is_what_the_library_would_send(size: int) -> None:
    payload = b"x" * size
    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
