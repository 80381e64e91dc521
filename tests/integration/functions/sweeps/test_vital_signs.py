"""The minute's measurements say what is there, and each failure that has not happened is a zero."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
import psycopg
import pytest

from evpower.clock import FrozenClock
from evpower.config import Settings
from evpower.db import PooledDatabase
from evpower.metric_names import CATALOGUE, resting
from functions.sweeps import vital_signs
from functions.sweeps.deps import SweepDeps
from tests.fakes.hearing import heard
from tests.fakes.network import build
from tests.integration.evpower.charging.driver import Driver
from tests.integration.functions.sweeps.parts import sweep_deps


@pytest.fixture
async def driver(db: PooledDatabase) -> Driver:
    clock = FrozenClock()
    return Driver(db, await build(db, clock.now(), balances=(500, 500, 500)), clock)


@pytest.fixture
def deps(make_settings: Callable[..., Settings], driver: Driver) -> SweepDeps:
    return sweep_deps(make_settings, driver.db, driver.clock)[0]


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]


async def measured(deps: SweepDeps, driver: Driver, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    await vital_signs.run(deps, driver.now)
    return {name: value for line in written(capsys) for name, value in line.items() if name not in ("_aws", "Reason")}


async def test_an_idle_network_measures_zeros(
    deps: SweepDeps, driver: Driver, capsys: pytest.CaptureFixture[str]
) -> None:
    values = await measured(deps, driver, capsys)
    assert resting("functions", "both").items() <= values.items()
    assert set(values) <= CATALOGUE.keys()
    waiting = {name: value for name, value in values.items() if value != 0}
    assert set(waiting) <= {"StationsOnline", "StationsExpected"}


async def test_what_waits_is_measured_by_its_age(
    deps: SweepDeps, driver: Driver, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = await measured(deps, driver, capsys)
    assert before["HearingLasts"] == 0
    await heard(driver.db, driver.now, timedelta(minutes=7))
    assert (await measured(deps, driver, capsys))["HearingLasts"] == 420
    await driver.start("client-1", 1, amount="200")
    driver.wait(minutes=5)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as admin:
        await admin.execute("UPDATE stations SET connected_instance = 'tier-1', last_heartbeat_at = %s", (driver.now,))
        await admin.execute(
            "INSERT INTO payment_inbox (provider, order_id, fingerprint, payload, signature_scheme, received_at)"
            " VALUES ('ODENGI', 'evp-1', 'f', '{}', 'v2', %s)",
            (driver.now - timedelta(minutes=7),),
        )
        for key, minutes in (("due", -3), ("later", 3)):
            await admin.execute(
                "INSERT INTO push_outbox (user_id, event, dedup_key, next_attempt_at) VALUES ('client-1', 'x', %s, %s)",
                (key, driver.now + timedelta(minutes=minutes)),
            )
        await admin.execute("UPDATE charging_sessions SET needs_review = true")
        await admin.execute(
            "INSERT INTO quarantined_messages (station_id, action, payload, reason, fingerprint)"
            " SELECT id, 'StopTransaction', '{}', 'x', 'f' FROM stations LIMIT 1"
        )
    values = await measured(deps, driver, capsys)
    assert values["LiveSessions"] == before["LiveSessions"] + 1 == 1
    assert values["OldestPendingStartAge"] == values["OldestCommandAge"] == 300
    assert values["OldestCallbackAge"] == 420
    assert values["OldestPushAge"] == 180
    assert values["SessionsForReview"] == values["MessagesQuarantined"] == 1
    assert values["StationsOnline"] == values["StationsExpected"] > 0


async def test_money_is_measured_when_it_is_committed(driver: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    started = await driver.start("client-1", 1, amount="200")
    transaction = (await driver.plug(started.session.id_tag)).transaction_id
    driver.wait(minutes=30)
    await driver.alive()
    await driver.unplug(transaction, 8_000)
    lines = written(capsys)

    def total(name: str, **dimensions: str) -> float:
        return sum(line[name] for line in lines if name in line and dimensions.items() <= line.items())

    reserved, returned = total("MoneyMovedSom", Type="charge_reserve"), total("MoneyMovedSom", Type="charge_refund")
    assert reserved == 200
    assert total("RevenueSom") == pytest.approx(reserved - returned)
    assert total("EnergyDeliveredKwh") == 8
    assert (total("StartsAccepted", Source="app"), total("ChargingsStarted", Source="app")) == (1, 1)
    assert (total("SessionsSettled"), total("SettlementsRevised"), total("WrittenOffSom")) == (1, 0, 0)
    await driver.unplug(transaction, 8_000)  # the charger repeats itself
    assert written(capsys) == []


async def test_a_start_that_is_refunded_counts_as_failed(driver: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    from evpower.charging import service as charging

    started = await driver.start("client-1", 1, amount="200")
    capsys.readouterr()
    await driver.db.run(
        lambda conn: charging.remote_start_rejected(conn, started.session.id, "rejected", driver.clock.now())
    )
    lines = written(capsys)
    (failed,) = [line for line in lines if "StartsFailed" in line]
    assert (failed["StartsFailed"], failed["Reason"]) == (1, "start_rejected")
    assert sum(line.get("RevenueSom", 0) for line in lines) == 0
