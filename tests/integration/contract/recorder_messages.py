"""The message log of a station: an exchange, frames that belong to none, the end of a connection."""

from evpower.message_log import service as message_log
from evpower.message_log.models import Direction, NewEntry
from tests.integration.contract.recorder import Recorder
from tests.integration.functions.api.conftest import STATION
from tests.integration.functions.api.staff_world import FIRST_OPERATOR


async def record_messages(on: Recorder) -> None:
    """OM1."""
    at = on.api.deps.clock.now().timestamp()
    entries = [
        NewEntry(STATION, at, Direction.IN, "Heartbeat", "h1", b'[2,"h1","Heartbeat",{}]', b'[3,"h1",{}]', None, 0.002),
        NewEntry(
            STATION, at, Direction.IN, None, "-1", b"no json", b'[4,"-1","FormationViolation","",{}]', "Formation"
        ),
        NewEntry(STATION, at, Direction.OUT, None, "late", None, b'[3,"late",{}]', "UnexpectedAnswer"),
        NewEntry(STATION, at, Direction.EVENT, "ConnectionClosed", None, b'{"code":1006}', error="1006"),
    ]
    async with on.api.db.transaction() as conn:
        await message_log.store(conn, entries)
    for query in ("?limit=1", "?order=oldest&only_errors=true", "?direction=in&action=Heartbeat&message_id=h1", ""):
        await on.call("OM1", client=FIRST_OPERATOR, station_id=STATION, query=query)
