"""Kill -9 at random while drivers charge and pay; then let it come to rest and ask the auditor.

Bounded in ``test_kill_nine.py``; at any scale by ``python -m tests.e2e.chaos --sessions N --kills K --seed S``.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

import httpx

from infra.local.configuration import LocalOptions
from infra.local.demo.driver import ApiError, Driver
from infra.local.simulator import ChargePoint
from infra.local.system import LocalSystem
from tests.e2e.auditor import lost_messages, money_findings, open_findings, uncredited_payments
from tests.e2e.world import World, place_of, serial_of

T = TypeVar("T")

SETTINGS = {
    "NO_CONNECTION_AFTER_S": "20",
    "STATION_OFFLINE_AFTER_S": "60",
    "METER_SAMPLE_INTERVAL_S": "1",
    "OCPP_CALL_TIMEOUT_S": "10",
    "RATE_LIMIT_DEFAULT_PER_MINUTE": "100000",
    "RATE_LIMIT_PUBLIC_PER_MINUTE": "100000",
    "RATE_LIMIT_FAILURES_PER_MINUTE": "100000",
    "RATE_LIMIT_CRITICAL_PER_MINUTE": "100000",
    "RATE_LIMIT_WEBHOOK_PER_MINUTE": "100000",
}
"""Environment of the system under chaos: the waits of hours and minutes made seconds, limits out of the way."""


class Victims(Protocol):
    """The running system as the killer sees it."""

    async def kill_nine(self, name: str, choice: random.Random) -> bool:
        """SIGKILL one process of that service and see to it that it is replaced. False: none was running."""
        ...

    async def sweep(self, name: str) -> None:
        """Invoke the sweeps function for one schedule, as EventBridge would; errors of the function are its own."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of it. ``lines``: drivers who charge at the same time, one connector each."""

    seed: int = 1
    sessions: int = 200
    kills: int = 50
    lines: int = 24
    rest_s: float = 120.0


@dataclass(slots=True)
class Report:
    """What was done and what the auditor found (nothing, if all is well)."""

    sessions: int = 0
    top_ups: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    retries: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    reconnects: int = 0
    findings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def lines(self) -> list[str]:
        """As text."""
        return [
            f"{self.sessions} sessions and {self.top_ups} top-ups in {self.seconds:.0f} s",
            f"{self.kills.total()} kill -9: {dict(self.kills)}",
            f"{self.reconnects} charger reconnects, {self.acknowledged} acknowledged messages",
            f"requests tried again by the drivers: {dict(self.retries)}",
            *(f"FOUND {text}" for text in self.findings),
        ]


VICTIMS = ["socket_tier", "api", "socket_tier", "sweeps", "api", "payment_checks", "socket_tier", "payment_webhook"]
SWEEPS = ["command_redelivery", "hanging_sessions", "payment_checks", "station_status"]


