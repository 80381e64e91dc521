"""Notifications in browsers: N4-N7 (mobile-api.md §6.4)."""

from fastapi import Request

from evpower.db import Conn
from evpower.errors import NotFound, ServiceUnavailable
from evpower.notifications import addresses, web_push
from evpower.notifications.models import Subscription
from functions.api.context import headers_of
from functions.api.routing import CallerParam, ContextParam, DepsParam, router
from functions.api.schemas.notifications import (
    Acknowledged,
    SubscribeBody,
    Subscribed,
    TestSent,
    UnsubscribeBody,
    VapidKey,
    VapidKeyAnswer,
)
from functions.api.texts import sentence

routes = router("/api/v1/notifications", "notifications")
_USER_AGENT_CHARS = 200


@routes.get("/vapid-public-key", response_model=VapidKeyAnswer)
async def vapid_public_key(deps: DepsParam) -> VapidKeyAnswer:
    """N4: the key that a browser subscribes with. 503 where web push is not configured."""
    key = web_push.public_key(deps.settings)
    if not key:
        raise ServiceUnavailable("Web push is not configured")
    return VapidKeyAnswer(data=VapidKey(public_key=key))


@routes.post("/subscribe", response_model=Subscribed)
async def subscribe(
    body: SubscribeBody, request: Request, caller: CallerParam, context: ContextParam, deps: DepsParam
) -> Subscribed:
    """N5: send notifications to a browser. ``owner``: news of the caller's stations, for staff."""
    agent = "".join(filter(str.isprintable, headers_of(request.scope).get("user-agent", "")))
    subscription = Subscription(
        body.subscription.endpoint,
        body.subscription.keys.p256dh,
        body.subscription.keys.auth,
        body.user_type,
        agent[:_USER_AGENT_CHARS] or None,
        context.language,
    )
    addresses.check_subscription(subscription, deps.settings)
    login_id = context.principal.login_id if context.principal else None
    now = deps.clock.now()

    async def work(conn: Conn) -> str:
        return await addresses.subscribe(conn, caller.client_id, login_id, subscription, now)

    subscription_id = await deps.database.run(work, claims=caller.wide_claims)
    return Subscribed(message=sentence("subscribed", context.language), subscription_id=subscription_id)


@routes.post("/unsubscribe", response_model=Acknowledged)
async def unsubscribe(body: UnsubscribeBody, caller: CallerParam, context: ContextParam) -> Acknowledged:
    """N6: no more notifications to this browser; 404 when it was not subscribed."""

    async def work(conn: Conn) -> bool:
        return await addresses.unsubscribe(conn, caller.client_id, body.endpoint)

    if not await caller.run(work):
        raise NotFound
    return Acknowledged(message=sentence("unsubscribed", context.language))


@routes.post("/test", response_model=TestSent)
async def send_test(caller: CallerParam, context: ContextParam) -> TestSent:
    """N7: a test message to all of the caller's devices and browsers."""

    async def work(conn: Conn) -> int:
        return await addresses.send_test(conn, caller.client_id)

    sent_to = await caller.run(work)
    return TestSent(message=sentence("test_sent" if sent_to else "nowhere_to_send", context.language), sent_to=sent_to)
