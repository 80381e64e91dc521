"""Everybody who may knock: what they send, by name."""

import hashlib
import hmac
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import jwt

from evpower.auth import hmac_signature, own_tokens
from evpower.auth.models import AuthRequest
from evpower.auth.own_tokens import Grant
from evpower.ids import new_id
from tests.integration.functions.api.conftest import CLIENT, OTHER, SUPABASE_URL, Api, token
from tests.integration.functions.api.staff_world import (
    FIRST,
    FIRST_OPERATOR,
    FORMER,
    ROOT,
    SECOND,
    SECOND_OPERATOR,
)

BLOCKED, DELETED = "blocked-client", "deleted-client"

# Whose credential does not verify: like nobody on public routes, 401 on all others.
NOBODY = (
    "no token",
    "malformed token",
    "forged token",
    "unsigned token",
    "expired token",
    "expired own token",
    "wrong master key",
    "replayed signature",
    "signature with drift",
    "signature of another body",
    "signature in the seed's form",
)
_SUBJECTS = {
    "owner": CLIENT,
    "other client": OTHER,
    "blocked client": BLOCKED,
    "deleted client": DELETED,
    "operator": FIRST_OPERATOR,
    "other operator": SECOND_OPERATOR,
    "admin": FIRST,
    "other admin": SECOND,
    "superadmin": ROOT,
    "former admin": FORMER,
}
STAFF = ("operator", "other operator", "admin", "other admin", "superadmin", "former admin")
# The same person as "owner", proved in other ways.
OWNER = ("owner", "owner with own token", "owner by signature")
CALLERS = (*NOBODY, *OWNER, *(name for name in _SUBJECTS if name != "owner"), "master key")


@dataclass(frozen=True)
class Request:
    """One request of the matrix; ``path`` carries its query."""

    method: str
    path: str
    body: bytes = b""


@dataclass
class Gate:
    """Makes the headers of each caller."""

    api: Api
    _ticks: Iterator[int] = field(default_factory=itertools.count)

    async def headers(self, caller: str, request: Request) -> dict[str, str]:
        if caller in _SUBJECTS:
            return {"Authorization": f"Bearer {token(_SUBJECTS[caller])}"}
        if caller == "replayed signature":
            used = self._sign(request)
            await self.send(request, used)
            return used
        made: dict[str, Callable[[], dict[str, str]]] = {
            "no token": dict,
            "malformed token": lambda: _bearer("demo.access.token"),
            "forged token": lambda: _bearer(jwt.encode(_claims(), "another-secret-of-thirty-two-bytes!!", "HS256")),
            "unsigned token": lambda: _bearer(jwt.encode(_claims(), "", "none")),
            "expired token": lambda: _bearer(token(CLIENT, exp=1_600_000_000)),
            "expired own token": lambda: _bearer(self._own(hours_ago=2)),
            "wrong master key": lambda: {"X-API-Key": "guess"},
            "signature with drift": lambda: self._sign(request, offset_ms=-301_000),
            "signature of another body": lambda: self._sign(Request(request.method, request.path, b"{}  ")),
            "signature in the seed's form": self._seed_form,
            "owner with own token": lambda: _bearer(self._own()),
            "owner by signature": lambda: self._sign(request),
            "master key": lambda: {"X-API-Key": "test-master-key"},
        }
        return made[caller]()

    async def send(self, request: Request, headers: dict[str, str]) -> Any:
        """The answer to the request with these credentials."""
        sent = {"Content-Type": "application/json", **headers}
        return await self.api.http.request(request.method, request.path, content=request.body, headers=sent)

    def _own(self, hours_ago: int = 0) -> str:
        grant = Grant(CLIENT, "client", "login-of-nobody", "authenticated", None)
        issued = self.api.deps.clock.now() - timedelta(hours=hours_ago)
        return own_tokens.from_settings(self.api.deps.settings).issue(grant, issued)

    def _timestamp(self, offset_ms: int = 0) -> int:
        return int(self.api.deps.clock.now().timestamp() * 1000) + offset_ms

    def _sign(self, request: Request, offset_ms: int = 0) -> dict[str, str]:
        # A signature is good once: each needs a time of its own.
        parts = urlsplit(request.path)
        timestamp = self._timestamp(offset_ms - next(self._ticks))
        unsigned = AuthRequest(request.method, parts.path, parts.query, {}, request.body)
        signature = hmac_signature.sign("test-hmac-secret", unsigned, client_id=CLIENT, timestamp_ms=timestamp)
        return {"X-Client-Id": CLIENT, "X-Client-Timestamp": str(timestamp), "X-Client-Signature": signature}

    def _seed_form(self) -> dict[str, str]:
        timestamp = self._timestamp()
        signature = hmac.new(b"test-hmac-secret", f"{CLIENT}.{timestamp}".encode(), hashlib.sha256).hexdigest()
        return {"X-Client-Id": CLIENT, "X-Client-Timestamp": str(timestamp), "X-Client-Signature": signature}


def _bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


def _claims() -> dict[str, Any]:
    return {
        "iss": f"{SUPABASE_URL}/auth/v1",
        "aud": "authenticated",
        "sub": CLIENT,
        "exp": 4_000_000_000,
        "jti": new_id(),
    }
