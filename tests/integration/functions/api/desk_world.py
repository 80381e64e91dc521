"""What the tests of the staff's desk share: cards, charges by card, the books."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from evpower.charging import service as charging
from evpower.charging.models import StartTransaction, StopTransaction, TransactionStarted
from evpower.clock import FrozenClock, iso_z
from evpower.db import ledger_audit
from evpower.ids import new_id
from tests.fakes.network import money_faults
from tests.integration.functions.api.conftest import CLIENT, STATION, Api
from tests.integration.functions.api.staff_world import (
    ROOT,
)

CARDS = "/api/v1/admin/id-tags"
MESSAGES = "/api/v1/admin/quarantined-messages"
TAG = "04A224B1C2D380"
NOTE = {"note": "as the driver said"}


async def card(api: Api, tag: str = TAG, **more: Any) -> dict[str, Any]:
    made = await api.ok("POST", CARDS, {"id_tag": tag, "client_id": CLIENT, **more}, client=ROOT)
    found: dict[str, Any] = made["data"]
    return found


async def start(api: Api, tag: str = TAG, connector: int = 1) -> TransactionStarted:
    now = api.deps.clock.now()
    message = StartTransaction(STATION, connector, tag, Decimal(1000), now, now, api.epoch, new_id())
    async with api.db.transaction() as conn:
        return await charging.start_transaction(conn, message)


async def stop(api: Api, transaction_id: int, register: int, **more: Any) -> None:
    now = api.deps.clock.now()
    raw = {"transactionId": transaction_id, "meterStop": register, "timestamp": iso_z(now), **more}
    message = StopTransaction(STATION, transaction_id, Decimal(register), now, now, api.epoch, raw=raw)
    async with api.db.transaction() as conn:
        await charging.stop_transaction(conn, message)


def wait(api: Api, **duration: float) -> None:
    clock = api.deps.clock
    assert isinstance(clock, FrozenClock)
    clock.advance(timedelta(**duration))


async def charged(api: Api, register: int = 3000, tag: str = TAG, client_id: str = CLIENT) -> tuple[str, int]:
    """A finished charge by a client's card: session and transaction."""
    await card(api, tag, client_id=client_id)
    started = await start(api, tag)
    wait(api, minutes=30)
    await stop(api, started.transaction_id, register)
    assert started.session_id is not None
    return started.session_id, started.transaction_id


async def books(api: Api) -> None:
    assert await money_faults(api.db) == []
    async with api.db.transaction() as conn:
        subjects = await ledger_audit.subjects(conn, await ledger_audit.progress(conn))
        for check in ledger_audit.CHECKS:
            for ids in subjects.parts(check.about):
                assert await ledger_audit.run_check(conn, check, ids) == [], check.name


async def audited(api: Api, operation: str) -> list[dict[str, Any]]:
    return await api.sql("SELECT * FROM audit_logs WHERE operation = %s ORDER BY id", operation)
