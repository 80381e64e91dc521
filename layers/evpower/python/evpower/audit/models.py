"""One line of the audit log."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what, from where, and how it ended. ``amount`` is som; only its masked form is kept."""

    operation: str
    actor: str | None = None
    actor_role: str | None = None
    client_id: str | None = None
    client_ip: str | None = None
    method: str | None = None
    path: str | None = None
    amount: Decimal | None = None
    status: int | None = None
    error_code: str | None = None
    correlation_id: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
