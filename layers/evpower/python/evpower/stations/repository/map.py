"""The map: places with their stations and connectors, in two queries whatever their number."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from psycopg.rows import tuple_row

from evpower.db import Conn
from evpower.stations.models import AdminStatus, Connector, Location, Station
from evpower.stations.repository.rows import (
    CONNECTOR,
    CONNECTOR_FIELDS,
    STATION,
    STATION_FIELDS,
    connector_of,
    station_of,
)

MapRow = tuple[Location | None, Station | None]

_LOCATION_FIELDS = tuple(field.name for field in fields(Location))
_LOCATION = ", ".join(f"l.{name}" for name in _LOCATION_FIELDS)
_STATION_ID = CONNECTOR_FIELDS.index("station_id")
_MAP = f"SELECT {_LOCATION}, {STATION}"


async def map_of_locations(conn: Conn, location_ids: Sequence[str] | None) -> list[MapRow]:
    """Active locations (all, or these) by name, each with its stations that are not hidden, or with ``None``."""
    return await _map(
        conn,
        f"""{_MAP} FROM locations l LEFT JOIN stations s ON s.location_id = l.id AND s.status <> 'inactive'
             WHERE l.status = 'active' AND (%(all)s OR l.id = ANY(%(ids)s))
             ORDER BY l.name, l.id, s.serial_number""",
        {"all": location_ids is None, "ids": list(location_ids or ())},
    )


async def map_of_stations(conn: Conn) -> list[MapRow]:
    """All stations that are not hidden, themselves or with their location."""
    return await _map(
        conn,
        f"""{_MAP} FROM stations s LEFT JOIN locations l ON l.id = s.location_id
             WHERE s.status <> 'inactive' AND (l.id IS NULL OR l.status = 'active')
             ORDER BY s.serial_number""",
        {},
    )


async def map_around(conn: Conn, station_id: str, location_id: str | None) -> list[MapRow]:
    """One station, hidden or not, with its neighbours at the same location."""
    return await _map(
        conn,
        f"""{_MAP} FROM stations s LEFT JOIN locations l ON l.id = s.location_id
             WHERE s.id = %(station)s OR (s.location_id = %(location)s AND s.status <> 'inactive')
             ORDER BY s.serial_number""",
        {"station": station_id, "location": location_id},
    )


async def _map(conn: Conn, query: str, values: Mapping[str, Any]) -> list[MapRow]:
    # Rows as tuples: locations and stations share column names.
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(query, values)
        width = len(_LOCATION_FIELDS)
        return [(_map_location(row[:width]), _map_station(row[width:])) for row in await cursor.fetchall()]


def _map_location(values: Sequence[Any]) -> Location | None:
    if values[0] is None:
        return None
    row = dict(zip(_LOCATION_FIELDS, values, strict=True))
    return Location(**{**row, "status": AdminStatus(row["status"])})


def _map_station(values: Sequence[Any]) -> Station | None:
    return None if values[0] is None else station_of(dict(zip(STATION_FIELDS, values, strict=True)))


async def connectors_by_station(conn: Conn, station_ids: Sequence[str]) -> dict[str, list[Connector]]:
    """Connectors of all these stations, each by number, in one query and one reading of its answer."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(
            f"""SELECT {CONNECTOR} FROM connectors c WHERE c.station_id = ANY(%s)
                 ORDER BY c.station_id, c.connector_number""",  # noqa: S608 - constant column list
            (list(station_ids),),
        )
        rows = await cursor.fetchall()
    found: dict[str, list[Connector]] = {}
    for row in rows:
        found.setdefault(row[_STATION_ID], []).append(connector_of(dict(zip(CONNECTOR_FIELDS, row, strict=True))))
    return found


# The number of the transaction that wrote a row is another one after each change of it.
_STATE = "(SELECT count(*) || ':' || coalesce(sum(xmin::text::bigint), 0) FROM {})"
_SHOWN = ("locations", "stations", "connectors", "tariff_plans", "tariff_rules")
_STATES = f"SELECT concat_ws('-', {', '.join(_STATE.format(name) for name in _SHOWN)}) AS state"


async def state(conn: Conn) -> str:
    """A word that each committed change of places, stations, connectors and tariffs makes another one."""
    row = await (await conn.execute(_STATES.encode())).fetchone()
    assert row is not None
    return str(row["state"])
