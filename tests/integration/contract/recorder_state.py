"""Flows of what a charger keeps: reservations, its local list, charging profiles; the charger is played."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from evpower.clock import iso_z
from evpower.commands import service as commands
from evpower.commands.models import Command, CommandStatus
from evpower.reservations import service as reservations
from evpower.reservations.models import Begun
from evpower.stations import service as stations
from socket_tier.dialect import Outcome
from socket_tier.ocpp16.commands import COMMANDS
from tests.integration.contract.examples import FAR_AHEAD, LONG_AGO
from tests.integration.contract.recorder import Recorder
from tests.integration.functions.api.conftest import CLIENT, STATION, Api, CollectingQueue
from tests.integration.functions.api.staff_world import FIRST, FIRST_OPERATOR

CONFIGURATION = {
    "LocalAuthListEnabled": "true",
    "LocalAuthListMaxLength": "500",
    "SendLocalListMaxLength": "100",
    "ChargeProfileMaxStackLevel": "8",
    "MaxChargingProfilesInstalled": "20",
    "ChargingScheduleMaxPeriods": "24",
    "ChargingScheduleAllowedChargingRateUnit": "Current,Power",
}
WAIT = "?wait=1"
Answer = dict[str, Any]


async def _end(api: Api, command_id: str, answer: Answer) -> None:
    """The charger's answer, as the socket tier records it."""
    now = api.deps.clock.now()
    async with api.db.transaction() as conn:
        others = await commands.earlier(conn, command_id, api.epoch, now)  # their charger is silent
        command = await commands.claim(conn, command_id, api.epoch, "test-instance", now, passed=others)
        assert command is not None
        spec = COMMANDS[command.action]
        accepted = spec.outcome(answer) is Outcome.ACCEPTED
        outcome = CommandStatus.ACCEPTED if accepted else CommandStatus.REJECTED
        assert spec.on_outcome is not None or command.action == "GetCompositeSchedule"
        if spec.on_outcome is not None:
            await spec.on_outcome(conn, replace(command, status=outcome, finished_at=now), outcome, answer)
        assert await commands.finish(conn, command, outcome, now, response=answer)


@dataclass
class Charger(CollectingQueue):
    """Answers each command at once with ``answer``."""

    api: Api | None = None
    answer: Answer | None = None

    async def send(self, command: Command) -> None:
        assert self.api is not None
        assert self.answer is not None
        await _end(self.api, command.id, self.answer)


@contextmanager
def answering(on: Recorder, **answer: Any) -> Iterator[None]:
    """The charger is there, and says this."""
    kept = on.api.deps.commands
    on.api.deps.commands = Charger(api=on.api, answer=answer)
    try:
        yield
    finally:
        on.api.deps.commands = kept


async def record_state(on: Recorder) -> None:
    """RV1-RV4, LL1-LL6, SC1-SC8."""
    keys = [{"key": key, "value": value, "readonly": True} for key, value in CONFIGURATION.items()]
    await on.api.connect()
    async with on.api.db.transaction() as conn:
        await stations.store_configuration(conn, STATION, keys, [], on.api.deps.clock.now())
    await _reservations(on)
    await _lists(on)
    await _profiles(on)


async def _reservations(on: Recorder) -> None:
    def body(connector: int, **whom: str) -> Answer:
        return {"connector_id": connector, "expires_in_s": 7200, "parent_id_tag": "FLEET", **whom}

    async def make(**whom: str) -> int:
        made = await on.call("RV1", body(2, **whom), client=FIRST_OPERATOR, station_id=STATION, query=WAIT)
        number: int = made["data"]["reservation_id"]
        return number

    await on.api.sql("INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', %s)", CLIENT)
    with answering(on, status="Occupied"):
        refused = await make(id_tag="CARD-1")
    with answering(on, status="Accepted"):
        used = await make(client_id=CLIENT)
    (session,) = await on.api.sql("SELECT id FROM charging_sessions ORDER BY created_at LIMIT 1")
    begun = Begun(STATION, 2, "any", 77, session["id"], used)
    async with on.api.db.transaction() as conn:
        await reservations.transaction_began(conn, begun, on.api.deps.clock.now())
    with answering(on, status="Accepted"):
        kept = await make(client_id=CLIENT)
    await on.call("RV4", client=FIRST_OPERATOR, station_id=STATION, reservation_id=str(kept))
    for number in (refused, used, kept):
        await on.call("RV3", client=FIRST_OPERATOR, station_id=STATION, reservation_id=str(number))
    with answering(on, status="Accepted"):
        other = await make(client_id=CLIENT)
    with answering(on, status="Rejected"):
        await on.call("RV4", client=FIRST_OPERATOR, station_id=STATION, reservation_id=str(other), query=WAIT)
    for query in ("?limit=1", ""):
        await on.call("RV2", client=FIRST_OPERATOR, station_id=STATION, query=query)


