"""Steps of field reports: what the charger, its driver, staff and time do, and what must be seen then."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import EllipsisType
from typing import Any

from evpower.charging import service as charging
from evpower.commands import service as commands
from evpower.commands.models import NewCommand
from evpower.db import Conn
from tests.fakes.hearing import heard
from tests.fakes.stations import until
from tests.integration.field_reports.replay import STATION, Charge, Play, Step


def says(action: str, answer: Any = ..., /, **payload: Any) -> Step:
    """The charger sends a CALL, and the answer is a CALLRESULT whose payload fits ``answer``."""

    async def step(play: Play) -> None:
        found = await play.charger.call(action, **play.filled(payload))
        assert fits(found, answer), found
        if action == "StartTransaction" and not play.transaction:
            play.transaction = int(found["transactionId"])

    return step


def sends(text: str, *, answers: Any, times: int = 1) -> Step:
    """The charger sends this frame ``times`` times without waiting; each gets an answer that fits ``answers``."""

    async def step(play: Play) -> None:
        frame = play.fill(text)
        for _ in range(times):
            await play.charger.send(frame)
        for _ in range(times):
            found = await play.charger.answer()
            assert fits(found, play.filled(answers)), found
            if found[0] == 3 and "transactionId" in found[2]:
                play.transaction = int(found[2]["transactionId"])

    return step


def meter(*samples: dict[str, Any], at: str = "$NEXT", connector: int = 1, **members: Any) -> Step:
    """MeterValues with one entry; ``transactionId`` is the running one unless it is given (None: left out)."""
    members.setdefault("transactionId", "$TX")
    named = {name: value for name, value in members.items() if value is not None}
    entry = {"timestamp": at, "sampledValue": list(samples)}
    return says("MeterValues", {}, connectorId=connector, meterValue=[entry], **named)


def eair(value: Any, **members: Any) -> dict[str, Any]:
    """One sample of Energy.Active.Import.Register."""
    return {"value": str(value), "measurand": "Energy.Active.Import.Register", "unit": "Wh", **members}


def watts(value: Any, **members: Any) -> dict[str, Any]:
    """One sample of Power.Active.Import."""
    return {"value": str(value), "measurand": "Power.Active.Import", "unit": "W", **members}


def stop(meter_stop: Any, **members: Any) -> Step:
    """StopTransaction of the running transaction, now."""
    return says("StopTransaction", **{"transactionId": "$TX", "meterStop": meter_stop, "timestamp": "$NOW", **members})


def status(word: str, connector: int = 1, **members: Any) -> Step:
    """StatusNotification."""
    said = {"connectorId": connector, "errorCode": "NoError", "status": word, **members}
    return says("StatusNotification", {}, **said)


def asked(action: str, answer: Any, **payload: Any) -> Step:
    """The server sends a command whose payload fits ``payload``, and the charger answers: a payload or a raw frame."""

    async def step(play: Play) -> None:
        command = await play.charger.command(action)
        assert fits(command[3], play.filled(payload) or ...), command
        frame = answer.replace("$ID", command[1]) if isinstance(answer, str) else [3, command[1], answer]
        await play.charger.send(frame)

    return step


def shows(**wanted: Any) -> Step:
    """The session has these values at this moment."""

    async def step(play: Play) -> None:
        session = await play.story.session(play.session_id)
        found = {name: getattr(session, name) for name in wanted}
        assert {name: float(value) if isinstance(value, Decimal) else value for name, value in found.items()} == wanted

    return step


def driver_starts(charge: Charge) -> Step:
    """The driver starts from the app, and the charger has accepted the RemoteStart."""

    async def step(play: Play) -> None:
        await play.ask(charge)

    return step


def driver_stops(answer: str = "Accepted") -> Step:
    """The driver presses stop in the app, and the charger answers the RemoteStop."""

    async def step(play: Play) -> None:
        now = datetime.now(UTC)
        asked_for = await play.story.read(
            lambda conn: charging.request_stop(
                conn, play.session_id, client_id="client-1", initiator="client", reason="client", now=now
            )
        )
        play.tier.dispatcher.submit(STATION, asked_for.command_id)
        await asked("RemoteStopTransaction", {"status": answer})(play)
        await ended("RemoteStopTransaction")(play)

    return step


def ended(action: str, word: str | None = None) -> Step:
    """All commands of that action have ended, the last one with that status."""

    async def is_ended(play: Play) -> bool:
        found = await play.story.rows(
            "SELECT status FROM station_commands WHERE action = %s ORDER BY created_at", action
        )
        words = [row["status"] for row in found]
        return bool(words) and not {"queued", "sent"} & set(words) and word in (None, words[-1])

    async def step(play: Play) -> None:
        await until(lambda: is_ended(play), f"the end of {action}")

    return step


def sweeps(minutes: float) -> Step:
    """All sweeps over hanging sessions run, as late as that from now."""

    async def step(play: Play) -> None:
        now = datetime.now(UTC) + timedelta(minutes=minutes)
        await heard(play.story.db, now)
        for sweep in charging.SWEEPS:
            found = await play.story.read(lambda conn, sweep=sweep: sweep.find(conn, now, 100))
            for session_id in found:
                command = await play.story.read(lambda conn, sweep=sweep, one=session_id: sweep.handle(conn, one, now))
                if command is not None:
                    play.tier.dispatcher.submit(STATION, command)

    return step


def rows(count: int, query: str) -> Step:
    """That many rows are stored."""

    async def step(play: Play) -> None:
        assert len(await play.story.rows(query)) == count

    return step


def heartbeats_tell_the_time() -> Step:
    """Heartbeats under one message id are answered with the time of each, not with that of the first."""

    async def step(play: Play) -> None:
        times = []
        for _ in range(3):
            await play.charger.send([2, "1", "Heartbeat", {}])
            times.append((await play.charger.answer())[2]["currentTime"])
            await asyncio.sleep(0.01)
        assert len(set(times)) == 3, times

    return step


def orders(action: str, **payload: Any) -> Step:
    """Staff send a command."""

    async def step(play: Play) -> None:
        now = datetime.now(UTC)
        wish = NewCommand(STATION, action, payload, expires_at=now + timedelta(minutes=5), requested_by="staff")
        command = await play.story.read(lambda conn: commands.enqueue(conn, wish, now))
        play.tier.dispatcher.submit(STATION, command.id)

    return step


def staff_set(query: str) -> Step:
    """Staff change something of the station."""

    async def step(play: Play) -> None:
        async def work(conn: Conn) -> None:
            await conn.execute(query)  # type: ignore[arg-type] - a literal of the table

        await play.story.db.run(work)

    return step


def no_command() -> Step:
    """Every command has ended, and none is waiting to be sent."""

    async def step(play: Play) -> None:
        await ended("GetConfiguration")(play)
        await rows(0, "SELECT FROM station_commands WHERE status IN ('queued', 'sent')")(play)
        assert play.charger.calls.empty()

    return step


def stored(key: str, value: str) -> Step:
    """The station's configuration holds this value."""

    async def step(play: Play) -> None:
        found = await play.story.rows("SELECT value FROM ocpp_configuration WHERE key = %s", key)
        assert [row["value"] for row in found] == [value]

    return step


def connector_is(word: str, connector: int = 1) -> Step:
    """The connector's status is stored as this word."""

    async def step(play: Play) -> None:
        found = await play.story.rows("SELECT ocpp_status FROM connectors WHERE connector_number = %s", connector)
        assert found == [{"ocpp_status": word}]

    return step


def reconnects(*, broken: bool = False) -> Step:
    """The charger opens a new socket; ``broken``: the old one ended without a close frame."""

    async def step(play: Play) -> None:
        if broken:
            play.charger.drop()
        else:
            await play.charger.socket.close()
        await play.connect()

    return step


def fits(found: Any, wanted: Any) -> bool:
    """Whether ``found`` has what ``wanted`` names: members of objects may be more, ``...`` is anything."""
    if isinstance(wanted, EllipsisType):
        return True
    if isinstance(wanted, dict):
        return (
            isinstance(found, dict)
            and (bool(wanted) or not found)
            and all(name in found and fits(found[name], value) for name, value in wanted.items())
        )
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(fits, found, wanted))
    return bool(found == wanted)
