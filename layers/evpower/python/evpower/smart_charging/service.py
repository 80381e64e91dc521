"""Rules of charging profiles: checked, stored, sent; replaced and cleared by number or criteria.

The charger has the last word: what it refuses is kept with its word, and what was in force before stays in force. A
charger that has forgotten its profiles is asked again only when an operator says so.
"""

from collections.abc import Mapping
from dataclasses import replace as changed
from datetime import datetime, timedelta
from typing import Any

from evpower.commands import service as commands
from evpower.commands.models import Command, CommandStatus, NewCommand
from evpower.db import Conn
from evpower.errors import ConnectorNotFound, NotFound, StateConflict, ValidationFailed
from evpower.smart_charging import composite, repository, rules
from evpower.smart_charging.models import (
    Limits,
    NewProfile,
    Profile,
    ProfileState,
    Purpose,
    RateUnit,
    Segment,
    StoredProfile,
)
from evpower.stations import service as stations
from evpower.stations.text import clean

ASK_FOR = timedelta(minutes=15)
"""How long a question waits for a charger that is away."""
MAX_INSTALLED = 200
"""Profiles of a charger that has not told MaxChargingProfilesInstalled."""
_SET, _CLEAR = "SetChargingProfile", "ClearChargingProfile"


async def limits(conn: Conn, station_id: str) -> Limits:
    """What the charger said it can take."""
    return rules.limits(await stations.configuration(conn, station_id))


async def get(conn: Conn, station_id: str, number: int) -> StoredProfile:
    """A profile of the station.

    Raises:
        NotFound: no such profile there.
    """
    found = await repository.find(conn, station_id, number)
    if found is None:
        raise NotFound("the station has no such charging profile")
    return found


async def listing(
    conn: Conn, station_id: str, state: ProfileState | None, *, limit: int, offset: int
) -> tuple[list[StoredProfile], int]:
    """A page of the station's profiles, newest first, and their total number."""
    return await repository.page(conn, station_id, state, limit, offset)


async def live(conn: Conn, station_id: str) -> list[StoredProfile]:
    """Profiles that are installed or asked for, by connector, purpose and stack level."""
    return await repository.live(conn, station_id)


async def create(conn: Conn, new: NewProfile, now: datetime) -> tuple[StoredProfile, Command]:
    """Store a profile and ask the charger to take it; the command to send after the commit.

    A TxProfile without a transaction id is for the one that runs on its connector.

    Raises:
        ValidationFailed: against the specification, or more than the charger takes.
        ConnectorNotFound: no such connector.
        StateConflict: the place (connector, purpose, stack level) is taken, or no transaction runs there.
    """
    await repository.lock_station(conn, new.station_id)
    profile = await _checked(conn, new, now)
    present = await repository.live(conn, new.station_id)
    _check_place(present, new.connector_id, profile)
    most = (await limits(conn, new.station_id)).max_installed
    most = MAX_INSTALLED if most is None else most
    if len(present) >= most:
        raise ValidationFailed(f"the charger keeps at most {most} profiles: delete one", field="connector_id")
    profile = changed(profile, number=await repository.next_number(conn, new.station_id))
    await repository.insert(conn, changed(new, profile=profile), now)
    return await _ask(conn, new.station_id, new.connector_id, profile, new.requested_by, now)


async def replace(conn: Conn, new: NewProfile, now: datetime) -> tuple[StoredProfile, Command]:
    """Ask the charger to take another profile under the same number. Until it does, the present one stays in force.

    Raises:
        NotFound: no such profile there.
        StateConflict: it has ended, or the charger has not answered the last question yet.
        ValidationFailed, ConnectorNotFound: as :func:`create`; another connector or purpose.
    """
    await repository.lock_station(conn, new.station_id)
    found = await _changeable(conn, new.station_id, new.profile.number)
    if (found.connector_id, found.purpose) != (new.connector_id, new.profile.purpose):
        raise ValidationFailed("a profile stays at its connector and keeps its purpose", field="connector_id")
    profile = await _checked(conn, new, now)
    others = [other for other in await repository.live(conn, new.station_id) if other.number != profile.number]
    _check_place(others, new.connector_id, profile)
    return await _ask(conn, new.station_id, new.connector_id, profile, new.requested_by, now)


