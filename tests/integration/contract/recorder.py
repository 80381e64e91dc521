"""Drives every route through real flows and keeps the answers, so that each shape is checked on a filled answer."""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec

from evpower.charging import meter
from evpower.charging import service as charging
from evpower.charging.models import FlushNumber, MeterUpdate, Reading
from evpower.clock import FrozenClock
from evpower.ids import new_id
from evpower.notifications import web_crypto
from tests.integration.contract.expected import ROUTES
from tests.integration.functions.api.conftest import CLIENT, OTHER, SERIAL, STATION, Api
from tests.integration.functions.api.login_world import Outbox, Phones
from tests.integration.functions.api.staff_world import FIRST, FIRST_OPERATOR, ROOT

DEVICE = {"fcm_token": "android-phone-1:APA91bExampleExampleExample", "platform": "android", "app_version": "1.1.4"}
CARD = {
    "amount": 250,
    "card_pan": "4000000000000002",
    "card_name": "TEST HOLDER",
    "card_cvv": "737",
    "card_year": "31",
    "card_month": "09",
    "email": "payer@example.com",
    "phone_number": "996700000001",
}
STORED_CARD = {"amount": 100, "card_token": "stored-card-1", "email": "payer@example.com"}

_PATHS = {row: (method, path) for row, method, path, _ in ROUTES}


def subscription(name: str) -> dict[str, Any]:
    """What a browser's PushSubscription says of itself."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    keys = {"p256dh": web_crypto.encode(web_crypto.point(key)), "auth": web_crypto.encode(bytes(16))}
    return {"endpoint": f"https://fcm.googleapis.com/fcm/send/{name}", "keys": keys}


@dataclass
class Recorder:
    """Calls routes by their row of the index."""

    api: Api
    answers: dict[str, list[httpx.Response]] = field(default_factory=lambda: defaultdict(list))
    bodies: dict[str, Any] = field(default_factory=dict)

    async def call(
        self,
        label: str,
        body: Any = None,
        *,
        query: str = "",
        client: str | None = CLIENT,
        bearer: str | None = None,
        **path: str,
    ) -> dict[str, Any]:
        """One request of row ``label`` (``"A2 staff"``: row A2, kept apart). It must succeed."""
        method, template = _PATHS[label.split()[0]]
        url = re.sub(r"\{(\w+)\}", lambda match: path[match[1]], template) + query
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else None
        answer = await self.api.call(method, url, body, client=None if bearer else client, headers=headers)
        assert answer.status_code in (200, 202), f"{label} {url}: {answer.status_code} {answer.text}"
        self.answers[label].append(answer)
        if body is not None:
            self.bodies[label] = body
        found: dict[str, Any] = answer.json()
        return found

    async def wait(self, **duration: float) -> None:
        """Let time pass, with the stations' heartbeats."""
        clock = self.api.deps.clock
        assert isinstance(clock, FrozenClock)
        clock.advance(timedelta(**duration))
        await self.api.sql("UPDATE stations SET last_heartbeat_at = %s", clock.now())

    async def reading(self, transaction_id: int, register_wh: int) -> None:
        """One MeterValues of the charger, with everything that a good charger measures."""
        now = self.api.deps.clock.now()
        async with self.api.db.transaction() as conn:
            context = await charging.meter_context(conn, STATION, transaction_id)
            assert context is not None
            reading = Reading(
                now,
                energy_wh=Decimal(register_wh),
                power_w=Decimal(22000),
                current_a=Decimal(55),
                voltage_v=Decimal(400),
                soc_percent=Decimal(41),
                temperature_c=Decimal(38),
            )
            state, flags = meter.apply_all(
                context.meter, (reading,), now, context.max_power_w, context.started_at, context.charger_started_at
            )
            update = MeterUpdate(
                STATION,
                self.api.epoch,
                context.connector_id,
                transaction_id,
                context.session_id,
                now,
                (reading,),
                meter=state,
                review=flags,
            )
            await charging.flush_readings(conn, FlushNumber(new_id(), 1), [update])


async def record(api: Api) -> Recorder:
    """All routes but cards."""
    from tests.integration.contract.recorder_commands import record_commands
    from tests.integration.contract.recorder_desk import record_desk
    from tests.integration.contract.recorder_messages import record_messages
    from tests.integration.contract.recorder_security import record_security
    from tests.integration.contract.recorder_state import record_state

    recorder = Recorder(api)
    await _public(recorder)
    await _login(recorder)
    await _topups(recorder)
    await _charge(recorder)
    await _legacy(recorder)
    await _favorites_and_history(recorder)
    await _push(recorder)
    await _admin(recorder)
    await record_desk(recorder)
    await record_commands(recorder)
    await record_messages(recorder)
    await record_security(recorder)
    await record_state(recorder)
    return recorder


