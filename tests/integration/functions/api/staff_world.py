"""Two owners with a station each, their operators, and a superadmin."""

from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb

from evpower.ids import new_id, new_id_tag
from evpower.pricing.models import Price
from tests.integration.functions.api.conftest import CLIENT, Api

ROOT, FIRST, SECOND = "root", "first-admin", "second-admin"
FIRST_OPERATOR, SECOND_OPERATOR, ROOT_OPERATOR = "first-operator", "second-operator", "root-operator"
LONELY, ORPHAN, FORMER = "operator-without-admin", "operator-of-former-admin", "former-admin"
FIRST_STATION, SECOND_STATION = "st-1", "st-2"

# id: (role, admin, active)
STAFF: dict[str, tuple[str, str | None, bool]] = {
    ROOT: ("superadmin", None, True),
    FIRST: ("admin", None, True),
    SECOND: ("admin", None, True),
    FORMER: ("admin", None, False),
    FIRST_OPERATOR: ("operator", FIRST, True),
    SECOND_OPERATOR: ("operator", SECOND, True),
    ROOT_OPERATOR: ("operator", ROOT, True),
    LONELY: ("operator", None, True),
    ORPHAN: ("operator", FORMER, True),
}
SEES = {
    ROOT: {FIRST_STATION, SECOND_STATION},
    ROOT_OPERATOR: {FIRST_STATION, SECOND_STATION},
    FIRST: {FIRST_STATION},
    FIRST_OPERATOR: {FIRST_STATION},
    SECOND: {SECOND_STATION},
    SECOND_OPERATOR: {SECOND_STATION},
    LONELY: set(),
    ORPHAN: set(),
}


async def build(api: Api) -> None:
    """st-1 is the first admin's own; st-2 stands at a location of the second one."""
    for user_id, (role, admin_id, is_active) in STAFF.items():
        await api.sql(
            "INSERT INTO users (id, email, role, admin_id, is_active) VALUES (%s, %s, %s, %s, %s)",
            user_id,
            f"{user_id}@example.com",
            role,
            admin_id,
            is_active,
        )
    await api.sql("UPDATE stations SET user_id = %s WHERE id = %s", FIRST, FIRST_STATION)
    await api.sql(
        "INSERT INTO locations (id, name, address, admin_id) VALUES ('loc-2', 'South', 'Street 2', %s)", SECOND
    )
    await api.add_station(SECOND_STATION, location_id="loc-2")


async def add_session(
    api: Api, station_id: str, *, client_id: str = CLIENT, state: str = "stopped", **columns: Any
) -> str:
    """A session of 10 kWh for 135 som, without its ledger rows."""
    values: dict[str, Any] = {
        "id": new_id(),
        "user_id": client_id,
        "station_id": station_id,
        "connector_id": 1,
        "id_tag": new_id_tag(),
        "state": state,
        "price": Jsonb(Price(Decimal("13.5")).to_json()),
        "energy_wh": 10_000,
        "amount": 135,
        "final_amount": 135 if state == "stopped" else None,
        "taken_amount": 135 if state == "stopped" else 200,
        "created_at": api.deps.clock.now(),
        "start_time": api.deps.clock.now(),
        "charging_started_at": api.deps.clock.now(),
        "stop_time": api.deps.clock.now() if state == "stopped" else None,
        **columns,
    }
    marks = ", ".join(["%s"] * len(values))
    await api.sql(f"INSERT INTO charging_sessions ({', '.join(values)}) VALUES ({marks})", *values.values())
    session_id: str = values["id"]
    return session_id


def check(value: Any, shape: Any, path: str = "") -> None:
    """``value`` has exactly the members of ``shape``, each of its type, and no others.

    A shape is a type, a tuple of types (with ``NoneType``: nullable), a list with the shape of its items, or a dict.
    """
    if isinstance(shape, dict):
        assert isinstance(value, dict), path
        assert set(value) == set(shape), path
        for name, inner in shape.items():
            check(value[name], inner, f"{path}.{name}")
    elif isinstance(shape, list):
        assert isinstance(value, list), path
        assert value, f"{path} is empty, so nothing was checked"
        for item in value:
            check(item, shape[0], f"{path}[]")
    else:
        kinds = shape if isinstance(shape, tuple) else (shape,)
        assert isinstance(value, kinds), f"{path}: {value!r}"
        assert not isinstance(value, bool) or bool in kinds, f"{path}: {value!r}"


NUMBER = (int, float)
MAYBE_TEXT = (str, type(None))
MAYBE_NUMBER = (int, float, type(None))
