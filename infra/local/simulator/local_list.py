"""The charger's local authorization list (OCPP 1.6 sections 3.5.2, 5.10 and 5.15). Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class LocalList:
    """Id tags that the charger judges without asking. Id tags are case-insensitive (section 7.26)."""

    version: int = 0
    statuses: dict[str, str] = field(default_factory=dict)

    def update(self, payload: dict[str, Any], longest: int, most: int = 10_000) -> str:
        """Apply SendLocalList; its status: Accepted, Failed or VersionMismatch.

        ``longest``: entries of one message (SendLocalListMaxLength); ``most``: of the list (LocalAuthListMaxLength).
        """
        version, entries = int(payload["listVersion"]), payload.get("localAuthorizationList") or []
        differential = payload["updateType"] == "Differential"
        if version <= 0 or len(entries) > longest:
            return "Failed"
        if differential and version <= self.version:
            return "VersionMismatch"
        if not differential and any("idTagInfo" not in entry for entry in entries):
            return "Failed"  # only a differential update removes tags
        statuses = dict(self.statuses) if differential else {}
        for entry in entries:
            tag = str(entry["idTag"]).lower()
            if "idTagInfo" in entry:
                statuses[tag] = str(entry["idTagInfo"]["status"])
            else:
                statuses.pop(tag, None)
        if len(statuses) > most:
            return "Failed"
        self.version, self.statuses = version, statuses
        return "Accepted"

    def refuses(self, id_tag: str) -> bool:
        """The list names this tag and does not accept it."""
        return self.statuses.get(id_tag.lower(), "Accepted") != "Accepted"
