"""Devices and web push (mobile-api.md §6)."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from functions.api.schemas.base import Answer, RequestModel, ResponseModel, clean_text

PushTokenIn = Annotated[
    str,
    Field(
        min_length=1,
        max_length=4096,
        description="FCM registration token; on iOS the hex APNs device token",
        examples=["dQw4w9WgXcQ:APA91bHPRgkF3JUikC4ENAHEeMrd41Zxv3hVZjC9KtT8OvPVGJ"],
    ),
    AfterValidator(clean_text),
]


class DeviceBody(RequestModel):
    """N1, N3."""

    fcm_token: PushTokenIn
    platform: Literal["android", "ios", "web"]
    app_version: Annotated[str, Field(max_length=64), AfterValidator(clean_text)] | None = None


class DeviceTokenBody(RequestModel):
    """N2."""

    fcm_token: PushTokenIn


class Acknowledged(Answer):
    """N1-N3, N6."""

    message: str


class VapidKey(ResponseModel):
    """The key that a browser subscribes with."""

    public_key: Annotated[str, Field(description="applicationServerKey, base64url")]


class VapidKeyAnswer(Answer):
    """N4."""

    data: VapidKey


_EndpointIn = Annotated[
    str,
    Field(min_length=1, max_length=2048, examples=["https://fcm.googleapis.com/fcm/send/example"]),
    AfterValidator(clean_text),
]
_KeyIn = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(clean_text)]


class SubscriptionKeys(RequestModel):
    """Base64url, as ``PushSubscription.toJSON()`` gives them."""

    p256dh: Annotated[
        _KeyIn,
        Field(examples=["BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"]),
    ]
    auth: Annotated[_KeyIn, Field(examples=["BTBZMqHH6r4Tts7J_aSIgg"])]


class BrowserSubscription(RequestModel):
    """``PushSubscription`` of the Push API."""

    endpoint: _EndpointIn
    keys: SubscriptionKeys


class SubscribeBody(RequestModel):
    """N5."""

    subscription: BrowserSubscription
    user_type: Literal["client", "owner"] = "client"


class UnsubscribeBody(RequestModel):
    """N6."""

    endpoint: _EndpointIn


class Subscribed(Acknowledged):
    """N5."""

    subscription_id: str


class TestSent(Acknowledged):
    """N7. ``sent_to``: how many devices and browsers."""

    sent_to: int
