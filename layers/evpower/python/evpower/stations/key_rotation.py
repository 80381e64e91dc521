"""A new AuthorizationKey or security profile for a charger, without ever locking it out (security whitepaper A01, A05).

A new key is a candidate: until the charger has connected with it, the present key opens the station as well. It dies
when the charger refuses it or its command never arrives. When nobody knows whether the charger has taken it over (no
answer, a reboot that is due), both stay good, whatever crashes in between. In the same way a higher security profile
is demanded only from the first connection on that proves it.
"""

from datetime import datetime, timedelta

from evpower.commands import sealed
from evpower.commands import service as commands
from evpower.commands.models import Command, CommandStatus, NewCommand
from evpower.db import Conn
from evpower.errors import NotFound, StationNotFound
from evpower.ids import new_id
from evpower.stations import credentials
from evpower.stations.failures import CredentialsConflict
from evpower.stations.models import KeyCandidate, KeyDelivery, StationSecurity
from evpower.stations.repository import keys
from evpower.stations.repository.keys import NewCandidate
from evpower.stations.service import add_event

CHANGE = "ChangeConfiguration"
KEY = "AuthorizationKey"
PROFILE = "SecurityProfile"
MOST_CANDIDATES = 5
_LIFETIME = timedelta(days=1)
_VALUE = "value"


async def overview(conn: Conn, station_id: str) -> tuple[StationSecurity, list[KeyCandidate]]:
    """What opens the station. Raises: StationNotFound."""
    found = await keys.find(conn, station_id)
    if found is None:
        raise StationNotFound
    return found, await keys.candidates(conn, station_id)


async def _lock(conn: Conn, station_id: str) -> StationSecurity:
    found = await keys.lock(conn, station_id)
    if found is None:
        raise StationNotFound
    return found


# --- Keys ---------------------------------------------------------------------------------------------------------


async def send_new_key(conn: Conn, station_id: str, by: str, now: datetime) -> tuple[str, Command]:
    """Make a random key and send it to the charger; the candidate's id and the command, to be handed to the queue.

    Nobody gets to see the key: it lies sealed in the command until the charger has answered.

    Raises:
        StationNotFound: no such station.
        CredentialsConflict: too many keys are on their way, or one waits for its charger already.
    """
    await _lock(conn, station_id)
    present = await _room(conn, station_id)
    if any(candidate.state == "waiting" for candidate in present):
        raise CredentialsConflict("a new key already waits for this charger: wait, or take back its command")
    key = credentials.new_authorization_key()
    command = await _change(conn, station_id, KEY, sealed.seal(key), by, now)
    candidate_id = await _add(conn, station_id, key, KeyDelivery.SEND, command.id, by, now)
    return candidate_id, command


async def key_by_hand(conn: Conn, station_id: str, key: str | None, by: str, now: datetime) -> tuple[str, str]:
    """A key that somebody types in at the charger: ``key``, else a random one; the candidate's id and the key.

    Raises:
        StationNotFound: no such station.
        CredentialsConflict: too many keys are on their way.
        ValueError: ``key`` has not 16 to 40 characters.
    """
    await _lock(conn, station_id)
    await _room(conn, station_id)
    key = key or credentials.new_authorization_key()
    return await _add(conn, station_id, key, KeyDelivery.BY_HAND, None, by, now), key


async def _room(conn: Conn, station_id: str) -> list[KeyCandidate]:
    present = await keys.candidates(conn, station_id)
    if sum(candidate.state != "dead" for candidate in present) >= MOST_CANDIDATES:
        raise CredentialsConflict(
            f"{MOST_CANDIDATES} new keys wait to be used: withdraw one, or let the charger connect"
        )
    return present


async def _add(
    conn: Conn, station_id: str, key: str, delivery: KeyDelivery, command_id: str | None, by: str, now: datetime
) -> str:
    candidate_id = new_id()
    key_hash = credentials.hash_authorization_key(key)
    await keys.add(conn, NewCandidate(candidate_id, station_id, key_hash, delivery, command_id, by, now))
    return candidate_id


async def withdraw(conn: Conn, station_id: str, candidate_id: str, *, force: bool) -> None:
    """Forget a key that was not used yet.

    Raises:
        NotFound: there is none of this id.
        CredentialsConflict: the charger has it, or may have it, and would be locked out (``force`` does it anyway).
    """
    await _lock(conn, station_id)
    found = next((item for item in await keys.candidates(conn, station_id) if item.id == candidate_id), None)
    if found is None:
        raise NotFound("no such key; it may have been used meanwhile")
    if found.state == "waiting":
        raise CredentialsConflict("the key waits for its charger: take back its command instead")
    if found.state not in ("by_hand", "dead") and not force:
        raise CredentialsConflict(
            "the charger has this key or may have it, and could be locked out without it; force=true takes the risk"
        )
    await keys.drop(conn, station_id, candidate_id)


async def revoke_keys(conn: Conn, station_id: str, by: str, now: datetime) -> None:
    """No key opens the station any more, and its connection ends within a minute.

    A new key that has not been written to the charger is taken back. Use case: it would reach a charger that has come
    back with a key typed in since, and lock it out.

    Raises:
        StationNotFound: no such station.
    """
    await _lock(conn, station_id)
    present = await keys.candidates(conn, station_id)
    await keys.revoke(conn, station_id)
    await keys.fence(conn, station_id)
    for candidate in present:
        if candidate.command_id is not None and await commands.cancel_waiting(
            conn, station_id, candidate.command_id, by, now
        ):
            await commands.forget_secret(conn, candidate.command_id, _VALUE)


async def end_connection(conn: Conn, station_id: str) -> None:
    """Fence out the station's present socket; the charger has to prove itself again."""
    await keys.fence(conn, station_id)


