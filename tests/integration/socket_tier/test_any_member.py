"""Whatever one member of a transaction message is: a stop that names a running transaction ends it, with an answer."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evpower.charging import service as charging
from evpower.charging.models import SessionState, Started, StartRequest
from evpower.clock import SystemClock
from evpower.config import Settings
from evpower.db import Conn, PooledDatabase
from evpower.stations import service as stations
from socket_tier.charger import Charger
from socket_tier.connection import ChargerConnection
from socket_tier.meter_flush import MeterFlush
from socket_tier.ocpp16.routes import DIALECT
from socket_tier.services import Services
from tests.fakes.charging_story import sample, stamp
from tests.fakes.network import add_client, build, money_faults

HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.5, 2**31, -(2**63), 2**64 - 1, 1e308, -0.0, "", " ", "\x00", "x" * 300, "ꙮ" * 60,
    "2026-02-30T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:60Z", "NaN", "1e999", "20150", "20150.7",
    [], {}, [[]], [None], {"": {}}, [{}], [{"sampledValue": [{}]}], [{"timestamp": {}, "sampledValue": "5"}], "[{}]",
)  # fmt: skip
MISSING: Any = object()
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(HOSTILE),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=12), inner, max_size=4
    ),
    max_leaves=12,
)  # fmt: skip
MEMBERS = (
    ("StartTransaction", "connectorId"), ("StartTransaction", "idTag"), ("StartTransaction", "meterStart"),
    ("StartTransaction", "timestamp"), ("StartTransaction", "reservationId"),
    ("MeterValues", "connectorId"), ("MeterValues", "transactionId"), ("MeterValues", "meterValue"),
    ("StopTransaction", "idTag"), ("StopTransaction", "meterStop"), ("StopTransaction", "timestamp"),
    ("StopTransaction", "reason"), ("StopTransaction", "transactionData"),
)  # fmt: skip


class Link:
    """Keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def write(self, frame: bytes) -> bool:
        self.sent.append(orjson.loads(frame))
        return True

    def hold(self) -> None: ...

    def resume(self) -> None: ...

    async def close(self, code: int = 1000, reason: str = "") -> None: ...


class Player:
    """A charger without a network on a real database; each charge is at a station of its own."""

    def __init__(self, database: PooledDatabase, configured: Settings) -> None:
        self.database = database
        self.clock = SystemClock()
        self.number = 0
        self.services = Services(
            database=database,
            clock=self.clock,
            settings=configured,
            instance_id="test",
            flush=MeterFlush(database, charging.flush_readings, charging.quarantine_readings),
            dispatch=lambda _station, _command: True,
            changed=_nothing,
            drain=lambda _station: None,
        )

    async def connect(self) -> tuple[ChargerConnection, Link, Started]:
        self.number += 1
        station, client, now = f"station-{self.number}", f"payer-{self.number}", self.clock.now()
        network = await build(self.database, now, price="10", power_kw=150, balances=(), station_id=station)

        async def prepare(conn: Conn) -> Started:
            await add_client(conn, client, Decimal(500))
            return await charging.start(conn, StartRequest(client, station, 1, energy_kwh=Decimal(20)), now)

        started = await self.database.run(prepare)
        admission = await self.database.run(lambda conn: stations.load_for_admission(conn, station))
        assert admission is not None
        link = Link()
        return ChargerConnection(link, DIALECT, Charger(admission, network.epoch, self.services)), link, started

    async def charge(self, action: str, member: str, value: Any) -> None:
        """One charge in which one member of one message is ``value``."""
        connection, link, started = await self.connect()

        async def call(name: str, **payload: Any) -> Any:
            if name == action:
                payload[member] = value
            payload = {key: item for key, item in payload.items() if item is not MISSING}
            connection.receive(orjson.dumps([2, name, name, payload]))
            await connection.drained()
            return link.sent[-1]

        tag, station = started.session.id_tag, started.session.station_id
        answer = await call("StartTransaction", connectorId=1, idTag=tag, meterStart=20_000, timestamp=stamp())
        if answer[0] == 4:
            assert member == "connectorId", "only a start of which nobody knows the place is refused"
            return
        transaction = answer[2]["transactionId"]
        await call("MeterValues", connectorId=1, transactionId=transaction, meterValue=sample(20_100))
        answer = await call(
            "StopTransaction", transactionId=transaction, idTag=tag, meterStop=20_150, timestamp=stamp(),
            reason="Local", transactionData=sample(20_120),
        )  # fmt: skip
        assert answer[:2] == [3, "StopTransaction"]
        (row,) = await self.rows("SELECT status, session_id FROM ocpp_transactions WHERE station_id = %s", station)
        assert row["status"] == "stopped"
        session = await self.database.run(lambda conn: charging.get_session(conn, started.session.id, None))
        if row["session_id"] is None:  # the tag was not that of the session
            assert (action, member) == ("StartTransaction", "idTag")
            return
        assert session.state is SessionState.STOPPED
        if member not in ("meterStart", "meterStop"):
            assert session.energy_wh == 150

    async def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        async def work(conn: Conn) -> list[dict[str, Any]]:
            return await (await conn.execute(query, parameters)).fetchall()  # type: ignore[arg-type]

        return await self.database.run(work)


async def _nothing(_stations: list[str]) -> None:
    return None


@pytest.fixture
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_no_single_member_leaves_a_transaction_unsettled(quiet: None, make_settings: Callable[..., Settings]) -> None:
    with asyncio.Runner() as runner:
        database = PooledDatabase(make_settings(), size=3)
        runner.run(database.open())
        player = Player(database, make_settings())

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.sampled_from(MEMBERS), st.just(MISSING) | json_values)
        def play(place: tuple[str, str], value: Any) -> None:
            runner.run(player.charge(*place, value))

        try:
            play()
            assert runner.run(money_faults(database)) == []
        finally:
            runner.run(database.close())