async def _public(on: Recorder) -> None:
    for row in ("S1", "S2", "S3", "S4", "T2"):
        await on.call(row, client=None)
    fault = "UPDATE connectors SET ocpp_status = %s, error_code = %s WHERE connector_number = 2"
    await on.api.sql(fault, "Faulted", "GroundFailure")
    for station_id in (STATION, SERIAL):
        await on.call("T1", client=None, station_id=station_id)
        await on.call("T3", client=None, station_id=station_id)
        await on.call("G4", client=None, station_id=station_id)
    await on.api.sql(fault, "Available", None)
    await on.call("T3", client=None, station_id="st-2")
    await on.call("L1", client=None)
    await on.call("L1", client=None, query="?include_stations=true")
    await on.call("L2", client=None, location_id="loc-1")


async def _login(on: Recorder) -> None:
    phones = Phones.of(on.api)
    sms: Outbox = phones.sms
    ends = (("+996700000051", "A1", "A2", "A6"), ("+996700000052", "A7", "A8", "P2"))
    for phone, send, verify, end in ends:
        await on.call(send, {"phone": phone}, client=None)
        signed = await on.call(verify, {"phone": phone, "code": sms.code(phone)}, client=None)
        await on.api.sql(
            "UPDATE clients SET name = 'Test', email = %s WHERE id = %s", f"{end}@example.com", signed["user_id"]
        )
        await on.wait(seconds=61)
        await on.call(send, {"phone": phone}, client=None)
        signed = await on.call(verify, {"phone": phone, "code": sms.code(phone)}, client=None)
        bearer = signed["access_token"]
        await on.call("A3", {"refresh_token": signed["refresh_token"]}, client=None)
        await on.call("A5", bearer=bearer)
        await on.call("P1", bearer=bearer)
        await on.call("A4", {"refresh_token": signed["refresh_token"]}, client=None)
        await on.call("A13", bearer=bearer)
        await on.call(end, bearer=bearer)
    for phone, send, verify in (("+996700000061", "A1", "A2"), ("+996700000062", "A7", "A8")):
        staff_id = await phones.add_staff(f"staff-{verify}", phone, role="operator", admin_id=FIRST)
        await on.call(send, {"phone": phone}, client=None)
        signed = await on.call(f"{verify} staff", {"phone": phone, "code": sms.code(phone)}, client=None)
        assert signed["user"]["id"] == staff_id
        await on.call("A5 staff", bearer=signed["access_token"])
        await on.call("P1 staff", bearer=signed["access_token"])
    await on.call("A4", {"refresh_token": "demo-refresh-token"}, client=None)


async def _topups(on: Recorder) -> None:
    for top_up, cancel in (("B1", "Y12"), ("G9", "G17")):
        made = await on.call(top_up, {"amount": 200, "client_id": CLIENT})
        await on.call(cancel, invoice_id=made["invoice_id"])
    for top_up, check, status in (("B1", "Y7", "Y6"), ("G9", "G6", "G5")):
        made = await on.call(top_up, {"amount": 500, "client_id": CLIENT, "description": "from the app"})
        invoice = made["invoice_id"]
        await on.call(status, invoice_id=invoice)
        await on.call(check, invoice_id=invoice)
        await on.call("Y5", {"invoice_id": invoice})
        on.api.standin.behaviour.callbacks = 0
        on.api.standin.pay(invoice)
        await on.call("Y5", {"order_id": made["order_id"]})
        await on.call(status, invoice_id=invoice)
        await on.call("Y3", query=f"?invoice_id={invoice}")
        await on.call("Y3", query=f"?order_id={made['order_id']}")
        await on.wait(minutes=1)
    await on.call("B3")
    await on.call("B5", client_id=CLIENT)
    await on.call("G8", client_id=CLIENT)
    await on.call("B3", client=OTHER)


async def _charge(on: Recorder) -> None:
    await on.api.sql("UPDATE clients SET email = id || '@example.com'")
    statuses = ("C3", "C5", "G3")
    limits: tuple[dict[str, Any], ...] = ({}, {"energy_kwh": 10}, {"amount_som": 300})
    for number, limit in enumerate(limits):
        legacy = number == 1
        body = {"station_id": SERIAL, "connector_id": 1, **limit}
        started = await on.call("G1" if legacy else "C1", {**body, "client_id": CLIENT})
        session_id = started["session_id"]
        for row in statuses:
            await on.call(row, session_id=session_id)
        transaction_id = await on.api.charger_starts(session_id, 1000)
        await on.wait(minutes=3)
        await on.reading(transaction_id, 2100)
        for row in statuses:
            await on.call(row, session_id=session_id)
        await on.call("D5", client=FIRST)
        if number == 2:
            await on.call("C2", {"session_id": session_id})
        await on.api.charger_stops(transaction_id, 2200)
        await on.call("G2" if legacy else "C2", {"session_id": session_id})
        for row in statuses:
            await on.call(row, session_id=session_id)
    await on.call("C1", {"station_id": SERIAL, "connector_id": 1, "energy_kwh": 5})


