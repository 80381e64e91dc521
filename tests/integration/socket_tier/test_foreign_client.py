"""A charger that is not ours: the ``ChargePoint`` of the package ``ocpp``, which checks everything it gets and sends
against its schemas, plays a whole charge and answers every command.

Unlike the raw charger it fails by itself where a message of ours is not in order: a request of ours is answered with an
error, an answer of ours raises.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from ocpp.charge_point import camel_to_snake_case
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from evpower.charging import service as charging
from evpower.charging.models import SessionState
from evpower.commands.models import CommandStatus
from evpower.db import Conn, PooledDatabase
from socket_tier.tier import SocketTier
from tests.fakes.charging_story import Story, sample, stamp
from tests.fakes.network import Network, balance_of, money_faults
from tests.fakes.ocpp16_commands import CASES
from tests.fakes.stations import until
from tests.integration.socket_tier.conftest import url
from tests.integration.socket_tier.operator import STATION, Operator, status_is

CARD = "CARD-1"
CONFIGURATION = [
    {"key": "HeartbeatInterval", "readonly": False, "value": "30"},
    {"key": "MeterValuesSampledData", "readonly": False, "value": "Energy.Active.Import.Register"},
    {"key": "NumberOfConnectors", "readonly": True, "value": "2"},
]


class Bare(ChargePoint):  # type: ignore[misc]
    """Knows no command: the package refuses each with NotImplemented."""

    async def ask(self, message: Any) -> dict[str, Any]:
        """Send ``message``; the members of its answer. An error, or an answer that breaks its schema, raises."""
        return dict(asdict(await self.call(message, suppress=False)))


class Foreign(Bare):
    """Answers every command: with ``words`` as ``status`` where given, else as a charger that does what it is told."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.words: dict[str, str] = {}

    def answer(self, action: str, request: dict[str, Any]) -> Any:
        self.asked.append((action, json.loads(json.dumps(request, default=float))))  # limits come as Decimal
        answer = CASES[action].good()
        if action == "GetConfiguration":
            answer = {"configurationKey": CONFIGURATION}
        if action in self.words:
            answer = {"status": self.words[action]}
        return getattr(call_result, action)(**camel_to_snake_case(answer))

    async def asked_for(self, action: str) -> dict[str, Any]:
        """Members of the newest request ``action``, once it has come."""
        found: list[dict[str, Any]] = []

        def came() -> bool:
            found[:] = [request for name, request in self.asked if name == action]
            return bool(found)

        await until(came, action)
        return found[-1]


def _handler(action: str) -> Callable[..., Any]:
    def handle(self: Foreign, **request: Any) -> Any:
        return self.answer(action, request)

    handle.__name__ = f"on_{action}"
    return on(action)(handle)  # type: ignore[no-any-return]


for _action in CASES:
    setattr(Foreign, f"on_{_action}", _handler(_action))


@asynccontextmanager
async def connected(tier: SocketTier, kind: type[Bare]) -> AsyncIterator[Any]:
    async with connect(url(tier), subprotocols=[Subprotocol("ocpp1.6")]) as socket:
        point = kind(STATION, socket, response_timeout=10)
        reading = asyncio.create_task(point.start())
        try:
            yield point
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError, ConnectionClosed):
                await reading


@pytest.fixture
async def operator(tier: SocketTier, db: PooledDatabase, network: Network) -> Operator:
    return Operator(tier, db)


@pytest.fixture
async def point(operator: Operator) -> AsyncIterator[Foreign]:
    """Booted; what the server asks for after a boot is over."""
    async with connected(operator.tier, Foreign) as point:
        boot = await point.ask(call.BootNotification(charge_point_model="Model", charge_point_vendor="Vendor"))
        assert boot["status"] == "Accepted"
        assert boot["interval"] > 0
        assert abs(datetime.fromisoformat(boot["current_time"]) - datetime.now(UTC)) < timedelta(seconds=10)
        await point.asked_for("ChangeConfiguration")
        await operator.quiet()
        yield point


async def readings(point: Foreign, transaction: int, *registers: int) -> None:
    for wh in registers:
        values = camel_to_snake_case(sample(wh, power_w="7000"))
        assert await point.ask(call.MeterValues(connector_id=1, transaction_id=transaction, meter_value=values)) == {}


async def give_card(db: PooledDatabase) -> None:
    async def work(conn: Conn) -> None:
        await conn.execute("INSERT INTO id_tags (id_tag, client_id) VALUES (%s, 'client-1')", (CARD,))

    await db.run(work)


async def test_it_boots_and_is_configured(operator: Operator, point: Foreign) -> None:
    changed = {request["key"]: request["value"] for action, request in point.asked if action == "ChangeConfiguration"}
    assert changed == {
        "HeartbeatInterval": "300",
        "MeterValuesSampledData": "Energy.Active.Import.Register,Power.Active.Import",
    }
    beat = await point.ask(call.Heartbeat())
    assert beat["current_time"].endswith("Z")
    for connector in (0, 1, 2):
        report = call.StatusNotification(
            connector_id=connector, error_code="NoError", status="Available", timestamp=stamp()
        )
        assert await point.ask(report) == {}
    await status_is(operator, 2, "Available")


