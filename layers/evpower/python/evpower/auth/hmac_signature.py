"""HMAC request signatures, for callers that cannot hold a token. Pure: time and replay memory come from outside.

Version 2, ``X-Client-Signature: v2=<hex>``, is HMAC-SHA256 with the shared secret over these lines joined by ``\\n``::

    v2
    {X-Client-Id}
    {X-Client-Timestamp, milliseconds since the epoch}
    {METHOD}
    {path, percent-decoded}
    {query: pairs sorted by name and value, form-encoded}
    {lower-case hex SHA-256 of the body}

The seed's form is a bare hex HMAC-SHA256 over ``client_id.timestamp``. It does not bind the request, so it is off
unless ``HMAC_LEGACY_ENABLED`` is set. Both are good once, within 5 minutes of their timestamp.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl, urlencode

from evpower.auth.models import AuthRequest, TokenRefused

MAX_DRIFT_S = 300
_CLIENT_ID = re.compile(r"[\x21-\x7e]{1,128}")
_MILLISECONDS = re.compile(r"[0-9]{10,16}")


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A verified signature; ``nonce`` identifies it for the single-use check."""

    client_id: str
    nonce: str


def canonical_query(query: str) -> str:
    """The query in an order that no proxy on the way can change."""
    return urlencode(sorted(parse_qsl(query, keep_blank_values=True)))


def sign(secret: str, request: AuthRequest, *, client_id: str, timestamp_ms: int) -> str:
    """Value of ``X-Client-Signature`` (version 2) for a request."""
    message = "\n".join(
        (
            "v2",
            client_id,
            str(timestamp_ms),
            request.method.upper(),
            request.path,
            canonical_query(request.query),
            hashlib.sha256(request.body).hexdigest(),
        )
    )
    return f"v2={_hex(secret, message)}"


def verify(secret: str, request: AuthRequest, *, now: datetime, legacy_enabled: bool) -> SignedRequest:
    """Check the signature headers of a request.

    Raises:
        TokenRefused: a header is missing or malformed, the clock differs by more than 5 minutes, or the signature is
            another one.
    """
    client_id = request.headers.get("x-client-id", "")
    timestamp = request.headers.get("x-client-timestamp", "")
    signature = request.headers.get("x-client-signature", "")
    if not secret:
        raise TokenRefused("no HMAC secret is configured")
    if not _CLIENT_ID.fullmatch(client_id) or not _MILLISECONDS.fullmatch(timestamp):
        raise TokenRefused("malformed HMAC headers")
    if abs(now.timestamp() - int(timestamp) / 1000) > MAX_DRIFT_S:
        raise TokenRefused("HMAC timestamp outside the window")
    if signature.startswith("v2="):
        expected = sign(secret, request, client_id=client_id, timestamp_ms=int(timestamp))
    elif legacy_enabled:
        expected = _hex(secret, f"{client_id}.{timestamp}")
        signature = signature.lower()
    else:
        raise TokenRefused("HMAC form not accepted")
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise TokenRefused("HMAC signature differs")
    # The nonce comes from what was computed, so that no respelling of a header makes a second one.
    return SignedRequest(client_id, hashlib.sha256(f"{client_id}:{expected}".encode()).hexdigest())


def _hex(secret: str, message: str) -> str:
    return hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()
