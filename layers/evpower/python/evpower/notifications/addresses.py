"""Registering where a person is reached: phones (mobile-api.md §6.1) and browsers (§6.4)."""

import re
from datetime import datetime

from evpower.accounts import service as accounts
from evpower.config import Settings
from evpower.db import Conn
from evpower.errors import FcmTokenInvalid, Forbidden, Unauthorized, ValidationFailed
from evpower.ids import new_id
from evpower.notifications import repository, service, web_push
from evpower.notifications.models import Device, Subscription

MAX_DEVICES = 20
MAX_SUBSCRIPTIONS = 20
"""Per person; the one that has not been registered for longest makes room."""

_FCM_TOKEN = re.compile(r"[A-Za-z0-9_:.=%-]{20,4096}")
# 32 bytes today; Apple says that the length may change (didRegisterForRemoteNotificationsWithDeviceToken).
_APNS_TOKEN = re.compile(r"(?:[0-9a-f]{2}){32,100}")


def token_of(platform: str, token: str) -> str:
    """A push token in the one form that is stored.

    Raises:
        FcmTokenInvalid: no token of that platform looks so.
    """
    token = token.strip()
    if platform == "ios":
        token = token.lower()
    if not (_APNS_TOKEN if platform == "ios" else _FCM_TOKEN).fullmatch(token):
        raise FcmTokenInvalid
    return token


async def _require_login(conn: Conn, login_id: str | None) -> None:
    """A login that has ended registers nothing: nobody would remove it (mobile-api.md §6.2).

    Raises:
        Unauthorized: the login of this access token has ended.
    """
    if login_id is not None and not await repository.login_is_live(conn, login_id):
        raise Unauthorized


async def register_device(conn: Conn, client_id: str, login_id: str | None, device: Device, now: datetime) -> None:
    """Bind a phone to the client and its login; a phone that was somebody else's is theirs no more.

    Needs a view of everybody's devices (system claims): the earlier owner's row is not the caller's.

    Raises:
        ClientNotFound, ClientBlocked, ClientDeleted: the client.
        Unauthorized: the login has ended.
    """
    accounts.require_active(await accounts.get_client(conn, client_id))
    await _require_login(conn, login_id)
    await repository.upsert_device(conn, client_id, login_id, device, now)
    await repository.keep_newest_devices(conn, client_id, MAX_DEVICES)


async def unregister_device(conn: Conn, client_id: str, token: str) -> bool:
    """Forget a phone of the client; False when it has none with this token."""
    token = token.strip()
    # The request does not name the platform; iOS tokens are stored in lower case.
    found = await repository.delete_device(conn, client_id, token)
    return found or await repository.delete_device(conn, client_id, token.lower())


def check_subscription(subscription: Subscription, settings: Settings) -> None:
    """
    Raises:
        ValidationFailed: an endpoint that we do not call, or unusable keys.
    """
    from evpower.notifications import web_crypto  # brings a library that only this route needs

    try:
        web_push.check_endpoint(subscription.endpoint, settings.web_push_hosts)
    except ValueError as error:
        raise _wrong("subscription.endpoint", str(error)) from error
    try:
        web_crypto.read_keys(subscription.p256dh, subscription.auth)
    except ValueError as error:
        raise _wrong("subscription.keys", "not the keys of a subscription") from error


def _wrong(field: str, problem: str) -> ValidationFailed:
    return ValidationFailed(f"{field}: {problem}", field=field, fields=[{"field": field, "problem": "value_error"}])


async def subscribe(conn: Conn, user_id: str, login_id: str | None, subscription: Subscription, now: datetime) -> str:
    """Bind a browser to a client, or to an owner of stations; the subscription's id. Needs system claims.

    Raises:
        Forbidden: owners' news are for active staff.
        ClientNotFound, ClientBlocked, ClientDeleted: the client.
        Unauthorized: the login has ended.
    """
    if subscription.user_type == "owner":
        staff = await accounts.get_staff(conn, user_id)
        if staff is None or not staff.is_active:
            raise Forbidden
    else:
        accounts.require_active(await accounts.get_client(conn, user_id))
    await _require_login(conn, login_id)
    subscription_id = await repository.upsert_subscription(conn, user_id, login_id, subscription, now)
    await repository.keep_newest_subscriptions(conn, user_id, MAX_SUBSCRIPTIONS)
    return subscription_id


async def unsubscribe(conn: Conn, user_id: str, endpoint: str) -> bool:
    """Forget a browser; False when it was not the user's."""
    return await repository.delete_subscription(conn, user_id, endpoint)


async def send_test(conn: Conn, user_id: str) -> int:
    """Send a test message to everything that the user has registered; how many addresses that are."""
    total = 0
    for user_type in ("client", "owner"):
        found = await service.addresses(conn, user_type, user_id, service.TEST)
        if found:
            await service.test_message(conn, user_type, user_id, cause=new_id())
        total += len(found)
    return total
