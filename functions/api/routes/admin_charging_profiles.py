"""Smart charging of a station: SC1-SC7. What the charger refuses is kept with its word."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import Path, Query, Response

from evpower.admin import service as admin
from evpower.commands.models import Command
from evpower.db import Conn
from evpower.smart_charging import service
from evpower.smart_charging.models import (
    Kind,
    NewProfile,
    Period,
    Profile,
    ProfileState,
    Purpose,
    RateUnit,
    Recurrency,
    Schedule,
    StoredProfile,
)
from functions.api.asking import WaitIn, ask
from functions.api.routes.admin import PageLimit
from functions.api.routing import DepsParam, Offset
from functions.api.schemas.base import IdIn
from functions.api.schemas.charger_state import (
    ClearedAnswer,
    ClearedData,
    ClearProfilesBody,
    PeriodItem,
    ProfileAnswer,
    ProfileBody,
    ProfileContent,
    ProfileItem,
    ProfilesAnswer,
    ProfilesData,
    ProfileWord,
    ScheduleItem,
)
from functions.api.staff import Act, StaffCaller, StaffParam, staff_router

routes = staff_router("/api/v1/admin/stations")

ProfileId = Annotated[int, Path(ge=-(2**31), lt=2**31)]
_ALL = ClearProfilesBody()
Told = tuple[StoredProfile, Command | None]


def _on_its_way(model: type[Any]) -> dict[int | str, dict[str, Any]]:
    return {202: {"model": model, "description": "The charger has not answered yet: ask again."}}


def _content(profile: Profile | None) -> ProfileContent | None:
    if profile is None:
        return None
    schedule = profile.schedule
    return ProfileContent(
        kind=profile.kind.value,
        recurrency_kind=None if profile.recurrency is None else profile.recurrency.value,
        valid_from=profile.valid_from,
        valid_to=profile.valid_to,
        schedule=ScheduleItem(
            unit=schedule.unit.value,
            periods=[PeriodItem(start_s=p.start_s, limit=p.limit, phases=p.phases) for p in schedule.periods],
            duration_s=schedule.duration_s,
            starts_at=schedule.starts_at,
            min_rate=schedule.min_rate,
        ),
    )


def _item(found: StoredProfile) -> ProfileItem:
    return ProfileItem(
        profile_id=found.number,
        station_id=found.station_id,
        connector_id=found.connector_id,
        purpose=found.purpose.value,
        stack_level=found.stack_level,
        transaction_id=found.transaction_id,
        state=found.state.value,
        refusal=found.refusal,
        asking=found.asking,
        clearing=found.clearing,
        profile=_content(found.profile),
        wanted=_content(found.wanted),
        command_id=found.command_id,
        clear_command_id=found.clear_command_id,
        requested_by=found.requested_by,
        created_at=found.created_at,
        updated_at=found.updated_at,
        ended_at=found.ended_at,
    )


def _new(staff: StaffCaller, station_id: str, number: int, body: ProfileBody) -> NewProfile:
    wanted = body.schedule
    schedule = Schedule(
        unit=RateUnit(wanted.unit),
        periods=tuple(Period(p.start_s, p.limit, p.phases) for p in wanted.periods),
        duration_s=wanted.duration_s,
        starts_at=wanted.starts_at,
        min_rate=wanted.min_rate,
    )
    profile = Profile(
        number=number,
        stack_level=body.stack_level,
        purpose=Purpose(body.purpose),
        kind=Kind(body.kind),
        schedule=schedule,
        recurrency=None if body.recurrency_kind is None else Recurrency(body.recurrency_kind),
        valid_from=body.valid_from,
        valid_to=body.valid_to,
        transaction_id=body.transaction_id,
    )
    return NewProfile(station_id, body.connector_id, profile, f"staff:{staff.member.id}")


async def _asked(
    staff: StaffCaller,
    deps: DepsParam,
    act: Act,
    question: Callable[[Conn, str], Awaitable[Told]],
    ref: str,
    wait: int,
    response: Response,
) -> ProfileAnswer:
    """Commit the question, send its command, and answer with the profile as it is then."""

    async def work(conn: Conn) -> tuple[Told, Mapping[str, Any]]:
        station = await admin.station(conn, staff.scope, ref)
        stored, command = await question(conn, station.id)
        return (stored, command), {"profile_id": stored.number, "command_id": command.id if command else None}

    stored, command = await staff.act(act, work)
    ended = await ask(staff, deps, command, wait)
    found = await staff.run(lambda conn: service.get(conn, stored.station_id, stored.number))
    response.status_code = 200 if ended is None or ended.status.terminal else 202
    return ProfileAnswer(data=_item(found))


@routes.post(
    "/{station_id}/charging-profiles",
    response_model=ProfileAnswer,
    summary="Set a charging profile",
    responses=_on_its_way(ProfileAnswer),
)
async def create_profile(
    station_id: IdIn, body: ProfileBody, staff: StaffParam, deps: DepsParam, response: Response, wait: WaitIn = 0
) -> ProfileAnswer:
    """SC1: limit a charger, its transactions by default, or the one that runs on a connector.

    Checked against OCPP 1.6 and what the charger's configuration allows; 409 when another profile has this connector,
    purpose and stack level (replace that one), or no such transaction runs.
    """
    now = deps.clock.now()

    async def question(conn: Conn, station: str) -> Told:
        return await service.create(conn, _new(staff, station, 0, body), now)

    details = {"station_id": station_id, **body.model_dump(mode="json", exclude_none=True)}
    act = Act("admin.charging_profile_create", details=details)
    return await _asked(staff, deps, act, question, station_id, wait, response)


@routes.get("/{station_id}/charging-profiles", response_model=ProfilesAnswer, summary="Charging profiles of a station")
async def list_profiles(
    station_id: IdIn,
    staff: StaffParam,
    state: ProfileWord | None = None,
    limit: Annotated[PageLimit, Query()] = 50,
    offset: Annotated[Offset, Query()] = 0,
) -> ProfilesAnswer:
    """SC2: profiles, newest first, also those that are over."""
    wanted = ProfileState(state) if state else None

    async def work(conn: Conn) -> tuple[list[StoredProfile], int]:
        station = await admin.station(conn, staff.scope, station_id)
        return await service.listing(conn, station.id, wanted, limit=limit, offset=offset)

    found, total = await staff.run(work)
    return ProfilesAnswer(
        data=ProfilesData(profiles=[_item(one) for one in found], total=total, limit=limit, offset=offset)
    )


@routes.post(
    "/{station_id}/charging-profiles/clear",
    response_model=ClearedAnswer,
    summary="Clear charging profiles",
    responses=_on_its_way(ClearedAnswer),
)
async def clear_profiles(
    station_id: IdIn,
    staff: StaffParam,
    deps: DepsParam,
    response: Response,
    body: ClearProfilesBody = _ALL,
    wait: WaitIn = 0,
) -> ClearedAnswer:
    """SC3: clear all profiles of the charger that the criteria name, also those that are not stored here."""
    now = deps.clock.now()

    async def work(conn: Conn) -> tuple[Command, Mapping[str, Any]]:
        station = await admin.station(conn, staff.scope, station_id)
        command = await service.clear(
            conn,
            station.id,
            connector_id=body.connector_id,
            purpose=None if body.purpose is None else Purpose(body.purpose),
            stack_level=body.stack_level,
            requested_by=f"staff:{staff.member.id}",
            now=now,
        )
        return command, {"command_id": command.id}

    details = {"station_id": station_id, **body.model_dump(exclude_none=True)}
    command = await staff.act(Act("admin.charging_profiles_clear", details=details), work)
    ended = await ask(staff, deps, command, wait) or command
    live = await staff.run(lambda conn: service.live(conn, command.station_id))
    response.status_code = 200 if ended.status.terminal else 202
    word = (ended.response or {}).get("status")
    data = ClearedData(
        command_id=command.id,
        status=ended.status.value,
        answer=word if isinstance(word, str) else None,
        live_profile_ids=[one.number for one in live],
    )
    return ClearedAnswer(data=data)


@routes.get(
    "/{station_id}/charging-profiles/{profile_id}", response_model=ProfileAnswer, summary="One charging profile"
)
async def profile(station_id: IdIn, profile_id: ProfileId, staff: StaffParam) -> ProfileAnswer:
    """SC4: a profile, and how it stands at the charger."""

    async def work(conn: Conn) -> StoredProfile:
        station = await admin.station(conn, staff.scope, station_id)
        return await service.get(conn, station.id, profile_id)

    return ProfileAnswer(data=_item(await staff.run(work)))


@routes.put(
    "/{station_id}/charging-profiles/{profile_id}",
    response_model=ProfileAnswer,
    summary="Replace a charging profile",
    responses=_on_its_way(ProfileAnswer),
)
async def replace_profile(
    station_id: IdIn,
    profile_id: ProfileId,
    body: ProfileBody,
    staff: StaffParam,
    deps: DepsParam,
    response: Response,
    wait: WaitIn = 0,
) -> ProfileAnswer:
    """SC5: another schedule under the same number. Until the charger takes it, the present one stays in force."""
    now = deps.clock.now()

    async def question(conn: Conn, station: str) -> Told:
        return await service.replace(conn, _new(staff, station, profile_id, body), now)

    details = {"station_id": station_id, **body.model_dump(mode="json", exclude_none=True)}
    act = Act("admin.charging_profile_replace", details=details)
    return await _asked(staff, deps, act, question, station_id, wait, response)


@routes.delete(
    "/{station_id}/charging-profiles/{profile_id}",
    response_model=ProfileAnswer,
    summary="Clear one charging profile",
    responses=_on_its_way(ProfileAnswer),
)
async def delete_profile(
    station_id: IdIn,
    profile_id: ProfileId,
    staff: StaffParam,
    deps: DepsParam,
    response: Response,
    wait: WaitIn = 0,
) -> ProfileAnswer:
    """SC6: ask the charger to clear the profile. One that it does not know is over as well."""
    now = deps.clock.now()

    async def question(conn: Conn, station: str) -> Told:
        return await service.delete(conn, station, profile_id, f"staff:{staff.member.id}", now)

    act = Act("admin.charging_profile_clear", details={"station_id": station_id, "profile_id": profile_id})
    return await _asked(staff, deps, act, question, station_id, wait, response)


@routes.post(
    "/{station_id}/charging-profiles/{profile_id}/resend",
    response_model=ProfileAnswer,
    summary="Send a charging profile again",
    responses=_on_its_way(ProfileAnswer),
)
async def resend_profile(
    station_id: IdIn,
    profile_id: ProfileId,
    staff: StaffParam,
    deps: DepsParam,
    response: Response,
    wait: WaitIn = 0,
) -> ProfileAnswer:
    """SC7: for a charger that has forgotten it, or whose answer was lost. Nothing is sent again by itself."""
    now = deps.clock.now()

    async def question(conn: Conn, station: str) -> Told:
        return await service.resend(conn, station, profile_id, f"staff:{staff.member.id}", now)

    act = Act("admin.charging_profile_resend", details={"station_id": station_id, "profile_id": profile_id})
    return await _asked(staff, deps, act, question, station_id, wait, response)
