"""Field reports as data: what a charger sends, what it must be answered, what is shown and billed (docs/operations/
field-reports.md). A report is a row of a table; :meth:`Play.perform` plays it through a socket against an instance.

In frames ``$TX`` is the transaction's id, ``$TAG`` the id tag of the RemoteStart, ``$NOW`` the present time, ``$AGO90``
the time 90 seconds ago, ``$BEGAN`` the one at which the charge began, ``$NEXT`` 400 s after the reading before,
``$LOCAL`` the present time of Bishkek without a zone, ``$HOURS`` that of a zone written as +03. Energy in Wh, money in
som.
"""

import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from evpower.charging.models import SessionState
from evpower.db import PooledDatabase
from socket_tier.tier import SocketTier
from tests.fakes.charging_story import Story, stamp
from tests.fakes.network import money_faults
from tests.fakes.raw_charger import RawCharger
from tests.integration.socket_tier.conftest import url

STATION = "station-1"
BEGAN_S = 3600.0
READING_EVERY_S = 400.0
_PLACE = re.compile(r"\$(?:(TX)|(TAG)|(BEGAN)|(NEXT)|(LOCAL)|(HOURS)|NOW|AGO(\d+))")

Step = Callable[["Play"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Charge:
    """The paid session that runs when the report begins; it began an hour ago, so that its energy is plausible."""

    meter_start: int = 1000
    connector: int = 1
    limit_kwh: str | None = None
    limit_som: str | None = None


@dataclass(frozen=True, slots=True)
class Bill:
    """How the session must end; ``review`` of None: either."""

    wh: float
    som: str
    review: bool | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One field report. ``wrong``: what came instead, and the rule that mends it; the case is expected to fail."""

    name: str
    source: str
    fault: str
    steps: tuple[Step, ...]
    charge: Charge | None = Charge()
    bill: Bill | None = None
    wrong: str = ""


def cases(*reports: Report) -> Any:
    """Parameters of a test that plays ``reports``; one that is known to come out wrong is expected to fail."""
    return pytest.mark.parametrize(
        "report",
        [
            pytest.param(
                report,
                id=report.name,
                marks=[pytest.mark.xfail(strict=True, reason=report.wrong)] if report.wrong else [],
            )
            for report in reports
        ],
    )


class Play:
    """One charger at :data:`STATION`, its driver, and what is known of the charge."""

    def __init__(self, tier: SocketTier, db: PooledDatabase) -> None:
        self.tier = tier
        self.story = Story(db)
        self.session_id = ""
        self.tag = ""
        self.transaction = 0
        self._began = stamp(BEGAN_S)
        self._next_s = BEGAN_S
        self._sockets = AsyncExitStack()
        self._charger: RawCharger | None = None

    @property
    def charger(self) -> RawCharger:
        assert self._charger is not None
        return self._charger

    async def connect(self) -> None:
        self._charger = await self._sockets.enter_async_context(RawCharger.open(url(self.tier, STATION)))

    async def leave(self) -> None:
        await self._sockets.aclose()

    async def perform(self, report: Report) -> None:
        """Play the report and check its bill."""
        await self.connect()
        await self.charger.boot()
        if report.charge is not None:
            await self.begin(report.charge)
        for step in report.steps:
            await step(self)
        if report.bill is not None:
            await self._check(report.bill)
        assert await money_faults(self.story.db) == []

    async def ask(self, charge: Charge) -> None:
        """The driver starts from the app an hour ago; the charger has accepted the RemoteStart."""
        limits: dict[str, Any] = {}
        if charge.limit_kwh is not None:
            limits["energy_kwh"] = Decimal(charge.limit_kwh)
        if charge.limit_som is not None:
            limits["amount_som"] = Decimal(charge.limit_som)
        started = await self.story.request(connector=charge.connector, **limits)
        self.session_id = started.session.id
        self.tag = await self.story.accept(self.tier, self.charger, started)
        await self.story.age(self.session_id, BEGAN_S + 60)

    async def begin(self, charge: Charge) -> None:
        await self.ask(charge)
        answer = await self.charger.call(
            "StartTransaction",
            connectorId=charge.connector,
            idTag=self.tag,
            meterStart=charge.meter_start,
            timestamp=self._began,
        )
        assert answer["idTagInfo"]["status"] == "Accepted"
        self.transaction = int(answer["transactionId"])

    def fill(self, text: str) -> str:
        """``text`` with its places filled in."""

        def value(found: re.Match[str]) -> str:
            if found.group(1):
                return str(self.transaction)
            if found.group(2):
                return self.tag
            if found.group(3):
                return self._began
            if found.group(4):
                self._next_s -= READING_EVERY_S
                return stamp(self._next_s)
            if found.group(5):
                return (datetime.now(UTC) + timedelta(hours=6)).replace(tzinfo=None).isoformat(timespec="seconds")
            if found.group(6):
                return datetime.now(timezone(timedelta(hours=3))).isoformat(timespec="seconds").removesuffix(":00")
            return stamp(float(found.group(7) or 0))

        return _PLACE.sub(value, text)

    def filled(self, value: Any) -> Any:
        """A copy of a JSON value with all its places filled in."""
        if value == "$TX":
            return self.transaction
        if isinstance(value, str):
            return self.fill(value)
        if isinstance(value, list):
            return [self.filled(item) for item in value]
        if isinstance(value, dict):
            return {name: self.filled(item) for name, item in value.items()}
        return value

    async def _check(self, bill: Bill) -> None:
        session = await self.story.session(self.session_id)
        assert (session.state, float(session.energy_wh), session.final_amount) == (
            SessionState.STOPPED,
            bill.wh,
            Decimal(bill.som),
        )
        if bill.review is not None:
            assert session.needs_review is bill.review
