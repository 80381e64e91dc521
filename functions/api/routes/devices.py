"""Phones that get push notifications: N1-N3 (mobile-api.md §6.1, §6.2)."""

from evpower.db import Conn
from evpower.notifications import addresses
from evpower.notifications.models import Device
from functions.api.context import RequestContext
from functions.api.deps import Deps
from functions.api.routing import Caller, CallerParam, ContextParam, DepsParam, router
from functions.api.schemas.notifications import Acknowledged, DeviceBody, DeviceTokenBody
from functions.api.texts import sentence

routes = router("/api/v1", "devices")


async def _register(body: DeviceBody, caller: Caller, context: RequestContext, deps: Deps) -> Acknowledged:
    device = Device(
        addresses.token_of(body.platform, body.fcm_token), body.platform, body.app_version, context.language
    )
    login_id = context.principal.login_id if context.principal else None
    now = deps.clock.now()

    async def work(conn: Conn) -> None:
        await addresses.register_device(conn, caller.client_id, login_id, device, now)

    await deps.database.run(work, claims=caller.wide_claims)
    return Acknowledged(message=sentence("device_registered", context.language))


@routes.post("/devices/register", response_model=Acknowledged)
async def register(body: DeviceBody, caller: CallerParam, context: ContextParam, deps: DepsParam) -> Acknowledged:
    """N1: send this client's notifications to the phone. A phone that was another client's is theirs no more.

    It stays registered until it is unregistered, the login ends, the account is deleted or the provider calls the
    token dead.
    """
    return await _register(body, caller, context, deps)


@routes.post("/clients/devices", response_model=Acknowledged)
async def register_by_older_path(
    body: DeviceBody, caller: CallerParam, context: ContextParam, deps: DepsParam
) -> Acknowledged:
    """N3: as N1."""
    return await _register(body, caller, context, deps)


@routes.post("/devices/unregister", response_model=Acknowledged)
async def unregister(body: DeviceTokenBody, caller: CallerParam, context: ContextParam) -> Acknowledged:
    """N2: no more notifications to this phone. A phone that is not registered is a success too: logout drops it."""

    async def work(conn: Conn) -> None:
        await addresses.unregister_device(conn, caller.client_id, body.fcm_token)

    await caller.run(work)
    return Acknowledged(message=sentence("device_unregistered", context.language))