async def _legacy(on: Recorder) -> None:
    (row,) = await on.api.sql("SELECT id FROM charging_sessions WHERE state IN ('pending', 'charging')")
    await on.call("G2", {"session_id": row["id"]})


async def _favorites_and_history(on: Recorder) -> None:
    await on.call("F1")
    for _ in range(2):
        await on.call("F2", {"location_id": "loc-1"})
    await on.call("F2", {"location_id": "loc-2"})
    await on.call("F1")
    await on.call("F4", location_id="loc-1")
    for _ in range(2):
        await on.call("F5", location_id="loc-1")
    for _ in range(2):
        await on.call("F3", location_id="loc-1")
    for row in ("B4", "H2", "C4", "H1", "H3"):
        await on.call(row)
        await on.call(row, client=OTHER)
    await on.call("B4", query="?limit=1&offset=1")


async def _push(on: Recorder) -> None:
    browser = subscription("browser-1")
    for row in ("N1", "N3", "N1"):
        await on.call(row, DEVICE)
    await on.call("N4", client=None)
    await on.call("N5", {"subscription": browser})
    await on.call("N5", {"subscription": subscription("browser-2"), "user_type": "owner"}, client=FIRST)
    await on.call("N7")
    await on.call("N6", {"endpoint": browser["endpoint"]})
    await on.call("N2", {"fcm_token": DEVICE["fcm_token"]})
    await on.call("N2", {"fcm_token": DEVICE["fcm_token"]})


async def _admin(on: Recorder) -> None:
    await on.call("D4", {"price_per_kwh": 14, "session_fee": 5}, client=FIRST, station_id=STATION)
    await on.call("D1", client=FIRST, query="?period_days=1")
    await on.api.sql("UPDATE connectors SET ocpp_status = 'Faulted', error_code = 'GroundFailure'")
    for caller in (ROOT, FIRST_OPERATOR):
        listed = await on.call("D2", client=caller, query="?limit=100")
        await on.call("D3", client=caller, station_id=listed["data"]["stations"][0]["id"])
    await on.call("L6", client=FIRST, location_id="loc-1")
    history = await on.call("D6", client=ROOT, query="?status=stopped&limit=10")
    for session in history["data"]["sessions"]:
        await on.call("D7", client=ROOT, session_id=session["id"])
    await on.call("D8", client=FIRST, query="?status=active")
    await on.call("D6", client=ROOT)
    await on.call("D5", client=ROOT)
    await on.call("D8", client=ROOT)
    await on.call("D9", client=ROOT, client_id=CLIENT)
    await on.call("D10", {"amount": -50.5, "reason": "a correction"}, client=ROOT, client_id=OTHER)
    for word in ("blocked", "active"):
        await on.call("D11", client=ROOT, client_id=OTHER, query=f"?status={word}")
        await on.call("D8", client=ROOT)
    operator = await on.call("D13", {"phone": "+996700000071", "name": "Operator"}, client=FIRST)
    await on.call("D12", client=FIRST)
    await on.call("D14", client=FIRST, operator_id=operator["id"])
    await on.call("D15", client=FIRST, operator_id=operator["id"])
    body = {"email": "new@example.com", "password": "long enough", "role": "operator", "name": "New", "admin_id": FIRST}
    user = (await on.call("D18", {**body, "phone": "+996700000072"}, client=ROOT))["user"]
    await on.call("D16", client=ROOT)
    await on.call("D17", client=ROOT, user_id=user["id"])
    await on.call("D19", {"name": "Newer"}, client=ROOT, user_id=user["id"])
    await on.call("D20", client=ROOT, user_id=user["id"])
    await on.call("D21", client=ROOT, user_id=user["id"])


async def record_cards(api: Api) -> Recorder:
    """The card routes, in a network whose payments go to the bank."""
    on = Recorder(api)
    card, stored = {**CARD, "client_id": CLIENT}, {**STORED_CARD, "client_id": CLIENT}
    detail_of = {"G14": "G16"}
    for row in ("B2", "B7", "Y2", "Y8", "G10", "G11", "G14"):
        made = await on.call(row, card)
        await on.call(detail_of.get(row, "Y11"), transaction_id=made["transaction_id"])
        method, cancel = _PATHS["Y12"]
        await api.ok(method, cancel.format(invoice_id=made["transaction_id"]))
    for row in ("B8", "Y9", "Y4 payment", "G12"):
        made = await on.call(row, stored)
        await api.ok("POST", _PATHS["Y12"][1].format(invoice_id=made["transaction_id"]))
    await on.call("G15", query=f"?client_id={CLIENT}&amount=100.5&card_token=stored-card-1")
    for row in ("Y10", "Y4", "G13"):
        await on.call(row, {"days": 3})
        await on.call(row)
    return on
