"""Prices on a real database: loading, freezing, promo codes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

import pytest
from psycopg.types.json import Jsonb

from evpower.config import Settings
from evpower.db import Conn, PooledDatabase
from evpower.errors import InvalidRequest
from evpower.pricing import service
from evpower.pricing.models import DiscountType, Price
from evpower.stations import service as stations
from evpower.stations.models import Connector, Station
from tests.integration.evpower.stations.rows import NOW, add_station, insert, one

D = Decimal
CLIENT = "client-1"


@pytest.fixture
async def api(make_settings: Callable[..., Settings]) -> AsyncIterator[PooledDatabase]:
    database = PooledDatabase(make_settings(database_role="evpower_api"), size=4)
    await database.open()
    yield database
    await database.close()


async def set_up(conn: Conn, **station: object) -> tuple[Station, Connector]:
    await insert(conn, "clients", id=CLIENT, phone="+996700000001")
    await insert(conn, "tariff_plans", id="plan", name="City")
    await add_station(conn, **station)  # type: ignore[arg-type]
    found = await stations.resolve(conn, "st-1")
    connector = await stations.lock_connector(conn, "st-1", 1)
    assert found is not None
    assert connector is not None
    return found, connector


async def add_rule(conn: Conn, name: str, price: object, tariff_type: str = "per_kwh", **values: object) -> None:
    row = {"id": name, "tariff_plan_id": "plan", "tariff_type": tariff_type, "price": price, "name": name, **values}
    await insert(conn, "tariff_rules", **row)


async def test_default_comes_from_the_settings(db: PooledDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFAULT_PRICE_PER_KWH", "15.25")
    async with db.transaction() as conn:
        station, connector = await set_up(conn)
        assert (await service.price_for(conn, station, connector, CLIENT, NOW)).rate_per_kwh == D("15.25")


async def test_plan_of_the_station_with_all_columns(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        station, connector = await set_up(conn, tariff_plan_id="plan")
        await add_rule(conn, "base", "13.5")
        await add_rule(conn, "fee", 20, "session_fee")
        await add_rule(conn, "off", 1, priority=99, is_active=False)
        await add_rule(conn, "other type", 2, priority=98, connector_type="CHAdeMO")
        await add_rule(conn, "too strong", 3, priority=97, power_range_min=100)
        await add_rule(conn, "over", 4, priority=96, valid_until=NOW - timedelta(days=3))
        await add_rule(conn, "later", 5, priority=95, valid_from=NOW + timedelta(days=3))
        await add_rule(conn, "weekend", 6, priority=94, days_of_week=[6, 7])
        # NOW is Wednesday, noon in Bishkek
        await add_rule(
            conn,
            "noon",
            "12.3456",
            priority=10,
            connector_type="CCS2",
            power_range_min=50,
            power_range_max=60,
            time_start=time(11),
            time_end=time(13),
            is_weekend=False,
            valid_from=NOW - timedelta(days=30),
        )
        price = await service.price_for(conn, station, connector, CLIENT, NOW)
    assert (price.rate_per_kwh, price.session_fee, price.rule_id) == (D("12.3456"), D(20), "noon")
    assert price.next_rate_change == datetime(2026, 3, 11, 7, 1, tzinfo=UTC)
    assert (price.time_based, price.tariff_plan_id) == (True, "plan")


async def test_inactive_plan_gives_nothing(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        station, connector = await set_up(conn, tariff_plan_id="plan")
        await add_rule(conn, "base", 10)
        await conn.execute("UPDATE tariff_plans SET is_active = false")
        assert (await service.price_for(conn, station, connector, CLIENT, NOW)).active_rule == "default"


async def test_what_operators_write_and_python_cannot_hold(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        station, connector = await set_up(conn, tariff_plan_id="plan")
        await add_rule(
            conn, "always", 11, time_start="00:00", time_end="24:00", valid_from="-infinity", valid_until="infinity"
        )
        await add_rule(conn, "never", 1, priority=9, valid_from="infinity")
        await insert(
            conn,
            "client_tariffs",
            client_id=CLIENT,
            fixed_rate_per_kwh=7,
            valid_from="-infinity",
            valid_until="infinity",
        )
        assert (await service.price_for(conn, station, connector, None, NOW)).rate_per_kwh == D(11)
        assert (await service.price_for(conn, station, connector, CLIENT, NOW)).rate_per_kwh == D(7)


async def test_client_tariff_by_plan_that_is_not_the_stations(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        station, connector = await set_up(conn, price_per_kwh=14)
        await add_rule(conn, "base", 10)
        await insert(
            conn,
            "client_tariffs",
            client_id=CLIENT,
            tariff_plan_id="plan",
            discount_percent="12.50",
            valid_from=NOW - timedelta(days=1),
        )
        mine = await service.price_for(conn, station, connector, CLIENT, NOW)
        assert (mine.rate_per_kwh, mine.is_client_tariff) == (D("8.75"), True)
        assert (await service.price_for(conn, station, connector, "somebody else", NOW)).rate_per_kwh == D(14)
        await conn.execute("UPDATE client_tariffs SET is_active = false")
        assert (await service.price_for(conn, station, connector, CLIENT, NOW)).rate_per_kwh == D(14)


async def test_computing_a_price_writes_nothing_and_freezing_one_row(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        station, connector = await set_up(conn, tariff_plan_id="plan")
        await add_rule(conn, "base", "13.5", valid_from=NOW - timedelta(days=1), time_start=time(0))
        price = await service.price_for(conn, station, connector, CLIENT, NOW)
        await service.price_for(conn, station, connector, CLIENT, NOW)
        assert (await one(conn, "SELECT count(*) AS n FROM pricing_history"))["n"] == 0
        history = await service.freeze(
            conn, price, station_id="st-1", connector_id=1, client_id=CLIENT, session_id="session"
        )
        row = await one(conn, "SELECT * FROM pricing_history")
    assert (row["id"], row["rate_per_kwh"], row["tariff_plan_id"], row["rule_id"]) == (
        history,
        D("13.5"),
        "plan",
        "base",
    )
    assert (row["station_id"], row["connector_id"], row["client_id"], row["session_id"]) == (
        "st-1",
        1,
        CLIENT,
        "session",
    )
    assert Price.from_json(row["details"]) == price


async def test_the_api_role_can_price_and_freeze_for_its_client(db: PooledDatabase, api: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await set_up(conn)
        await insert(conn, "client_tariffs", client_id=CLIENT, fixed_rate_per_kwh=7, valid_from=NOW)
    for client, rate in ((CLIENT, D(7)), ("other", D("13.5"))):
        async with api.transaction(claims={"sub": client}) as conn:
            station = await stations.resolve(conn, "st-1")
            assert station is not None
            price = await service.price_for(conn, station, None, CLIENT, NOW)
            assert price.rate_per_kwh == rate, "row security hides another client's tariff"
            assert await service.freeze(conn, price, station_id="st-1", connector_id=1, client_id=client) > 0


# --- Promo codes ------------------------------------------------------------------------------------------------------

PRICE = Price(D("13.5"))


async def add_session(conn: Conn, session_id: str, client: str, price: Price, state: str = "pending") -> None:
    await insert(
        conn,
        "charging_sessions",
        id=session_id,
        user_id=client,
        station_id="st-1",
        connector_id=int(session_id),
        id_tag=session_id,
        state=state,
        price=Jsonb(price.to_json()),
    )


async def test_promo_code_in_any_letter_case(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await set_up(conn)
        await insert(
            conn,
            "promo_codes",
            id="p",
            code="Spring",
            discount_type="percent",
            discount_value="12.5",
            max_discount_amount=30,
            min_charge_amount=50,
            valid_from="-infinity",
            valid_until="infinity",
        )
        price = await service.with_promo(conn, PRICE, " sPRING ", CLIENT, NOW)
    assert price.rate_per_kwh == PRICE.rate_per_kwh
    assert price.promo is not None
    assert (price.promo.id, price.promo.code, price.promo.discount_type) == ("p", "Spring", DiscountType.PERCENT)
    assert (price.promo.discount_value, price.promo.max_discount_amount, price.promo.min_charge_amount) == (
        D("12.5"),
        D(30),
        D(50),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"code": "OTHER"},
        {"is_active": False},
        {"valid_from": NOW + timedelta(seconds=1)},
        {"valid_until": NOW - timedelta(seconds=1)},
        {"usage_limit": 0},
        {"client_usage_limit": 0},
    ],
)
async def test_promo_code_that_is_not_valid(db: PooledDatabase, changes: dict[str, object]) -> None:
    row = {"code": "SPRING", "discount_type": "fixed", "discount_value": 10, **changes}
    async with db.transaction() as conn:
        await set_up(conn)
        await insert(conn, "promo_codes", **row)
        for code in ("SPRING", "SPR\0ING"):
            with pytest.raises(InvalidRequest):
                await service.with_promo(conn, PRICE, code, CLIENT, NOW)


async def test_settled_and_live_sessions_use_up_a_code(db: PooledDatabase, api: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await set_up(conn)
        await insert(conn, "clients", id="client-2")
        await insert(conn, "promo_codes", id="p", code="TWICE", discount_type="fixed", discount_value=10, usage_limit=2)
        price = await service.with_promo(conn, PRICE, "TWICE", CLIENT, NOW)
        await add_session(conn, "1", CLIENT, price, "stopped")
        await service.record_promo_use(conn, price, client_id=CLIENT, session_id="1", discount=D("10.00"))
    async with api.transaction(claims={"sub": "client-2"}) as conn:
        price = await service.with_promo(conn, PRICE, "TWICE", "client-2", NOW)
        await add_session(conn, "2", "client-2", price)
    async with api.transaction(claims={"sub": CLIENT}) as conn:
        with pytest.raises(InvalidRequest):
            await service.with_promo(conn, PRICE, "TWICE", CLIENT, NOW)


async def test_the_last_use_is_given_once(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await set_up(conn)
        await insert(conn, "promo_codes", code="ONCE", discount_type="fixed", discount_value=10, usage_limit=1)
        for number in range(1, 6):
            await insert(conn, "clients", id=f"racer-{number}")

    async def start(number: int) -> bool:
        async with db.transaction() as conn:
            try:
                price = await service.with_promo(conn, PRICE, "once", f"racer-{number}", NOW)
            except InvalidRequest:
                return False
            await add_session(conn, str(number), f"racer-{number}", price)
            return True

    assert sorted(await asyncio.gather(*(start(number) for number in range(1, 6)))) == [False] * 4 + [True]


async def test_a_use_is_recorded_once_whatever_the_number_of_settlements(db: PooledDatabase) -> None:
    async with db.transaction() as conn:
        await set_up(conn)
        await insert(conn, "promo_codes", code="SPRING", discount_type="fixed", discount_value=10)
        price = await service.with_promo(conn, PRICE, "SPRING", CLIENT, NOW)
        await add_session(conn, "1", CLIENT, price)
        uses: list[list[Decimal]] = []
        for discount in (D(0), D("10.00"), D("10.00"), D("7.50")):
            await service.record_promo_use(conn, price, client_id=CLIENT, session_id="1", discount=discount)
            cursor = await conn.execute("SELECT discount_amount FROM promo_code_usage")
            uses.append([row["discount_amount"] async for row in cursor])
        assert uses == [[], [D("10.00")], [D("10.00")], [D("7.50")]]
        await service.record_promo_use(conn, PRICE, client_id=CLIENT, session_id="1", discount=D(5))
        assert (await one(conn, "SELECT count(*) AS n FROM promo_code_usage"))["n"] == 1