# --- Profile ------------------------------------------------------------------------------------------------------


async def send_profile(conn: Conn, station_id: str, profile: int, by: str, now: datetime) -> Command:
    """Ask the charger to go up to ``profile`` (1 to 3). What profile 2 and 3 need inside it is the caller's check.

    Raises:
        StationNotFound: no such station.
        CredentialsConflict: not upward, no key to log in with, or another request is open.
    """
    station = await _lock(conn, station_id)
    if station.requested_security_profile is not None and station.request_status in ("queued", "sent"):
        raise CredentialsConflict(
            "a change of the profile already waits for this charger: wait, or take back its command"
        )
    if profile <= station.security_profile:
        raise CredentialsConflict("a charger goes only upward by command; lower it at the charger, then record it here")
    if profile < 3 and not station.has_key:
        raise CredentialsConflict("the charger has no AuthorizationKey that it has used: set one first")
    command = await _change(conn, station_id, PROFILE, str(profile), by, now)
    await keys.request_profile(conn, station_id, profile, command.id)
    return command


async def record_profile(conn: Conn, station_id: str, profile: int) -> int:
    """Demand ``profile`` (0 to 3) from now on, as it was set at the charger; the one before.

    Use case: a charger is commissioned with a profile, or was set back by a technician. Its connection must prove
    itself again.

    Raises:
        StationNotFound: no such station.
        CredentialsConflict: no key could satisfy it.
    """
    station = await _lock(conn, station_id)
    if profile in (1, 2) and not station.has_key and not await keys.candidates(conn, station_id):
        raise CredentialsConflict("the station has no AuthorizationKey, so nobody could log in: set one first")
    await keys.set_profile(conn, station_id, profile)
    if profile > (station.connection_security or 0):
        await keys.fence(conn, station_id)
    return station.security_profile


async def _change(
    conn: Conn, station_id: str, key: str, value: str | dict[str, str], by: str, now: datetime
) -> Command:
    new = NewCommand(
        station_id=station_id,
        action=CHANGE,
        payload={"key": key, _VALUE: value},
        expires_at=now + _LIFETIME,
        requested_by=by,
    )
    return await commands.enqueue(conn, new, now)


# --- What the charger does ----------------------------------------------------------------------------------------


async def connected(
    conn: Conn, station_id: str, *, proven: int, candidate: tuple[str, str] | None, now: datetime
) -> bool:
    """The charger has a new socket that has proven ``proven``; ``candidate``: id and hash of the new key it used.

    False when that key is no longer good, so the socket must not stay. The station's row is locked by the claim.
    """
    if candidate is not None:
        candidate_id, key_hash = candidate
        sent_by = await keys.command_of(conn, candidate_id)
        if await keys.promote(conn, station_id, candidate_id, now):
            await add_event(conn, station_id, "authorization_key_changed", now, payload={"candidate_id": candidate_id})
            if sent_by is not None:  # an answer that was lost has left the key in its command
                await commands.forget_secret(conn, sent_by, _VALUE)
        elif not await keys.uses_hash(conn, station_id, key_hash):
            return False
    raised = await keys.raise_profile(conn, station_id, proven)
    if raised is not None:
        await add_event(conn, station_id, "security_profile_raised", now, payload={"security_profile": raised})
    return True


async def answered(conn: Conn, command: Command, outcome: CommandStatus, status: str | None, now: datetime) -> None:
    """A ChangeConfiguration has ended; ``status`` is the charger's word, None when it gave none.

    Only a refusal is taken for "the charger does not have it": an error or silence says nothing.
    """
    key = str(command.payload.get("key", ""))
    if key.lower() == KEY.lower():
        await _key_answered(conn, command, outcome, status, now)
    elif key.lower() == PROFILE.lower() and outcome is CommandStatus.REJECTED:
        await _profile_refused(conn, command, status, now)
    elif key.lower() == PROFILE.lower() and outcome is CommandStatus.ACCEPTED:
        await _profile_accepted(conn, command)


async def _profile_accepted(conn: Conn, command: Command) -> None:
    """Use case: an operator sent the bare command. What the charger will prove is demanded then, as if asked here."""
    wanted = str(command.payload.get(_VALUE, ""))
    station = await keys.lock(conn, command.station_id)
    if station is not None and wanted in ("1", "2", "3") and int(wanted) > station.security_profile:
        await keys.request_profile(conn, command.station_id, int(wanted), command.id)


async def _profile_refused(conn: Conn, command: Command, status: str | None, now: datetime) -> None:
    if await keys.forget_profile_request(conn, command.station_id, command.id):
        told = {"answer": status, "wanted": command.payload.get(_VALUE)}
        await add_event(conn, command.station_id, "security_profile_refused", now, payload=told, severity="warning")


async def _key_answered(
    conn: Conn, command: Command, outcome: CommandStatus, status: str | None, now: datetime
) -> None:
    station_id = command.station_id
    candidate_id = await keys.of_command(conn, command.id, station_id)
    if candidate_id is not None:
        if outcome is CommandStatus.REJECTED:
            await keys.drop(conn, station_id, candidate_id)
            await add_event(
                conn, station_id, "authorization_key_refused", now, payload={"answer": status}, severity="warning"
            )
        elif status == "RebootRequired":
            await keys.mark_reboot(conn, candidate_id)
            await add_event(conn, station_id, "authorization_key_needs_reboot", now)
    await commands.forget_secret(conn, command.id, _VALUE)


async def drop_undelivered(conn: Conn, limit: int = 500) -> int:
    """Forget keys whose command ended without reaching its charger; how many."""
    dropped = await keys.drop_undelivered(conn, limit)
    for command_id in dropped:
        await commands.forget_secret(conn, command_id, _VALUE)
    return len(dropped)
