"""Signs of life of the socket tier, and what can be said of chargers' silence by them (docs/decisions/0018)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from evpower.db import Conn, database_time
from evpower.ids import new_id
from evpower.stations import hearing
from evpower.stations.hearing import Hearing, Look, Run
from evpower.stations.repository import hearing as rows

_KEPT = timedelta(days=1)
CLOCK_STEPPED = "clock_stepped"
GAP = "gap"


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign of life as it was written. ``missed``: why the run before it does not go on; None: it does."""

    run: Run
    look: Look
    missed: str | None


@dataclass(slots=True)
class Listener:
    """The signs of one process. ``monotonic``: seconds, as ``time.monotonic``."""

    instance_id: str
    monotonic: Callable[[], float]
    last: Sign | None = None
    """The last sign that is known to be committed; set by the caller, who commits."""

    async def sign(self, conn: Conn) -> Sign:
        """Write a sign of life: the run goes on, or another one begins."""
        earliest = self.monotonic()
        moment = await database_time(conn)
        look = Look(moment, earliest, self.monotonic())
        missed = self._missed(look)
        if self.last is not None and missed is None:
            run = Run(self.last.run.id, self.instance_id, self.last.run.since, moment)
        else:
            run = Run(new_id(), self.instance_id, moment, moment)
            if missed == CLOCK_STEPPED:
                # What all processes wrote until now was by the clock as it was. Those that live begin anew as well.
                await rows.remove_all(conn)
            await rows.remove(conn, until_before=moment - _KEPT, until_after=moment + hearing.CLOCK_STEP)
        await rows.write(conn, run)
        return Sign(run, look, missed)

    def _missed(self, look: Look) -> str | None:
        if self.last is None:
            return None
        if hearing.stepped(self.last.look, look):
            return CLOCK_STEPPED
        return GAP if look.moment - self.last.look.moment > hearing.LONGEST_GAP else None


async def hearing_at(conn: Conn, now: datetime) -> Hearing:
    """Since when chargers could be heard without a gap, as of ``now``."""
    return Hearing(now, hearing.uninterrupted_since(await rows.read(conn), now))
