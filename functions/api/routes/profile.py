"""Who is signed in, and the end of an account: A5, P1, A6, P2 (mobile-api.md §4.3, §4.4)."""

from evpower.accounts import deletion, identity
from evpower.accounts.models import Client, Staff
from evpower.db import Conn
from evpower.payments.queue import CheckMessage
from evpower.stations import service as stations
from functions.api import presenters
from functions.api.routing import Caller, CallerParam, ContextParam, DepsParam, router
from functions.api.schemas.profile import ClientProfile, Deleted, StaffProfile
from functions.api.texts import sentence

routes = router("/api/v1", "profile")


async def _profile(caller: Caller) -> ClientProfile | StaffProfile:
    async def own(conn: Conn) -> tuple[Client | None, Staff | None, tuple[int, int]]:
        client, staff = await identity.account_of_id(conn, caller.client_id)
        return client, staff, await stations.count_owned(conn, staff.owner_id) if staff else (0, 0)

    client, staff, owned = await caller.run(own)
    if staff is not None:
        return presenters.staff_profile(staff, client, owned)
    assert client is not None
    return presenters.client_profile(client)


@routes.get("/profile", response_model=ClientProfile | StaffProfile)
async def profile(caller: CallerParam) -> ClientProfile | StaffProfile:
    """P1: who is signed in."""
    return await _profile(caller)


@routes.get("/auth/me", response_model=ClientProfile | StaffProfile)
async def me(caller: CallerParam) -> ClientProfile | StaffProfile:
    """A5: as P1; the app asks at every start."""
    return await _profile(caller)


async def _delete(caller: Caller, deps: DepsParam, context: ContextParam) -> Deleted:
    now = deps.clock.now()
    cancelled = await caller.run(
        lambda conn: deletion.delete_account(conn, caller.client_id, now=now, client_ip=context.client_address)
    )
    for topup_id in cancelled:
        await deps.payments.queue.send(CheckMessage(topup_id=topup_id))
    return Deleted(message=sentence("account_deleted", context.language))


@routes.post("/auth/delete-account", response_model=Deleted)
async def delete_account(caller: CallerParam, deps: DepsParam, context: ContextParam) -> Deleted:
    """A6: delete the account at once and for good. 409 while charging."""
    return await _delete(caller, deps, context)


@routes.post("/account/delete-request", response_model=Deleted)
async def delete_request(caller: CallerParam, deps: DepsParam, context: ContextParam) -> Deleted:
    """P2: as A6."""
    return await _delete(caller, deps, context)