class Chaos:
    """One run."""

    def __init__(self, world: World, victims: Victims, plan: Plan) -> None:
        self.world = world
        self.victims = victims
        self.plan = plan
        self.report = Report()
        self.points: list[ChargePoint] = []
        self.drivers: dict[str, Driver] = {}
        self._tickets = plan.sessions
        self._last_error: dict[str, str] = {}

    async def run(self) -> Report:
        """Everything: charge under fire, come to rest, audit."""
        began = time.monotonic()
        for _ in range(self.plan.lines):
            client = await self.world.client(5_000)
            self.drivers[client] = await self.world.driver(client_id=client)
        for _ in range((self.plan.lines + 1) // 2):
            self.points.append(await self.world.charger(call_timeout_s=10, seed=self.plan.seed))
        async with asyncio.TaskGroup() as beside:
            helpers = [beside.create_task(self._sweep()), beside.create_task(self._progress())]
            async with asyncio.TaskGroup() as group:
                group.create_task(self._kill())
                for number, driver in enumerate(self.drivers.values()):
                    group.create_task(self._line(number, driver))
            self.report.findings += await self._rest()
            for task in helpers:
                task.cancel()
        self.report.acknowledged = sum(len(point.acknowledged) for point in self.points)
        self.report.reconnects = sum(point.link.record.connections - 1 for point in self.points)
        self.report.seconds = time.monotonic() - began
        return self.report

    # --- the fire --------------------------------------------------------------------------------------------

    async def _kill(self) -> None:
        choice = random.Random(f"{self.plan.seed}:kills")
        while self.report.kills.total() < self.plan.kills:
            # Spread over the run: the next kill is due when its share of the sessions has been started.
            due = self.report.kills.total() / self.plan.kills * self.plan.sessions
            while self.plan.sessions - self._tickets < due:
                await asyncio.sleep(0.2)
            await asyncio.sleep(choice.uniform(0.1, 1.0))
            name = VICTIMS[self.report.kills.total() % len(VICTIMS)]
            if await self.victims.kill_nine(name, choice):
                self.report.kills[name] += 1

    async def _sweep(self) -> None:
        while True:
            for name in SWEEPS:
                await self.victims.sweep(name)
            await asyncio.sleep(2)

    async def _progress(self) -> None:
        while True:
            await asyncio.sleep(10)
            online = sum(point.link.is_online for point in self.points)
            print(
                f"{self.report.sessions} sessions, {self.report.kills.total()} kills, "
                f"{online} of {len(self.points)} chargers online, {dict(self.report.retries)}",
                flush=True,
            )

    # --- the drivers -----------------------------------------------------------------------------------------

    async def _line(self, number: int, driver: Driver) -> None:
        point, connector = self.points[number // 2], number % 2 + 1
        choice = random.Random(f"{self.plan.seed}:line:{number}")
        while self._tickets > 0:
            self._tickets -= 1
            if choice.random() < 0.25:
                await self._top_up(driver)
            await self._charge(driver, point, connector, choice)
            self.report.sessions += 1

    async def _top_up(self, driver: Driver) -> None:
        top_up = await self._insist(lambda: driver.top_up(100))
        try:
            await driver.pay(top_up)
        except httpx.HTTPStatusError:
            # Use case: an earlier try of the same request, thought dead, came through later and superseded this one.
            self.report.retries["invoice_closed"] += 1
            return
        self.report.top_ups += 1

    async def _charge(self, driver: Driver, point: ChargePoint, connector: int, choice: random.Random) -> None:
        limits: dict[str, float] = choice.choice([{"amount_som": 60}, {"energy_kwh": 5}, {"energy_kwh": 12}, {}])
        session_id = await self._start(driver, point, connector, limits)
        patience = choice.uniform(1, 6)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._until_ended(driver, session_id), patience)
            return
        way = choice.random()
        if way < 0.5:
            await self._insist(lambda: driver.stop(session_id))
        elif way < 0.7 and point.outlets[connector].transaction is not None:
            point.unplug(connector)
        elif way < 0.8:
            point.drop_tcp()
            await self._insist(lambda: driver.stop(session_id))
        elif not limits:
            await self._insist(lambda: driver.stop(session_id))
        await self._until_ended(driver, session_id)

    async def _start(self, driver: Driver, point: ChargePoint, connector: int, limits: dict[str, float]) -> str | None:
        """Start, insisting; a start whose answer was killed is found again as the client's live session."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                answer = await self._insist(lambda: driver.start(serial_of(point), connector, **limits))
            except ApiError as error:
                self.report.retries[str(error.code)] += 1
                if error.code == "session_already_active":
                    return await self._insist(driver.last_session_id)
                if error.code not in ("connector_occupied", "station_offline", "invalid_request"):
                    raise
                await asyncio.sleep(1)  # the session before is still being tidied away
                continue
            return str(answer["session_id"])
        raise TimeoutError(f"no start at {point.station_id}/{connector} within 90 s: {self.report.retries}")

    async def _until_ended(self, driver: Driver, session_id: str) -> None:
        deadline = time.monotonic() + 150
        while (await self._insist(lambda: driver.session(session_id)))["status"] == "started":
            if time.monotonic() > deadline:
                raise TimeoutError(f"session {session_id} does not end: {await self.world.session_row(session_id)}")
            await asyncio.sleep(2)

    async def _insist(self, request: Callable[[], Awaitable[T]]) -> T:
        """A patient person: no answer or a server's failure is tried again."""
        for _ in range(60):
            try:
                return await request()
            except ApiError as error:
                if error.status < 500:
                    raise
                self.report.retries[str(error.code)] += 1
            except httpx.TransportError as error:
                self.report.retries[type(error).__name__] += 1
            await asyncio.sleep(0.5)
        raise TimeoutError(f"no answer in 60 tries: {self.report.retries}")

    # --- the end ---------------------------------------------------------------------------------------------

    async def _rest(self) -> list[str]:
        """Wait until nothing is open, then ask what is lost and what differs."""
        deadline = time.monotonic() + self.plan.rest_s
        findings: list[str] = []
        for point in self.points:
            left = max(deadline - time.monotonic(), 1)
            try:
                await point.wait_for(lambda p=point: p.link.is_online and not p.link.outbox.transactions, left)  # type: ignore[misc]
            except TimeoutError:
                findings.append(f"{point.station_id} could not deliver {len(point.link.outbox)} messages")
        while (still_open := await self._open()) and time.monotonic() < deadline:
            await self._stop_reopened()
            await asyncio.sleep(1)
        findings += still_open
        findings += await money_findings(self.world.conn)
        findings += await lost_messages(self.world.conn, self.points)
        findings += [f"{p.station_id} gave up {m.action}" for p in self.points for m in p.link.record.given_up]
        return findings

    async def _stop_reopened(self) -> None:
        """Drivers stop what charges although it had been refunded; any other session must end by itself.

        Use case: a session was refunded because its start did not reach the charger; the charger, which had begun all
        the same, could say so only later, and the session was opened again with a new reserve.
        """
        query = "SELECT id, user_id FROM charging_sessions WHERE state = 'charging' AND settlement_revision > 0"
        for row in await (await self.world.conn.execute(query)).fetchall():
            session_id = str(row["id"])
            await self._insist(lambda: self.drivers[row["user_id"]].stop(session_id))  # noqa: B023 - awaited here

    async def _open(self) -> list[str]:
        async with httpx.AsyncClient(base_url=self.world.place.provider_url, trust_env=False) as http:
            invoices = (await http.get("/control/invoices")).json()
        return await uncredited_payments(self.world.conn, invoices) + await open_findings(self.world.conn)


class SystemVictims:
    """`Victims` of a `LocalSystem`: whatever is killed is replaced by its supervisor."""

    def __init__(self, system: LocalSystem) -> None:
        self._system = system
        self._coming_back: dict[str, asyncio.Task[None]] = {}

    async def kill_nine(self, name: str, choice: random.Random) -> bool:
        """SIGKILL a random process of a function, or a random instance of the socket tier that is up."""
        if self._system.failure.done():
            raise self._system.failure.result()
        if name == "socket_tier":
            return self._kill_instance(choice)
        processes = self._system.processes[name]
        if processes:
            self._system.kill(name, index=choice.randrange(len(processes)))
        return bool(processes)

    def _kill_instance(self, choice: random.Random) -> bool:
        instances = [name for name in self._system.processes if name.startswith("socket-tier-")]
        up = [name for name in instances if name not in self._coming_back or self._coming_back[name].done()]
        if not up:
            return False
        name = choice.choice(up)
        pid = self._system.kill(name)
        self._coming_back[name] = asyncio.create_task(self._system.wait_back(name, pid))
        return True

    async def sweep(self, name: str) -> None:
        """Run a sweep through its function; one that is killed in the middle simply runs again later."""
        result = await self._system.run_sweep(name)
        if result.function_error and "signal 9" not in str(result.payload):
            print(f"sweep {name} failed: {result.payload}", flush=True)


def options() -> LocalOptions:
    """The local system as chaos wants it."""
    return LocalOptions(
        demo_data=False, chargers=False, durable=False, socket_tiers=2, schedules=False, environment=SETTINGS
    )


async def run(plan: Plan, data: Path | None = None) -> Report:
    """Start a system of its own, set it on fire, and report."""
    async with LocalSystem(replace(options(), data=data)) as system:
        world = await World.open(place_of(system))
        try:
            return await Chaos(world, SystemVictims(system), plan).run()
        finally:
            await world.close()


def main() -> int:
    """Entry of ``python -m tests.e2e.chaos``."""
    parser = argparse.ArgumentParser(prog="./dev bench chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=Plan().seed)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=250)
    parser.add_argument("--lines", type=int, default=Plan().lines)
    parser.add_argument("--data", type=Path, help="keep logs and database there")
    arguments = parser.parse_args()
    plan = Plan(arguments.seed, arguments.sessions, arguments.kills, arguments.lines)
    report = asyncio.run(run(plan, arguments.data))
    print("\n".join(report.lines()))
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
