"""The charger's local authorization list (OCPP 1.6 sections 3.5.2, 5.10 and 5.15). Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class LocalList:
    """Id tags that the charger judges without asking. Id tags are case-insensitive (section 7.26)."""

    version: int = 0
    statuses: dict[str, str] = field(default_factory=dict)

    def update(self, payload: dict[str, Any], longest: int) -> str:
        """Apply SendLocalList; its status: Accepted, Failed or VersionMismatch."""
        version, entries = int(payload["listVersion"]), payload.get("localAuthorizationList") or []
        differential = payload["updateType"] == "Differential"
        if version <= 0 or len(entries) > longest:
            return "Failed"
        if differential and version <= self.version:
            return "VersionMismatch"
        if not differential and any("idTagInfo" not in entry for entry in entries):
            return "Failed"  # only a differential update removes tags
        if not differential:
            self.statuses.clear()
        for entry in entries:
            tag = str(entry["idTag"]).lower()
            if "idTagInfo" in entry:
                self.statuses[tag] = str(entry["idTagInfo"]["status"])
            else:
                self.statuses.pop(tag, None)
        self.version = version
        return "Accepted"

    def refuses(self, id_tag: str) -> bool:
        """The list names this tag and does not accept it."""
        return self.statuses.get(id_tag.lower(), "Accepted") != "Accepted"