async def test_a_charge_from_the_app(operator: Operator, point: Foreign, db: PooledDatabase, network: Network) -> None:
    started = await Story(db).request(energy_kwh=Decimal(5))
    assert operator.tier.dispatcher.submit(STATION, started.command_id)
    asked = await point.asked_for("RemoteStartTransaction")
    tag = asked["id_tag"]
    assert asked == {"connector_id": 1, "id_tag": tag}
    assert (await point.ask(call.Authorize(id_tag=tag)))["id_tag_info"] == {"status": "Accepted"}
    begun = await point.ask(call.StartTransaction(connector_id=1, id_tag=tag, meter_start=1000, timestamp=stamp()))
    assert begun["id_tag_info"] == {"status": "Accepted"}
    await point.ask(call.StatusNotification(connector_id=1, error_code="NoError", status="Charging"))
    await readings(point, begun["transaction_id"], 1050, 1100)

    async def stop(conn: Conn) -> Any:
        return await charging.request_stop(
            conn, started.session.id, client_id="client-1", initiator="client", reason="client", now=datetime.now(UTC)
        )

    stopped = await db.run(stop)
    assert operator.tier.dispatcher.submit(STATION, stopped.command_id)
    assert await point.asked_for("RemoteStopTransaction") == {"transaction_id": begun["transaction_id"]}
    answer = await point.ask(
        call.StopTransaction(
            transaction_id=begun["transaction_id"], meter_stop=1150, timestamp=stamp(), reason="Remote"
        )
    )
    assert answer["id_tag_info"] is None
    session = await Story(db).session(started.session.id)
    assert (session.state, session.energy_wh, session.final_amount) == (SessionState.STOPPED, 150, Decimal("2.03"))
    assert await balance_of(db, "client-1") == Decimal("497.97")  # 500 less 0.15 kWh at 13.50
    assert await money_faults(db) == []


async def test_a_charge_by_card(point: Foreign, db: PooledDatabase, network: Network) -> None:
    await give_card(db)
    assert (await point.ask(call.Authorize(id_tag="NOBODY")))["id_tag_info"] == {"status": "Invalid"}
    assert (await point.ask(call.Authorize(id_tag=CARD)))["id_tag_info"] == {"status": "Accepted"}
    begun = await point.ask(call.StartTransaction(connector_id=1, id_tag=CARD, meter_start=0, timestamp=stamp()))
    assert begun["id_tag_info"] == {"status": "Accepted"}
    await readings(point, begun["transaction_id"], 50)
    answer = await point.ask(
        call.StopTransaction(
            transaction_id=begun["transaction_id"],
            id_tag=CARD,
            meter_stop=100,
            timestamp=stamp(),
            reason="Local",
            transaction_data=camel_to_snake_case(sample(100)),
        )
    )
    assert answer["id_tag_info"] == {"status": "Accepted"}
    assert await balance_of(db, "client-1") == Decimal("498.65")  # 500 less 0.1 kWh at 13.50
    assert await money_faults(db) == []


async def test_its_reports_are_taken(point: Foreign, network: Network) -> None:
    reports = [
        call.DiagnosticsStatusNotification(status="Uploaded"),
        call.FirmwareStatusNotification(status="Installed"),
        call.LogStatusNotification(status="Uploading", request_id=1),
        call.LogStatusNotification(status="Idle", request_id=1),
        call.SignedFirmwareStatusNotification(status="SignatureVerified", request_id=1),
        call.SecurityEventNotification(type="StartupOfTheDevice", timestamp=stamp(), tech_info="power"),
    ]
    assert [await point.ask(report) for report in reports] == [{}] * len(reports)
    transfer = await point.ask(call.DataTransfer(vendor_id="vendor", message_id="message", data="{}"))
    assert transfer["status"] == "UnknownVendorId"
    # No authority is configured here.
    assert (await point.ask(call.SignCertificate(csr="none")))["status"] == "Rejected"


async def test_it_does_every_command(operator: Operator, point: Foreign) -> None:
    ended = {}
    for action, case in CASES.items():
        command = await operator.raw(action, **case.request)
        ended[action] = (command.status, command.error)
        assert camel_to_snake_case(case.request) == await point.asked_for(action)
    assert ended == dict.fromkeys(CASES, (CommandStatus.ACCEPTED, None))


async def test_it_refuses_every_command(operator: Operator, point: Foreign) -> None:
    ended, expected = {}, {}
    for action, case in CASES.items():
        for word in case.rejected:
            point.words = {action: word}
            command = await operator.raw(action, **case.request)
            ended[action, word] = (command.status, command.response)
            expected[action, word] = (CommandStatus.REJECTED, {"status": word})
    assert ended == expected


async def test_it_knows_no_command(operator: Operator) -> None:
    async with connected(operator.tier, Bare) as point:
        await point.ask(call.Heartbeat())
        ended = {}
        for action, case in CASES.items():
            command = await operator.raw(action, **case.request)
            assert command.error is not None
            ended[action] = (command.status, command.error.partition(":")[0])
    assert ended == dict.fromkeys(CASES, (CommandStatus.FAILED, "NotImplemented"))
