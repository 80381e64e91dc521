"""Charging profiles of the simulated charger: kept, cleared and laid over each other (OCPP 1.6 section 3.13). Pure.

They are reported, not obeyed: the simulated car charges as its battery and the connector allow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Profile = dict[str, Any]
MAX_STACK_LEVEL = 8
MAX_PROFILES = 20
VOLTS_TIMES_PHASES = 690.0


@dataclass(slots=True)
class Profiles:
    """Profiles by connector (0: the whole charger), purpose and stack level: a second one replaces the first."""

    kept: dict[tuple[int, str, int], Profile] = field(default_factory=dict)

    def put(self, connector: int, profile: Profile, *, charging: bool) -> str:
        """Apply SetChargingProfile; its status. ``charging``: a transaction runs on the connector."""
        purpose, level = str(profile["chargingProfilePurpose"]), int(profile["stackLevel"])
        misplaced = (purpose == "ChargePointMaxProfile") is not (connector == 0) and purpose != "TxDefaultProfile"
        key = (connector, purpose, level)
        if misplaced or not 0 <= level <= MAX_STACK_LEVEL or (purpose == "TxProfile" and not charging):
            return "Rejected"
        same_id = [k for k, p in self.kept.items() if p["chargingProfileId"] == profile["chargingProfileId"]]
        for other in same_id:
            del self.kept[other]
        if key not in self.kept and len(self.kept) >= MAX_PROFILES:
            return "Rejected"
        self.kept[key] = profile
        return "Accepted"

    def clear(self, wanted: dict[str, Any]) -> str:
        """Apply ClearChargingProfile (section 5.5): by id alone, else by all criteria given; its status."""
        if "id" in wanted:
            found = [key for key, profile in self.kept.items() if profile["chargingProfileId"] == wanted["id"]]
        else:
            criteria = [wanted.get("connectorId"), wanted.get("chargingProfilePurpose"), wanted.get("stackLevel")]
            found = [
                key
                for key in self.kept
                if all(want is None or want == have for want, have in zip(criteria, key, strict=True))
            ]
        for key in found:
            del self.kept[key]
        return "Accepted" if found else "Unknown"

    def end_transaction(self, connector: int) -> None:
        """A TxProfile ends with its transaction."""
        self.clear({"connectorId": connector, "chargingProfilePurpose": "TxProfile"})

    def composite(self, connector: int, start: datetime, seconds: int, unit: str, most_w: float) -> dict[str, Any]:
        """What may flow from ``start`` on: the lowest of the charger's limit and the connector's, in ``unit``."""
        moments = sorted({0, *(m for p in self.kept.values() for m in _changes(p, start, seconds))})
        periods: list[dict[str, Any]] = []
        for moment in moments:
            limit = round(min(most_w, *self._limits(connector, start, moment)) / _factor(unit), 1)
            if not periods or periods[-1]["limit"] != limit:
                periods.append({"startPeriod": moment, "limit": limit})
        return {"duration": seconds, "chargingRateUnit": unit, "chargingSchedulePeriod": periods}

    def _limits(self, connector: int, start: datetime, moment: int) -> list[float]:
        levels = range(MAX_STACK_LEVEL + 1)
        ceiling = self._highest([(0, "ChargePointMaxProfile", n) for n in levels], start, moment)
        own = self._highest([(connector, "TxProfile", n) for n in levels], start, moment)
        # A connector's own default goes before the one of the whole charger.
        defaults = [(place, "TxDefaultProfile", n) for place in (0, connector) for n in levels]
        default = self._highest(defaults, start, moment)
        chosen = own if own is not None else default
        return [float("inf"), *(limit for limit in (ceiling, chosen) if limit is not None)]

    def _highest(self, keys: list[tuple[int, str, int]], start: datetime, moment: int) -> float | None:
        """The limit in W of the last of ``keys`` whose profile says something about this moment."""
        for key in reversed(keys):
            if key in self.kept and (limit := _limit_at(self.kept[key], start, moment)) is not None:
                return limit
        return None


def _factor(unit: str) -> float:
    return VOLTS_TIMES_PHASES if unit == "A" else 1.0


def _offset(profile: Profile, start: datetime) -> int:
    """Seconds from the begin of the profile's schedule to ``start``; a relative one begins now."""
    began = profile["chargingSchedule"].get("startSchedule")
    if profile["chargingProfileKind"] == "Relative" or began is None:
        return 0
    passed = int((start - datetime.fromisoformat(began)).total_seconds())
    if profile["chargingProfileKind"] == "Recurring":
        return passed % (7 * 86400 if profile.get("recurrencyKind") == "Weekly" else 86400)
    return passed


def _limit_at(profile: Profile, start: datetime, moment: int) -> float | None:
    schedule = profile["chargingSchedule"]
    at = _offset(profile, start) + moment
    if at < 0 or at >= schedule.get("duration", at + 1):
        return None
    begun = [p for p in schedule["chargingSchedulePeriod"] if p["startPeriod"] <= at]
    return float(begun[-1]["limit"]) * _factor(schedule["chargingRateUnit"]) if begun else None


def _changes(profile: Profile, start: datetime, seconds: int) -> list[int]:
    """Moments after ``start`` at which the profile's limit may change."""
    schedule, offset = profile["chargingSchedule"], _offset(profile, start)
    starts = [int(p["startPeriod"]) - offset for p in schedule["chargingSchedulePeriod"]]
    ends = [int(schedule["duration"]) - offset] if "duration" in schedule else []
    return [moment for moment in starts + ends if 0 < moment < seconds]
