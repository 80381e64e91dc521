"""The present public status of every location and station, kept while somebody listens, with its differences.

The state is always read from PostgreSQL, never taken from a message: a change only says what to read again. Offline
is a matter of time, not of an event, so everything is read again at intervals as well.
"""

from collections.abc import Iterable

from evpower.clock import Clock
from evpower.db import Database
from evpower.realtime.events import Event, events_of
from evpower.stations import service as stations
from evpower.stations.models import LocationView


class StatusBoard:
    """Events by key as last read. Methods are not to be run concurrently: the stream has one refresher."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._events: dict[str, Event] = {}
        self._location_of: dict[str, str] = {}
        self.loaded = False

    def snapshot(self, channels: Iterable[str]) -> list[Event]:
        """Present events of these channels, locations before their stations."""
        wanted = set(channels)
        return [event for event in self._events.values() if event.channels & wanted]

    def forget(self) -> None:
        """Nobody listens: drop the state, which would grow stale."""
        self._events, self._location_of, self.loaded = {}, {}, False

    async def refresh(self, changed: set[str] | None) -> list[Event]:
        """Read the locations of the ``changed`` stations (None: everything); returns the events that differ."""
        places = None if changed is None or not self.loaded else self._places(changed)
        now = self._clock.now()
        if places is None:
            views = await self._database.run(lambda c: stations.list_locations(c, now, include_stations=True))
            self._location_of = {}
        else:
            wanted = places
            views = await self._database.run(lambda c: stations.location_views(c, wanted, now))
        return self._apply(views, complete=places is None)

    def _places(self, changed: set[str]) -> list[str] | None:
        """Locations of the stations; None when one is not known, for example because it is new."""
        found = {self._location_of.get(station) for station in changed}
        return None if None in found else sorted(place for place in found if place is not None)

    def _apply(self, views: list[LocationView], *, complete: bool) -> list[Event]:
        fresh: dict[str, Event] = {}
        for view in views:
            for event in events_of(view):
                fresh[event.key] = event
            for station in view.stations:
                self._location_of[station.station.id] = view.location.id
        before = self._events
        different = [event for key, event in fresh.items() if key not in before or before[key].body != event.body]
        if complete:
            self._events = fresh
        else:
            before.update(fresh)  # in place: a copy of everything for each change would be the dearest part of it
        self.loaded = True
        return different