async def resend(
    conn: Conn, station_id: str, number: int, requested_by: str, now: datetime
) -> tuple[StoredProfile, Command]:
    """Ask the charger once more to take the profile as it stands: after a factory reset, or a lost answer.

    Raises:
        NotFound, StateConflict: as :func:`replace`.
    """
    await repository.lock_station(conn, station_id)
    found = await _changeable(conn, station_id, number)
    profile = found.wanted or found.profile
    assert profile is not None
    return await _ask(conn, station_id, found.connector_id, profile, requested_by, now)


async def _changeable(conn: Conn, station_id: str, number: int) -> StoredProfile:
    found = await repository.find(conn, station_id, number, lock=True)
    if found is None:
        raise NotFound("the station has no such charging profile")
    if not found.state.live and found.state is not ProfileState.FAILED:
        raise StateConflict(f"the profile is {found.state.value}: create a new one", state=found.state.value)
    if found.asking:
        raise StateConflict("the charger has not answered the last question about it yet: wait for that")
    return found


async def _checked(conn: Conn, new: NewProfile, now: datetime) -> Profile:
    profile = new.profile
    rules.check(profile, new.connector_id, await limits(conn, new.station_id), now)
    if new.connector_id and new.connector_id not in await repository.powers(conn, new.station_id):
        raise ConnectorNotFound(f"the station has no connector {new.connector_id}", field="connector_id")
    if profile.purpose is not Purpose.TX:
        return profile
    running = {run.connector_id: run.transaction_id for run in await repository.running(conn, new.station_id)}
    current = running.get(new.connector_id)
    if current is None or profile.transaction_id not in (None, current):
        runs = "no transaction runs" if current is None else f"transaction {current} runs"
        raise StateConflict(f"{runs} on connector {new.connector_id}", transaction_id=current)
    return changed(profile, transaction_id=current)


def _check_place(present: list[StoredProfile], connector_id: int, profile: Profile) -> None:
    """One profile per connector, purpose and stack level (OCPP 1.6 section 3.13.2)."""
    for other in present:
        if (other.connector_id, other.purpose, other.stack_level) == (
            connector_id,
            profile.purpose,
            profile.stack_level,
        ):
            raise StateConflict(
                f"profile {other.number} has this connector, purpose and stack level: replace or delete it",
                profile_id=other.number,
            )


async def _ask(
    conn: Conn, station_id: str, connector_id: int, profile: Profile, requested_by: str, now: datetime
) -> tuple[StoredProfile, Command]:
    payload = {"connectorId": connector_id, "csChargingProfiles": profile.to_wire()}
    command = await commands.enqueue(conn, NewCommand(station_id, _SET, payload, now + ASK_FOR, requested_by), now)
    await repository.ask(conn, station_id, profile, command.id, now)
    return await get(conn, station_id, profile.number), command


async def delete(
    conn: Conn, station_id: str, number: int, requested_by: str, now: datetime
) -> tuple[StoredProfile, Command | None]:
    """Ask the charger to clear one profile; the command to send, None when one is on its way.

    Raises:
        NotFound: no such profile there.
        StateConflict: it has ended.
    """
    await repository.lock_station(conn, station_id)
    found = await repository.find(conn, station_id, number, lock=True)
    if found is None:
        raise NotFound("the station has no such charging profile")
    if found.clearing:
        return found, None
    if not found.state.live and found.state is not ProfileState.FAILED:
        raise StateConflict(f"the profile is {found.state.value}: create a new one", state=found.state.value)
    command = await commands.enqueue(
        conn, NewCommand(station_id, _CLEAR, {"id": number}, now + ASK_FOR, requested_by), now
    )
    await repository.set_clear_command(conn, station_id, number, command.id, now)
    return await get(conn, station_id, number), command


