"""Settings inside the charger: what it says and shows of its sampling, and which values it does not keep."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from evpower.config import get_settings
from evpower.db import Conn
from evpower.stations import disputes, sampling, service
from evpower.stations.disputes import Dispute, Step
from evpower.stations.repository import settings as rows

NOT_KEPT = "configuration_not_kept"
"""Event: a key has another value than we want, and is not set any more."""
SAMPLES_LESS_OFTEN = "samples_less_often"
"""Event: readings come less often than the charger says, or than we want."""


async def note_sampling(conn: Conn, station_id: str, items: Iterable[tuple[str, Any]]) -> bool:
    """Keep how often the charger samples by its configuration; whether that is news. ``items``: key, value."""
    news = False
    for key, value in items:
        if key.lower() == sampling.INTERVAL_KEY.lower():
            interval = sampling.interval_of(str(value or ""))
            if interval is not None:
                news = await rows.set_sample_interval(conn, station_id, interval) or news
    return news


async def note_observed_sampling(conn: Conn, station_id: str, interval_s: int, now: datetime) -> None:
    """Keep how often readings come; staff hear of it when they come less often than they should."""
    station = await service.resolve(conn, station_id)
    if station is None or not await rows.set_observed_interval(conn, station_id, interval_s):
        return
    wanted = station.meter_interval_s or get_settings().meter_sample_interval_s
    if interval_s > sampling.configured_interval_s(station.sample_interval_s, wanted):
        payload = {"interval_s": interval_s, "configured_s": station.sample_interval_s, "wanted_s": wanted}
        await service.add_event(conn, station_id, SAMPLES_LESS_OFTEN, now, payload=payload, severity="warning")


async def values_to_set(
    conn: Conn,
    station_id: str,
    present: Mapping[str, tuple[str, bool]],
    wanted: Mapping[str, str],
    now: datetime,
    *,
    after_boot: bool,
) -> dict[str, str]:
    """Keys to set now; those that are given up become an event, once.

    Args:
        present: key -> its value in the charger, and whether it is read-only.
        wanted: key, spelled as in ``present`` -> the value that we want.
        after_boot: the values are those after a restart, so one that is right has been kept.
    """
    kept = [key.lower() for key, value in wanted.items() if present[key][0] == value]
    if kept and after_boot:
        await rows.end_disputes(conn, station_id, kept)
    to_set = {}
    for key, value in wanted.items():
        shown, readonly = present[key]
        if shown == value:
            continue
        known = await rows.dispute(conn, station_id, key.lower())
        step = disputes.next_step(known, value, readonly=readonly)
        attempts = known.attempts if known is not None and known.wanted == value else 0
        if step is Step.SET:
            to_set[key] = value
            await rows.set_dispute(conn, station_id, key.lower(), Dispute(value, attempts + 1, given_up=False), now)
        elif step is Step.GIVE_UP:
            await rows.set_dispute(conn, station_id, key.lower(), Dispute(value, attempts, given_up=True), now)
            payload = {
                "key": key,
                "wanted": value,
                "value": shown,
                "reason": "read_only" if readonly else "reverts",
                "attempts": attempts,
            }
            await service.add_event(conn, station_id, NOT_KEPT, now, payload=payload, severity="warning")
    return to_set
