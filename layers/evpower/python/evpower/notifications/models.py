"""Push notifications: what is to be told, to whom, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Channel(StrEnum):
    """Which provider reaches an address."""

    FCM = "fcm"
    APNS = "apns"
    WEB_PUSH = "web_push"


@dataclass(frozen=True, slots=True)
class Device:
    """What a phone registers. ``token`` is an FCM token, on iOS a raw APNs token in lower-case hex."""

    token: str
    platform: str
    app_version: str | None
    language: str


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a browser's PushSubscription says (W3C Push API): keys are base64url without padding."""

    endpoint: str
    p256dh: str
    auth: str
    user_type: str
    user_agent: str | None
    language: str


@dataclass(frozen=True, slots=True)
class Address:
    """One place that a push goes to. ``token``: the provider's token, or a web push endpoint.

    ``changed_at`` tells a registration from a later one of the same token, so that a provider's "gone" about the
    earlier does not remove the later.
    """

    id: str
    channel: Channel
    token: str
    language: str
    changed_at: datetime
    p256dh: str = ""
    auth: str = ""


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """A row of the outbox that is being delivered; ``attempts`` counts this one."""

    id: int
    user_type: str
    user_id: str
    event: str
    payload: Mapping[str, Any]
    attempts: int
    created_at: datetime
    delivered_to: tuple[str, ...]
    correlation_id: str | None


@dataclass(frozen=True, slots=True)
class Push:
    """One message as every provider gets it. ``data`` values are strings (FCM allows nothing else).

    ``collapse_id`` (at most 32 characters of the URL-safe alphabet) is the same at every attempt: what a provider or a
    phone still holds is replaced and not shown twice. ``ttl_s``: how long a provider may keep it for a phone that is
    off.
    """

    title: str
    body: str
    data: Mapping[str, str]
    collapse_id: str
    ttl_s: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """The provider took it."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The provider knows that the address is dead."""

    reason: str


@dataclass(frozen=True, slots=True)
class TryLater:
    """Not now; ``after_s`` when the provider says how long to wait."""

    reason: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Never: the message or our settings are at fault, and another attempt would end the same way."""

    reason: str


Result = Delivered | Gone | TryLater | Refused
