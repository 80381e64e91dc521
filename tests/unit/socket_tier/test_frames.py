"""Frames read here are what the library reads, whatever the frames and however TCP cuts them."""

from itertools import pairwise
from typing import Any, cast
from unittest.mock import Mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.speedups import apply_mask

from socket_tier.frames import frame_size, text_frame, whole_text
from socket_tier.tier_socket import TierSocket

LIMIT = 70_000
MASK = b"\x0f\xa2\x33\x9c"
REQUEST = (
    b"GET /ocpp/s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class FakeTransport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, parts: list[bytes]) -> None:
        self.written += b"".join(parts)

    def __getattr__(self, name: str) -> Any:
        return lambda *_args, **_options: False


async def _nothing(_socket: TierSocket) -> None:
    return None


class Reader:
    """A socket after its upgrade. ``cuts``: frames are cut by us; else the library reads everything."""

    def __init__(self, *, cuts: bool, early: bytes = b"") -> None:
        self.messages: list[bytes] = []
        self.alive = 0
        self.socket = TierSocket(ServerProtocol(max_size=LIMIT), Mock(handler=_nothing), close_timeout=1)
        self.transport = FakeTransport()
        self.socket.connection_made(cast(Any, self.transport))
        self.socket.data_received(REQUEST + early)
        request = self.socket.request
        assert request is not None
        self.socket.protocol.send_response(self.socket.protocol.accept(request))
        self.socket.send_data()
        self.transport.written = b""  # the answer to the upgrade tells the time, to which two readers may not agree
        self.socket.admitted = cast(Any, object())
        if not cuts:
            self.socket._may_cut = False
        self.socket.attach(self.messages.append, self._note_life)

    def _note_life(self) -> None:
        self.alive += 1

    def state(self) -> tuple[Any, ...]:
        protocol = self.socket.protocol
        return self.messages, self.alive, protocol.state, protocol.close_sent, self.transport.written


def masked(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    plain = Frame(opcode, payload, fin).serialize(mask=False)
    header = len(plain) - len(payload)
    return plain[:1] + bytes((plain[1] | 0x80,)) + plain[2:header] + MASK + apply_mask(payload, MASK)


_payloads = st.one_of(
    st.binary(max_size=40), st.sampled_from([0, 125, 126, 127, 300, 65535, 65536, LIMIT, LIMIT + 1]).map(bytes)
)
_frames = st.one_of(
    _payloads.map(lambda payload: masked(Opcode.TEXT, payload)),
    _payloads.map(lambda payload: masked(Opcode.BINARY, payload)),
    st.binary(max_size=100).map(lambda payload: masked(Opcode.PING, payload)),
    st.builds(lambda payload, fin: masked(Opcode.TEXT, payload, fin=fin), _payloads, st.booleans()),
    st.builds(lambda payload, fin: masked(Opcode.CONT, payload, fin=fin), _payloads, st.booleans()),
    st.sampled_from([b"", b"\x03\xe8bye"]).map(lambda payload: masked(Opcode.CLOSE, payload)),
    st.binary(max_size=30),  # no frame at all
    st.just(Frame(Opcode.TEXT, b"unmasked").serialize(mask=False)),
    st.just(b"\xc1" + masked(Opcode.TEXT, b"rsv")[1:]),
)


@given(frames=st.lists(_frames, max_size=8), cuts=st.lists(st.integers(0, 5000), max_size=12))
@example(frames=[masked(Opcode.TEXT, b"a"), masked(Opcode.CLOSE, b""), masked(Opcode.TEXT, b"b")], cuts=[])
@example(frames=[masked(Opcode.TEXT, bytes(LIMIT + 1)), masked(Opcode.TEXT, b"b")], cuts=[3])
@example(frames=[masked(Opcode.TEXT, b"a", fin=False), masked(Opcode.TEXT, b"b")], cuts=[])
async def test_whatever_comes_is_read_as_the_library_reads_it(frames: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frames)
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    ours, library = Reader(cuts=True), Reader(cuts=False)
    for start, end in pairwise(places):
        for reader in (ours, library):
            reader.socket.data_received(stream[start:end])
    assert ours.state() == library.state()
    assert library.socket._cuts is False


async def test_whole_messages_do_not_reach_the_library() -> None:
    reader = Reader(cuts=True)
    reader.socket.data_received(masked(Opcode.TEXT, b"one"))
    reader.socket.data_received(masked(Opcode.TEXT, b"two") + masked(Opcode.TEXT, bytes(300))[:100])
    reader.socket.data_received(masked(Opcode.TEXT, bytes(300))[100:])
    assert [len(message) for message in reader.messages] == [3, 3, 300]
    assert reader.socket._cuts
    assert not reader.socket._partial


@pytest.mark.parametrize(
    "early", [masked(Opcode.TEXT, b"early"), masked(Opcode.TEXT, b"early")[:4], b"\r\n\r\n", b"\x81\x84x"]
)
async def test_who_sends_before_he_is_let_in_is_read_by_the_library(early: bytes) -> None:
    reader = Reader(cuts=True, early=early)
    for byte in masked(Opcode.TEXT, b"late"):
        reader.socket.data_received(bytes((byte,)))
    assert not reader.socket._cuts


async def test_half_a_frame_is_bounded() -> None:
    reader = Reader(cuts=True)
    reader.socket.data_received(masked(Opcode.TEXT, bytes(LIMIT))[:-1])
    assert reader.socket._partial is not None
    assert len(reader.socket._partial) <= LIMIT + 14
    reader.socket.data_received(b"\x00")
    assert len(reader.messages) == 1
    reader.socket.data_received(b"\x81\xff" + (2**40).to_bytes(8, "big"))
    assert reader.socket.protocol.state is State.CLOSING
    assert reader.socket._partial is None


@given(st.binary(max_size=20))
def test_no_bytes_raise(data: bytes) -> None:
    whole_text(data)
    frame_size(data)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 100_000])
def test_a_text_frame_is_what_the_library_would_send(size: int) -> None:
    payload = b"x" * size
    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
