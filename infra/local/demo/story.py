"""The demo's story: top up 500 som, charge by amount until auto-stop, charge by energy until stopped by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from infra.local.demo.books import Books, differences
from infra.local.demo.driver import Driver, Spent
from infra.local.demo.phone import Phone
from infra.local.demo.transcript import Transcript

TOP_UP_SOM = 500
AMOUNT_LIMIT_SOM = 100
ENERGY_LIMIT_KWH = 20
READINGS_BEFORE_STOP = 3


@dataclass(slots=True)
class Story:
    """One telling. ``serials``: station serial numbers of the two charges (may be the same station).

    ``phone``: where notifications are watched, if anywhere.
    """

    driver: Driver
    serials: tuple[str, str]
    transcript: Transcript
    sessions: list[Spent] = field(default_factory=list)
    paid_in: list[float] = field(default_factory=list)
    phone: Phone | None = None
    _readings: int = 0

    async def tell(self) -> list[str]:
        """Play everything; returns what does not add up (nothing, if all is well)."""
        before = await self.driver.ledger()
        if self.phone is not None:
            self.transcript.line((await self.driver.register_phone(self.phone.push_token))["message"])
        await self._top_up()
        await self._charge_by_amount()
        await self._charge_by_energy()
        rows = await self.driver.ledger()
        balance = await self.driver.balance()
        self.transcript.chapter("The ledger")
        self.transcript.ledger(rows)
        earlier = [float(row["amount"]) for row in before if row["transaction_type"] == "balance_topup"]
        return differences(Books(balance, rows, earlier + self.paid_in, self.sessions))

    async def _top_up(self) -> None:
        say, driver = self.transcript, self.driver
        say.chapter(f"Top up {TOP_UP_SOM} som")
        before = await driver.balance()
        say.line(f"balance {before:.2f} som")
        top_up = await driver.top_up(TOP_UP_SOM)
        say.line(f"QR {top_up['qr_code_url']}, valid until {top_up['qr_expires_at']}")
        status = await driver.payment_status(top_up["invoice_id"])
        say.line(f"payment status {status['status']} ({status['status_text']})")
        await driver.pay(top_up)
        say.line("paid on the payment page")
        status = await driver.wait_paid(top_up["invoice_id"])
        say.line(f"payment status {status['status']} ({status['status_text']}), paid {status['paid_amount']:.2f} som")
        self.paid_in.append(status["paid_amount"])
        after = await driver.poll_balance(before + status["paid_amount"])
        say.line(f"balance {after:.2f} som")

    async def _charge_by_amount(self) -> None:
        """Charge for at most 100 som; the server stops before the limit would be passed."""
        say, driver = self.transcript, self.driver
        session_id = await self._start(self.serials[0], f"for {AMOUNT_LIMIT_SOM} som", amount_som=AMOUNT_LIMIT_SOM)
        await self._watch(session_id, lambda session: session["status"] != "started")
        say.line("the server stopped it: at this speed the limit might be passed before the charger has stopped")
        await self._finish(session_id)
        if self.sessions[-1].cost > AMOUNT_LIMIT_SOM:
            raise RuntimeError(f"the session cost {self.sessions[-1].cost} som, more than {AMOUNT_LIMIT_SOM}")
        say.line(f"balance {await driver.balance():.2f} som: what was reserved and not used is back")

    async def _charge_by_energy(self) -> None:
        """Charge for at most 20 kWh; the driver stops early."""
        say, driver = self.transcript, self.driver
        session_id = await self._start(self.serials[1], f"{ENERGY_LIMIT_KWH} kWh", energy_kwh=ENERGY_LIMIT_KWH)
        await self._watch(session_id, lambda session: self._readings >= READINGS_BEFORE_STOP)
        say.line("the driver presses Stop")
        answer = await driver.stop(session_id)
        say.line(f"{answer['message']} {answer['energy_consumed']:.3f} kWh, {answer['final_cost']:.2f} som")
        await driver.wait_session(session_id, lambda session: session["status"] != "started")
        await self._finish(session_id)
        say.line(f"balance {await driver.balance():.2f} som")

    async def _start(self, serial: str, limit: str, **limits: float) -> str:
        say, driver = self.transcript, self.driver
        say.chapter(f"Charge {limit} at {serial}")
        station = await driver.station(serial)
        free = next(connector for connector in station["connectors"] if connector["available"])
        say.line(f"{station['location_name']}, {station['model']}: connector {free['id']} ({free['type']}) is free")
        started = await driver.start(serial, free["id"], **limits)
        say.line(
            f"session {started['session_id']}: {started['reserved_amount']:.2f} som reserved "
            f"at {started['rate_per_kwh']:.2f} som/kWh, balance {started['current_balance']:.2f} som"
        )
        return str(started["session_id"])

    async def _watch(self, session_id: str, condition: Any) -> None:
        """Show each new reading until the condition holds."""
        shown: float = -1.0
        self._readings = 0

        def look(session: dict[str, Any]) -> object:
            nonlocal shown
            if session["energy_consumed"] > shown and session["energy_consumed"] > 0:
                shown = session["energy_consumed"]
                self._readings += 1
                self.transcript.line(
                    f"{shown:7.3f} kWh {session['current_cost']:7.2f} som "
                    f"{session.get('charging_power', 0):7.1f} kW  battery {session.get('ev_battery_soc', 0):.0f} %"
                )
            return condition(session)

        await self.driver.wait_session(session_id, look, timeout_s=120)

    async def _finish(self, session_id: str) -> None:
        spent = await self.driver.spent(session_id)
        self.sessions.append(spent)
        self.transcript.line(f"settled: {spent.energy_kwh:.3f} kWh x {spent.rate_per_kwh:.2f} = {spent.cost:.2f} som")
        if self.phone is not None:
            shown = await self.phone.wait_ended(session_id)
            self.transcript.line(f"the phone shows: {shown.title} | {shown.body}")
            if abs(float(shown.data["amount"]) - spent.cost) >= 0.005:
                raise RuntimeError(f"the notification says {shown.data['amount']} som, the bill {spent.cost}")
