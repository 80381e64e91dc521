"""How a charger proves itself: AuthorizationKey and security profile (OCPP 1.6 security whitepaper A01, A05)."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query, Response

from evpower.admin import service as admin
from evpower.certificates import service as certificates
from evpower.commands.models import Command
from evpower.db import Conn
from evpower.errors import ValidationFailed
from evpower.stations import key_rotation
from evpower.stations.models import KeyCandidate, StationSecurity
from functions.api.routing import DepsParam
from functions.api.schemas.admin_security import (
    CredentialsAnswer,
    CredentialsData,
    KeyAnswer,
    KeyBody,
    KeyData,
    NewKey,
    ProfileAnswer,
    ProfileBody,
    ProfileData,
    SentCommand,
)
from functions.api.schemas.base import Answer, IdIn
from functions.api.staff import Act, ManagerParam, StaffCaller, StaffParam, staff_router

routes = staff_router("/api/v1/admin/stations")

_SENT = KeyBody()
_Overview = tuple[str, StationSecurity, list[KeyCandidate]]


def sent_command(command: Command) -> SentCommand:
    """A command as the answer to its request tells it."""
    return SentCommand(id=command.id, action=command.action, status=command.status.value, expires_at=command.expires_at)


def actor(staff: StaffCaller) -> str:
    """Who asks, for the command's row."""
    return f"staff:{staff.member.id}"


async def _overview(conn: Conn, staff: StaffCaller, ref: str) -> _Overview:
    station = await admin.station(conn, staff.scope, ref)
    return station.id, *await key_rotation.overview(conn, station.id)


def _wrong(field: str, problem: str, reason: str) -> ValidationFailed:
    return ValidationFailed(reason, field=field, fields=[{"field": field, "problem": problem, "detail": reason}])


@routes.get("/{station_id}/credentials", response_model=CredentialsAnswer, summary="How a station proves itself")
async def credentials(station_id: IdIn, staff: StaffParam) -> CredentialsAnswer:
    """Security profile, and the keys that are on their way. Keys themselves are never shown."""
    found_id, security, keys = await staff.run(lambda conn: _overview(conn, staff, station_id))
    data = CredentialsData(
        station_id=found_id,
        security_profile=security.security_profile,
        requested_security_profile=security.requested_security_profile,
        request_command_id=security.request_command_id,
        connection_security=security.connection_security,
        has_key=security.has_key,
        key_changed_at=security.key_changed_at,
        new_keys=[
            NewKey(
                id=key.id,
                delivery=key.delivery.value,
                state=key.state,
                command_id=key.command_id,
                created_by=key.created_by,
                created_at=key.created_at,
            )
            for key in keys
        ],
    )
    return CredentialsAnswer(data=data)


@routes.post(
    "/{station_id}/credentials/key",
    response_model=KeyAnswer,
    summary="Give a station a new AuthorizationKey",
    responses={202: {"model": KeyAnswer, "description": "Sent to the charger: ask for the command by its id."}},
)
async def new_key(
    station_id: IdIn, staff: ManagerParam, deps: DepsParam, response: Response, body: KeyBody = _SENT
) -> KeyAnswer:
    """The present key stays good until the charger has connected with the new one, so nobody is locked out.

    A key that the charger refuses, or that never reaches it, is forgotten.
    """
    if body.key is not None and body.delivery == "send":
        reason = "a key that is sent is made here: leave it out"
        raise _wrong("key", "not allowed", reason)
    now = deps.clock.now()

    async def work(conn: Conn) -> tuple[tuple[str, Command | None, str | None], Mapping[str, Any]]:
        station = await admin.station(conn, staff.scope, station_id)
        told: dict[str, Any] = {"station_id": station.id, "delivery": body.delivery}
        if body.delivery == "send":
            key_id, command = await key_rotation.send_new_key(conn, station.id, actor(staff), now)
            return (key_id, command, None), {**told, "new_key_id": key_id, "command_id": command.id}
        key_id, key = await key_rotation.key_by_hand(conn, station.id, body.key, actor(staff), now)
        return (key_id, None, None if body.key else key), {**told, "new_key_id": key_id}

    key_id, command, key = await staff.act(Act("admin.station_key", details={"station_id": station_id}), work)
    if command is not None:
        await deps.commands.send(command)
        response.status_code = 202
    sent = None if command is None else sent_command(command)
    return KeyAnswer(data=KeyData(new_key_id=key_id, command=sent, key=key))


