"""Which path goes where: the one definition for the local gateway and for API Gateway and CloudFront."""

import re

WEBHOOK_PATHS = ("/api/v1/payment/webhook", "/api/payment/webhook")
"""POST goes to function ``payment_webhook``; any other method to ``api``."""

STREAM_PATHS = ("/api/v1/locations/stream", "/api/v1/ws/locations", "/api/v1/locations/ws/locations")
"""The app's WebSocket with live locations, by its present and its earlier names."""

CHARGER_PREFIXES = ("/ws", "/ocpp")
"""WebSockets of chargers: ``/ocpp/{station}``."""

OTP_PATHS = (
    "/api/v1/auth/send-otp",
    "/api/v1/auth/otp/send",
    "/api/v1/auth/verify-otp",
    "/api/v1/auth/otp/verify",
)
"""Login codes: each call may cost a text message or test a code."""

MAX_BODY_BYTES = 10 * 1024 * 1024
"""API Gateway's limit."""

_CHARGER_PATH = re.compile(rf"^({'|'.join(CHARGER_PREFIXES)})(/|$)")


def is_socket_path(path: str) -> bool:
    """Whether ``path`` belongs to the socket tier."""
    return path.rstrip("/") in STREAM_PATHS or _CHARGER_PATH.match(path) is not None