async def clear(
    conn: Conn,
    station_id: str,
    *,
    connector_id: int | None,
    purpose: Purpose | None,
    stack_level: int | None,
    requested_by: str,
    now: datetime,
) -> Command:
    """Ask the charger to clear all profiles that the criteria name, also those that we know nothing of."""
    payload: dict[str, Any] = {}
    if connector_id is not None:
        payload["connectorId"] = connector_id
    if purpose is not None:
        payload["chargingProfilePurpose"] = purpose.value
    if stack_level is not None:
        payload["stackLevel"] = stack_level
    return await commands.enqueue(conn, NewCommand(station_id, _CLEAR, payload, now + ASK_FOR, requested_by), now)


# --- Composite schedule -------------------------------------------------------------------------------------------


async def ask_composite(
    conn: Conn,
    station_id: str,
    *,
    connector_id: int,
    seconds: int,
    unit: RateUnit | None,
    requested_by: str,
    now: datetime,
) -> Command:
    """Ask the charger what it will do; the command to send.

    Raises:
        ConnectorNotFound: no such connector.
    """
    if connector_id and connector_id not in await repository.powers(conn, station_id):
        raise ConnectorNotFound(f"the station has no connector {connector_id}", field="connector")
    payload: dict[str, Any] = {"connectorId": connector_id, "duration": seconds}
    if unit is not None:
        payload["chargingRateUnit"] = unit.value
    lifetime = timedelta(minutes=1)
    return await commands.enqueue(
        conn, NewCommand(station_id, "GetCompositeSchedule", payload, now + lifetime, requested_by), now
    )


async def expectation(
    conn: Conn, station_id: str, connector_id: int, start: datetime, seconds: int, unit: RateUnit
) -> list[Segment]:
    """What the charger should do by the profiles that it has taken."""
    installed = [
        (stored.connector_id, stored.profile)
        for stored in await repository.live(conn, station_id)
        if stored.profile is not None
    ]
    site = composite.Site(
        installed, await repository.powers(conn, station_id), await repository.running(conn, station_id)
    )
    return composite.composite(site, connector_id, start, seconds, unit)


# --- Sweep and outcomes -------------------------------------------------------------------------------------------


async def end(conn: Conn, now: datetime, limit: int) -> int:
    """Write down up to ``limit`` profiles that have ended by themselves; how many."""
    return await repository.end(conn, now, limit)


async def set_outcome(conn: Conn, command: Command, outcome: CommandStatus, answer: Mapping[str, Any] | None) -> None:
    """SetChargingProfile has ended, perhaps one that was queued past these routes."""
    if outcome in (CommandStatus.FAILED, CommandStatus.TIMED_OUT):
        return  # read from the command's row
    try:
        profile = Profile.from_wire(clean(command.payload["csChargingProfiles"]))
        connector_id = int(command.payload["connectorId"])
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return
    now = _moment(command)
    if outcome is CommandStatus.ACCEPTED:
        await repository.installed(
            conn, command.station_id, connector_id, profile, command.id, command.requested_by, now
        )
    else:
        word = str((answer or {}).get("status"))
        await repository.refused(conn, command.station_id, profile.number, command.id, word, now)


async def clear_outcome(conn: Conn, command: Command, outcome: CommandStatus, answer: Mapping[str, Any] | None) -> None:
    """ClearChargingProfile has ended. Unknown: the charger has no such profile, so none is in force either."""
    if outcome not in (CommandStatus.ACCEPTED, CommandStatus.REJECTED):
        return
    wanted = command.payload
    await repository.cleared(
        conn,
        command.station_id,
        number=wanted.get("id"),
        connector_id=wanted.get("connectorId"),
        purpose=wanted.get("chargingProfilePurpose"),
        stack_level=wanted.get("stackLevel"),
        why=None if outcome is CommandStatus.ACCEPTED else "not known to the charger",
        now=_moment(command),
    )


def _moment(command: Command) -> datetime:
    assert command.finished_at is not None
    return command.finished_at
