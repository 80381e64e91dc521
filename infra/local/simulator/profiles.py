"""Charging profiles of the simulated charger: kept, cleared, laid over each other and obeyed (OCPP 1.6 section 3.13).
Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

Profile = dict[str, Any]
MAX_STACK_LEVEL = 8
MAX_PROFILES = 20
MAX_PERIODS = 24
UNITS = ("A", "W")
VOLTS = 230.0
PHASES = 3


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
        schedule = profile["chargingSchedule"]
        if schedule["chargingRateUnit"] not in UNITS or len(schedule["chargingSchedulePeriod"]) > MAX_PERIODS:
            return "Rejected"
        same_id = [k for k, p in self.kept.items() if p["chargingProfileId"] == profile["chargingProfileId"]]
        if key not in self.kept and len(self.kept) - len(same_id) >= MAX_PROFILES:
            return "Rejected"
        for other in same_id:
            del self.kept[other]
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

    def composite(
        self,
        connector: int,
        start: datetime,
        seconds: int,
        unit: str,
        powers: dict[int, float],
        began: dict[int, datetime] | None = None,
    ) -> dict[str, Any]:
        """GetCompositeSchedule: what may flow from ``start`` on, in ``unit``.

        ``powers``: W that each connector can give; ``began``: when the charging on each busy connector began.
        """
        begins = began or {}
        periods: list[dict[str, Any]] = []
        for moment in self.changes(start, seconds, begins):
            at = start + timedelta(seconds=moment)
            if connector == 0:
                together = sum(self.limit(n, at, power, begins.get(n, start)) for n, power in powers.items())
                watts = min(together, self._ceiling(at))
            else:
                watts = self.limit(connector, at, powers[connector], begins.get(connector, start))
            limit = round(watts / (VOLTS * PHASES if unit == "A" else 1.0), 1)
            if not periods or periods[-1]["limit"] != limit:
                periods.append({"startPeriod": moment, "limit": limit})
        return {"duration": seconds, "chargingRateUnit": unit, "chargingSchedulePeriod": periods}

    def limit(self, connector: int, at: datetime, most_w: float, began: datetime, sharers: int = 1) -> float:
        """W that the connector may give at a moment; ``sharers`` connectors share what the charger may take."""
        own = self._highest([(connector, "TxProfile", n) for n in _LEVELS], at, began)
        # A connector's own default goes before the one of the whole charger.
        defaults = [(place, "TxDefaultProfile", n) for place in (0, connector) for n in _LEVELS]
        chosen = own if own is not None else self._highest(defaults, at, began)
        return min(most_w, self._ceiling(at) / sharers, most_w if chosen is None else chosen)

    def changes(self, start: datetime, seconds: float, began: dict[int, datetime]) -> list[int]:
        """Whole seconds after ``start`` at which a limit may change; 0 is the first of them."""
        found = {0}
        for profile in self.kept.values():
            for begin in {start, *began.values()}:
                found |= {second for second in _edges(profile, start, seconds, begin) if 0 < second < seconds}
        return sorted(found)

    def _ceiling(self, at: datetime) -> float:
        limit = self._highest([(0, "ChargePointMaxProfile", n) for n in _LEVELS], at, at)
        return float("inf") if limit is None else limit

    def _highest(self, keys: list[tuple[int, str, int]], at: datetime, began: datetime) -> float | None:
        """The limit in W of the last of ``keys`` whose profile says something about this moment."""
        for key in reversed(keys):
            if key in self.kept and (limit := _limit_at(self.kept[key], at, began)) is not None:
                return limit
        return None


_LEVELS = range(MAX_STACK_LEVEL + 1)


def _time(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _every(profile: Profile) -> int | None:
    """Seconds after which a recurring schedule begins again."""
    if profile["chargingProfileKind"] != "Recurring":
        return None
    return 7 * 86400 if profile.get("recurrencyKind") == "Weekly" else 86400


def _begin(profile: Profile, began: datetime) -> datetime:
    fixed = _time(profile["chargingSchedule"].get("startSchedule"))
    return began if profile["chargingProfileKind"] == "Relative" or fixed is None else fixed


def _limit_at(profile: Profile, at: datetime, began: datetime) -> float | None:
    schedule, valid_from, valid_to = profile["chargingSchedule"], profile.get("validFrom"), profile.get("validTo")
    if (valid_from and at < datetime.fromisoformat(valid_from)) or (
        valid_to and at >= datetime.fromisoformat(valid_to)
    ):
        return None
    passed = (at - _begin(profile, began)).total_seconds()
    if passed < 0:
        return None
    every = _every(profile)
    passed = passed if every is None else passed % every
    if passed >= schedule.get("duration", passed + 1):
        return None
    begun = [p for p in schedule["chargingSchedulePeriod"] if p["startPeriod"] <= passed]
    if not begun:
        return None
    factor = VOLTS * begun[-1].get("numberPhases", PHASES) if schedule["chargingRateUnit"] == "A" else 1.0
    return float(begun[-1]["limit"]) * factor


def _edges(profile: Profile, start: datetime, seconds: float, began: datetime) -> set[int]:
    """Seconds after ``start`` at which this profile may change its mind."""
    schedule, begin = profile["chargingSchedule"], _begin(profile, began)
    marks = [int(p["startPeriod"]) for p in schedule["chargingSchedulePeriod"]]
    marks += [int(schedule["duration"])] if "duration" in schedule else []
    every = _every(profile)
    lead = (begin - start).total_seconds()
    turns = [0] if every is None else range(int(-lead // every), int((seconds - lead) // every) + 1)
    found = {-int(-(lead + mark + turn * (every or 0)) // 1) for mark in marks for turn in turns}
    for bound in (_time(profile.get("validFrom")), _time(profile.get("validTo"))):
        if bound is not None:
            found.add(-int(-(bound - start).total_seconds() // 1))
    return found
