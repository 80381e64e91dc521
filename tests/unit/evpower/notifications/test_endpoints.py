"""Which addresses a browser may make us call, and which settings the providers take."""

import pytest

from evpower.clock import SystemClock
from evpower.config import Settings
from evpower.errors import FcmTokenInvalid
from evpower.notifications.addresses import token_of
from evpower.notifications.apns import Apns
from evpower.notifications.delivery import push_deps
from evpower.notifications.fcm import Fcm
from evpower.notifications.http import HttpClient
from evpower.notifications.queue import PushMessage, SqsPushQueue
from evpower.notifications.web_push import WebPush, check_endpoint, public_key

HOSTS = Settings().web_push_hosts


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://fcm.googleapis.com/fcm/send/abc:def",
        "https://updates.push.services.mozilla.com/wpush/v2/gAAAA",
        "https://web.push.apple.com/QGuQ",
        "https://wns2-par02p.notify.windows.com/w/?token=BQYAAA%3d",
        "https://FCM.googleapis.com:443/fcm/send/abc",
    ],
)
def test_the_browsers_push_services(endpoint: str) -> None:
    assert check_endpoint(endpoint, HOSTS).scheme == "https"


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "http://fcm.googleapis.com/fcm/send/abc",
        "https://169.254.169.254/latest/meta-data/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://localhost/",
        "https://evilfcm.googleapis.com.example/",
        "https://notfcm.googleapis.com/",
        "https://fcm.googleapis.com.evil.example/",
        "https://fcm.googleapis.com@evil.example/",
        "https://user:password@fcm.googleapis.com/",
        "https://evil.example/fcm.googleapis.com",
        "https://evil.example#fcm.googleapis.com",
        "https://evil.example\\@fcm.googleapis.com/",
        "https://fcm.googleapis.com:8443/",
        "https://fcm.googleapis.com:x/",
        "https://fcm.googleapis.com/ x",
        "https://fcm.googleapis.com/\r\nHost: evil.example",
        "https://fcm.googleapis.com/" + "x" * 3000,
        "file:///etc/passwd",
        "//fcm.googleapis.com/",
    ],
)
def test_anything_else_is_not_called(endpoint: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words differ
        check_endpoint(endpoint, HOSTS)


def test_a_service_with_a_port_is_just_that_one() -> None:
    assert check_endpoint("https://127.0.0.1:8443/x", "127.0.0.1:8443").port == 8443
    for endpoint in ("https://127.0.0.1:8444/x", "https://127.0.0.1/x", "https://a.127.0.0.1:8443/x"):
        with pytest.raises(ValueError, match="known push service"):
            check_endpoint(endpoint, "127.0.0.1:8443")
    with pytest.raises(ValueError, match="known push service"):
        check_endpoint("https://fcm.googleapis.com/", " , ")


@pytest.mark.parametrize(
    ("platform", "token", "stored"),
    [
        ("android", " dQw4w9WgXcQ:APA91bHPRgkF3JUikC4ENAHEeMrd ", "dQw4w9WgXcQ:APA91bHPRgkF3JUikC4ENAHEeMrd"),
        ("ios", "AB" * 32, "ab" * 32),
        ("web", "x" * 4096, "x" * 4096),
    ],
)
def test_tokens(platform: str, token: str, stored: str) -> None:
    assert token_of(platform, token) == stored


@pytest.mark.parametrize(
    ("platform", "token"),
    [
        ("android", "short"),
        ("android", "x" * 4097),
        ("android", "../../v1/projects/other/messages"),
        ("android", "dQw4w9WgXcQ:APA91b HPRgkF3JUikC4ENAHEeMrd"),
        ("ios", "dQw4w9WgXcQ:APA91bHPRgkF3JUikC4ENAHEeMrd"),
        ("ios", "a" * 63),
        ("ios", "../" * 22),
        ("ios", "ab" * 101),
    ],
)
def test_what_is_no_token(platform: str, token: str) -> None:
    with pytest.raises(FcmTokenInvalid):
        token_of(platform, token)


def test_settings_that_cannot_work_are_named_at_the_start() -> None:
    http, clock = HttpClient(Settings()), SystemClock()
    with pytest.raises(ValueError, match="service account"):
        Fcm(Settings(fcm_service_account="no json"), http, clock)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="client_email, private_key, token_uri"):
        Fcm(Settings(fcm_service_account='{"project_id": "p"}'), http, clock)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="APNS_TOPIC"):
        Apns(Settings(apns_key="x"), http, clock)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="VAPID_SUBJECT"):
        WebPush(Settings(vapid_private_key="x"), http, clock)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="32 bytes"):
        WebPush(Settings(vapid_private_key="AAAA", vapid_subject="mailto:a@example.com"), http, clock)  # type: ignore[arg-type]


def test_without_secrets_no_provider_is_used() -> None:
    settings = Settings()
    deps = push_deps(None, SqsPushQueue(settings), settings, SystemClock())  # type: ignore[arg-type]
    assert deps.senders == {}
    assert public_key(settings) == ""


def test_the_public_key_is_that_of_the_private_one() -> None:
    """The pair of RFC 8291, appendix A (application server)."""
    settings = Settings(vapid_private_key="yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw")  # type: ignore[arg-type]
    assert public_key(settings) == (
        "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"
    )


@pytest.mark.parametrize("body", ["", "x", "[]", "{}", '{"outbox_id": "1"}', '{"outbox_id": true}', "1"])
def test_messages_that_are_not_ours(body: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words differ
        PushMessage.parse(body)
    assert PushMessage.parse(PushMessage(7).body()) == PushMessage(7)