async def _lists(on: Recorder) -> None:
    for tag in ("LIST-1", "LIST-2"):
        await on.api.sql("INSERT INTO id_tags (id_tag, client_id) VALUES (%s, %s)", tag, CLIENT)
    staff: Answer = {"client": FIRST, "station_id": STATION}

    async def look() -> None:
        await on.call("LL2", {"enabled": True, "selection": "chosen"}, **staff)
        await on.call("LL4", {"add": [], "remove": ["LIST-9"]}, **staff)
        await on.call("LL6", **staff)
        await on.call("LL1", **staff)

    await on.call("LL1", **staff)
    await on.call("LL2", {"enabled": True, "selection": "chosen", "id_tags": ["LIST-1"]}, **staff)
    sent = (await on.call("LL5", {"full": True}, **staff))["data"]
    await look()
    await _end(on.api, sent["command_id"], {"status": "Accepted"})
    asked = (await on.call("LL1", **staff))["data"]
    await _end(on.api, asked["command_id"], {"listVersion": sent["version"]})
    await on.call("LL4", {"add": ["LIST-2"], "remove": []}, **staff)
    with answering(on, status="NotSupported"):
        await on.call("LL5", {"full": False}, **staff, query=WAIT)
    await look()
    for query in ("?limit=1", ""):
        await on.call("LL3", **staff, query=query)


async def _profiles(on: Recorder) -> None:
    now = on.api.deps.clock.now()
    schedule = {
        "unit": "A",
        "periods": [{"start_s": 0, "limit": 16, "phases": 3}, {"start_s": 3600, "limit": 6.5, "phases": 3}],
        "duration_s": 7200,
        "starts_at": LONG_AGO,
        "min_rate": 6,
    }
    body: Answer = {
        "connector_id": 1,
        "purpose": "TxProfile",
        "kind": "Recurring",
        "recurrency_kind": "Daily",
        "stack_level": 1,
        "valid_from": LONG_AGO,
        "valid_to": FAR_AHEAD,
        "schedule": schedule,
    }
    staff: Answer = {"client": FIRST_OPERATOR, "station_id": STATION}
    with answering(on, status="Rejected"):
        await on.call("SC1", {**body, "stack_level": 2}, **staff, query=WAIT)
    with answering(on, status="Accepted"):
        number = str((await on.call("SC1", body, **staff, query=WAIT))["data"]["profile_id"])
    one: Answer = {**staff, "profile_id": number}
    await _composite(on, now, staff)
    with answering(on, status="NotSupported"):
        await on.call("SC5", body, **one, query=WAIT)
        await on.call("SC7", **one, query=WAIT)
        await on.call("SC4", **one)
    await on.call("SC6", **one)
    await on.call("SC5", body, **one)
    await _finish_all(on, "Accepted")
    with answering(on, status="Accepted"):
        number = str((await on.call("SC1", {**body, "stack_level": 3}, **staff, query=WAIT))["data"]["profile_id"])
    one = {**staff, "profile_id": number}
    await on.call("SC6", **one)
    await on.call("SC7", **one)
    await on.call("SC4", **one)
    waiting = (await on.call("SC1", {**body, "stack_level": 4}, **staff))["data"]
    await on.call("SC6", **staff, profile_id=str(waiting["profile_id"]))
    await on.call("SC2", **staff)
    await on.call("SC3", {"connector_id": 1, "purpose": "TxProfile", "stack_level": 5}, **staff)
    await _finish_all(on, "Unknown")
    with answering(on, status="Accepted"):
        made = (await on.call("SC1", {**body, "stack_level": 5}, **staff, query=WAIT))["data"]
    with answering(on, status="Unknown"):
        await on.call("SC6", **staff, profile_id=str(made["profile_id"]), query=WAIT)
    await on.call("SC4", **staff, profile_id=str(made["profile_id"]))
    for query in ("?limit=1", ""):
        await on.call("SC2", **staff, query=query)


async def _finish_all(on: Recorder, word: str) -> None:
    """The charger answers all that waits for it: what it is asked to take Rejected, what to clear with ``word``."""
    rows = await on.api.sql(
        """SELECT id, action FROM station_commands WHERE status = 'queued' AND station_id = %s
              AND action IN ('SetChargingProfile', 'ClearChargingProfile') ORDER BY created_at""",
        STATION,
    )
    for row in rows:
        await _end(on.api, row["id"], {"status": "Rejected" if row["action"] == "SetChargingProfile" else word})


async def _composite(on: Recorder, now: Any, staff: Answer) -> None:
    schedule = {"chargingRateUnit": "W", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 5000.5}]}
    with answering(on, status="Accepted", connectorId=1, scheduleStart=iso_z(now), chargingSchedule=schedule):
        await on.call("SC8", **staff, query="?connector=1&duration=600&wait=1")
    with answering(on, status="Rejected"):
        await on.call("SC8", **staff, query="?connector=1&unit=A&wait=1")
    await on.call("SC8", **staff, query="?wait=0")
