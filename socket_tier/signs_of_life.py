"""The durable sign of life of this instance, by which sweeps know since when chargers could be heard (decision 0018).

Written every few seconds, in a transaction of its own, and only while the chargers' own signs of life can be stored.
The database's time that each one reads sets the instance's clock.
"""

import asyncio
import time
from collections.abc import Callable

from evpower.clock import DatabaseClock
from evpower.db import Database
from evpower.logging import get_logger
from evpower.stations.hearing import LONGEST_GAP, SIGN_EVERY_S
from evpower.stations.listening import Listener
from socket_tier.background import Work
from socket_tier.unavailable import is_unavailable

log = get_logger(__name__)

DEADLINE_S = LONGEST_GAP.total_seconds() / 2


class SignsOfLife:
    """Writes them until cancelled."""

    def __init__(
        self,
        database: Database,
        instance_id: str,
        clock: DatabaseClock | None,
        can_store: Callable[[], bool] = lambda: True,
    ) -> None:
        """``clock`` is set by each sign. ``can_store``: whether the chargers' signs of life are stored."""
        self._database = database
        self._clock = clock
        self._can_store = can_store
        self._listener = Listener(instance_id, time.monotonic)

    async def run(self, work: Work) -> None:
        """Write a sign every few seconds until cancelled; a failure is another outage, and over with the next sign."""
        while True:
            async with work.step():
                await self.write()
            await asyncio.sleep(SIGN_EVERY_S)

    async def write(self, within_s: float = DEADLINE_S) -> bool:
        """One sign, now. False: it could not be written."""
        if not self._can_store():
            return False
        try:
            async with asyncio.timeout(within_s):
                sign = await self._database.run(self._listener.sign)
        except TimeoutError:
            return False
        except Exception as error:
            if not is_unavailable(error):
                log.exception("sign of life not written")
            return False
        self._listener.last = sign
        if self._clock is not None:
            self._clock.set(sign.look.moment, (sign.look.earliest + sign.look.latest) / 2)
        if sign.missed is not None:
            log.warning("chargers could not be heard for some time", extra={"why": sign.missed})
        return True
