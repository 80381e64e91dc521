"""Who is calling, and what a verifier needs to know about a request."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from evpower.db import Claims


class AuthMethod(StrEnum):
    """How the caller proved who it is."""

    OWN = "own"
    SUPABASE = "supabase"
    HMAC = "hmac"
    MASTER_KEY = "master_key"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller.

    ``subject`` is the client id (mobile-api.md §2.1: subject = client id); the master key has no subject of its own.
    """

    subject: str
    method: AuthMethod
    login_id: str | None = None
    """The login (row of ``refresh_tokens``) of an own token; other methods have none."""

    @property
    def is_master(self) -> bool:
        """The administrative key: never a client, so it owns no balance and no sessions."""
        return self.method is AuthMethod.MASTER_KEY

    def claims(self) -> Claims:
        """Claims of this caller's transactions; row policies compare ``sub`` as text (design.md §3, Edge)."""
        return {"sub": self.subject, "role": "authenticated"}


@dataclass(frozen=True, slots=True)
class AuthRequest:
    """The parts of an HTTP request that authentication may read. Header names are lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""


class TokenRefused(Exception):
    """A credential that does not verify; the text is for our log, never for the caller."""


class TokenExpired(TokenRefused):
    """A token that is good but for its time: it still proves whose it was."""

    def __init__(self, reason: str, subject: str) -> None:
        super().__init__(reason)
        self.subject = subject
