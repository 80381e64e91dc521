"""Demo data of the local system: three places in Bishkek, four stations, one driver. All invented.

It goes only into a database that holds no stations yet, so a database given by `DATABASE_URL` is never touched.
"""

from dataclasses import dataclass

import psycopg

CLIENT_ID = "00000000-0000-4000-8000-000000000001"
CLIENT_PHONE = "+996700000001"
SIMULATED_STATIONS = ("EVP-DEMO-1", "EVP-DEMO-2")

_LOCATIONS = (
    ("demo-location-1", "EvPower Ала-Тоо", "пр. Чуй, 136", 42.8766, 74.6037),
    ("demo-location-2", "EvPower Дордой Плаза", "ул. Ибраимова, 115", 42.8755, 74.6186),
    ("demo-location-3", "EvPower Южные Ворота", "ул. Байтик Баатыра, 76", 42.8235, 74.5950),
)
# serial number, place, model, connectors (type, kW), som per kWh; the last two have no simulated charger: offline
_STATIONS = (
    ("EVP-DEMO-1", "demo-location-1", "DC-60", (("CCS2", 60), ("GBT", 60)), "13.50"),
    ("EVP-DEMO-2", "demo-location-2", "AC-22", (("Type2", 22), ("Type2", 22)), "11.00"),
    ("EVP-DEMO-3", "demo-location-2", "DC-120", (("CCS2", 120), ("CHAdeMO", 50)), "15.00"),
    ("EVP-DEMO-4", "demo-location-3", "AC-7", (("Type2", 7),), "9.50"),
)


@dataclass(frozen=True, slots=True)
class DemoAccess:
    """What a user of the running system needs to try it."""

    client_id: str
    phone: str
    stations: tuple[str, ...]


def insert_demo_data(dsn: str) -> bool:
    """Insert places, stations and the driver unless there are stations; whether the demo data is there now."""
    with psycopg.connect(dsn) as conn:
        if conn.execute("SELECT 1 FROM stations LIMIT 1").fetchone() is not None:
            return conn.execute("SELECT 1 FROM clients WHERE id = %s", (CLIENT_ID,)).fetchone() is not None
        for identity, name, address, latitude, longitude in _LOCATIONS:
            conn.execute(
                "INSERT INTO locations (id, name, address, city, country, latitude, longitude)"
                " VALUES (%s, %s, %s, 'Бишкек', 'KG', %s, %s)",
                (identity, name, address, latitude, longitude),
            )
        for serial, location, model, connectors, price in _STATIONS:
            insert_station(conn, serial, location_id=location, model=model, connectors=connectors, price_per_kwh=price)
        # Simulated cars charge faster than any connector could (LocalOptions.time_scale): with a stated power the
        # server would take their energy for a broken meter. METER_MAX_POWER_KW bounds them instead.
        conn.execute(
            "UPDATE connectors c SET power_kw = NULL FROM stations s"
            " WHERE s.id = c.station_id AND s.serial_number = ANY(%s)",
            (list(SIMULATED_STATIONS),),
        )
        insert_client(conn, CLIENT_ID, CLIENT_PHONE, "Демо Водитель")
    return True


def insert_client(conn: "psycopg.Connection[tuple[object, ...]]", client_id: str, phone: str, name: str) -> None:
    """Insert a client with an empty balance."""
    conn.execute("INSERT INTO clients (id, phone, name) VALUES (%s, %s, %s)", (client_id, phone, name))


def insert_station(
    conn: "psycopg.Connection[tuple[object, ...]]",
    serial: str,
    *,
    location_id: str | None = None,
    model: str = "DC-60",
    connectors: tuple[tuple[str, float], ...] = (("CCS2", 60), ("CCS2", 60)),
    price_per_kwh: str | None = "13.50",
) -> str:
    """Insert a station with its connectors (type, kW); returns its id, which differs from the serial number."""
    station_id = f"station-{serial.lower()}"
    conn.execute(
        "INSERT INTO stations (id, serial_number, model, manufacturer, location_id, power_capacity, connector_types,"
        " price_per_kwh) VALUES (%s, %s, %s, 'EvPower Demo', %s, %s, %s, %s)",
        (
            station_id,
            serial,
            model,
            location_id,
            max(power for _, power in connectors),
            sorted({kind for kind, _ in connectors}),
            price_per_kwh,
        ),
    )
    for number, (kind, power) in enumerate(connectors, start=1):
        conn.execute(
            "INSERT INTO connectors (station_id, connector_number, connector_type, power_kw) VALUES (%s, %s, %s, %s)",
            (station_id, number, kind, power),
        )
    return station_id


def connected_stations(dsn: str, serials: tuple[str, ...]) -> int:
    """How many of the stations have a connection and are available."""
    with psycopg.connect(dsn) as conn:
        row = conn.execute(
            "SELECT count(*) FROM stations WHERE serial_number = ANY(%s) AND is_available"
            " AND connected_instance IS NOT NULL",
            (list(serials),),
        ).fetchone()
    assert row is not None
    return int(str(row[0]))