@routes.delete("/{station_id}/credentials/key", response_model=Answer, summary="Revoke all keys of a station")
async def revoke_keys(station_id: IdIn, staff: ManagerParam, deps: DepsParam) -> Answer:
    """No key opens the station any more; its connection is ended within a minute, and it cannot come back by key."""
    now = deps.clock.now()

    async def work(conn: Conn) -> tuple[None, Mapping[str, Any]]:
        station = await admin.station(conn, staff.scope, station_id)
        await key_rotation.revoke_keys(conn, station.id, actor(staff), now)
        return None, {"station_id": station.id}

    await staff.act(Act("admin.station_keys_revoke", details={"station_id": station_id}), work)
    return Answer()


@routes.delete(
    "/{station_id}/credentials/new-keys/{new_key_id}", response_model=Answer, summary="Withdraw a key not used yet"
)
async def withdraw_key(
    station_id: IdIn,
    new_key_id: IdIn,
    staff: ManagerParam,
    force: Annotated[bool, Query(description="although the charger has the key, or may have it")] = False,
) -> Answer:
    """Forget a key that was to be typed in, or one of an unknown end; the latter only with ``force``."""

    async def work(conn: Conn) -> tuple[None, Mapping[str, Any]]:
        station = await admin.station(conn, staff.scope, station_id)
        await key_rotation.withdraw(conn, station.id, new_key_id, force=force)
        return None, {"station_id": station.id}

    details = {"station_id": station_id, "new_key_id": new_key_id, "force": force}
    await staff.act(Act("admin.station_key_withdraw", details=details), work)
    return Answer()


@routes.put(
    "/{station_id}/credentials/security-profile",
    response_model=ProfileAnswer,
    summary="Change the security profile of a station",
    responses={202: {"model": ProfileAnswer, "description": "Sent to the charger: ask for the command by its id."}},
)
async def security_profile(
    station_id: IdIn, body: ProfileBody, staff: ManagerParam, deps: DepsParam, response: Response
) -> ProfileAnswer:
    """``send`` asks the charger to go up; the new profile is demanded once a connection has proven it.

    ``record`` demands it at once: for a charger that was set up, or set back, on site.
    """
    wanted, now = body.security_profile, deps.clock.now()
    if body.delivery == "send" and wanted == 0:
        reason = "a charger goes only upward by command, to 1, 2 or 3"
        raise _wrong("security_profile", "out of bounds", reason)

    async def work(conn: Conn) -> tuple[tuple[StationSecurity, Command | None], Mapping[str, Any]]:
        station = await admin.station(conn, staff.scope, station_id)
        told: dict[str, Any] = {"station_id": station.id, "security_profile": wanted, "delivery": body.delivery}
        command = None
        if body.delivery == "send":
            command = await certificates.send_profile(conn, station.id, wanted, actor(staff), now)
            told["command_id"] = command.id
        else:
            told["before"] = await key_rotation.record_profile(conn, station.id, wanted)
        security, _ = await key_rotation.overview(conn, station.id)
        return (security, command), told

    act = Act("admin.station_security_profile", details={"station_id": station_id})
    security, command = await staff.act(act, work)
    if command is not None:
        await deps.commands.send(command)
        response.status_code = 202
    data = ProfileData(
        security_profile=security.security_profile,
        requested_security_profile=security.requested_security_profile,
        command=None if command is None else sent_command(command),
    )
    return ProfileAnswer(data=data)
