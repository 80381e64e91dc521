"""How many messages beyond the ordinary size an instance receives at the same time.

Nearly every message of a charger has a few hundred bytes; a StopTransaction with all readings of a long charge has a
hundred thousand and more. Each of ten thousand sockets may send one, but not all at once: what they hold together stays
bounded.
"""

from typing import Final

ORDINARY_BYTES: Final = 64 * 1024
MOST_AT_ONCE: Final = 64  # of 1 MiB each
PATIENCE_S: Final = 300.0  # a slow modem sends 1 MiB in it


class LargeMessages:
    """The places of one server."""

    def __init__(self, places: int = MOST_AT_ONCE) -> None:
        self.places = places
        self.taken = 0

    def begin(self) -> bool:
        """Take a place; false when none is free."""
        if self.taken >= self.places:
            return False
        self.taken += 1
        return True

    def end(self) -> None:
        """Give a place back."""
        self.taken -= 1
