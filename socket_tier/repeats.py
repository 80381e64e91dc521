"""Answers kept for a charger that did not see them and sends the same message id again (ocpp.md §2)."""

from collections import OrderedDict

from socket_tier import rpc

REMEMBERED_ANSWERS = 8
REMEMBERED_BYTES = 4096


class Repeats:
    """The last few answers of one connection by message id. Memory is bounded, whatever the charger sends."""

    __slots__ = ("_answers",)

    def __init__(self) -> None:
        self._answers: OrderedDict[rpc.MessageId, tuple[bytes | int, bytes]] = OrderedDict()

    def __contains__(self, message_id: rpc.MessageId) -> bool:
        return message_id in self._answers

    def __len__(self) -> int:
        return len(self._answers)

    def remember(self, message_id: rpc.MessageId, data: bytes, answer: bytes) -> None:
        """Keep the answer to the message ``data``."""
        self._answers[message_id] = (data if len(data) <= REMEMBERED_BYTES else hash(data), answer)
        if len(self._answers) > REMEMBERED_ANSWERS:
            self._answers.popitem(last=False)

    def answer_to(self, message_id: rpc.MessageId, data: bytes) -> bytes | None:
        """The answer given before to the same message; None for a new one, also one under an id used before."""
        found = self._answers.get(message_id)
        return found[1] if found is not None and _same(found[0], data) else None


def _same(remembered: bytes | int, data: bytes) -> bool:
    """Same content: byte for byte in general, at least as JSON where the charger formats it anew."""
    if isinstance(remembered, int):
        return remembered == hash(data)
    if remembered == data:
        return True
    try:
        return rpc.parse(remembered) == rpc.parse(data)
    except RecursionError:  # nested as deep as the parser allows, which comparing does not
        return False
