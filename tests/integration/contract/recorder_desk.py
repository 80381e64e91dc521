"""Flows of the staff's desk: a card's charge that ends badly, and what staff do about it."""

from decimal import Decimal

from evpower.charging import service as charging
from evpower.charging.models import UNUSABLE, Reading, StartTransaction, StopTransaction
from tests.integration.contract.examples import FAR_AHEAD
from tests.integration.contract.recorder import Recorder
from tests.integration.functions.api.conftest import OTHER, STATION
from tests.integration.functions.api.staff_world import FIRST, FIRST_OPERATOR, ROOT

CARD = {
    "id_tag": "04A224B1C2D380",
    "client_id": OTHER,
    "name": "Card 1",
    "expires_at": FAR_AHEAD,
    "parent_id_tag": "FLEET-1",
}


async def record_desk(on: Recorder) -> None:
    """I1-I5, Q1-Q4, R1-R3, and D5 of what needs a look."""
    card = (await on.call("I2", CARD, client=ROOT))["data"]
    session_id, transaction_id = await _charge(on)
    await on.call("R1", client=ROOT, session_id=session_id)
    for query in ("", "?search=224b&status=active&parent_id_tag=fleet-1"):
        await on.call("I1", client=ROOT, query=query)
    await on.call("I3", client=ROOT, card_id=str(card["id"]))
    whole = {name: value for name, value in CARD.items() if name != "id_tag"} | {"status": "active"}
    for body in ({"status": "blocked", "name": None}, whole):
        await on.call("I4", body, client=ROOT, card_id=str(card["id"]))
    await _quarantine(on, transaction_id)
    await _review(on, session_id)
    await on.call("I5", client=ROOT, card_id=str(card["id"]))


async def _charge(on: Recorder) -> tuple[str, int]:
    """A charge by the card, with a reading that nobody believes and a stop without a register."""
    now = on.api.deps.clock.now()
    start = StartTransaction(STATION, 2, str(CARD["id_tag"]), Decimal(1000), now, now, on.api.epoch)
    async with on.api.db.transaction() as conn:
        started = await charging.start_transaction(conn, start)
    await on.wait(minutes=3)
    for register in (2100, 900_000):
        await on.reading(started.transaction_id, register)
    await _stop(on, started.transaction_id, -1, readings=(Reading(None, flags=(UNUSABLE,), raw='"broken"'),))
    assert started.session_id is not None
    return started.session_id, started.transaction_id


async def _stop(on: Recorder, transaction_id: int, register: int, readings: tuple[Reading, ...] = ()) -> None:
    now = on.api.deps.clock.now()
    raw = {"transactionId": transaction_id, "meterStop": register, "reason": "Other"}
    message = StopTransaction(
        STATION,
        transaction_id,
        Decimal(register),
        now,
        now,
        on.api.epoch,
        reason="Other",
        readings=readings,
        raw=raw,
    )
    async with on.api.db.transaction() as conn:
        await charging.stop_transaction(conn, message)


async def _quarantine(on: Recorder, transaction_id: int) -> None:
    await on.wait(seconds=10)
    await _stop(on, transaction_id, 2150)  # another end of the same transaction
    await _stop(on, 2_000_000_000, 5)
    listed = await on.call("Q1", client=FIRST_OPERATOR, query="?open=true")
    unknown, another = (message["id"] for message in listed["data"]["messages"])
    for caller in (FIRST_OPERATOR, ROOT):
        await on.call("Q2", client=caller, message_id=str(another))
    await on.call("Q3", {"note": "a test of the installer"}, client=FIRST_OPERATOR, message_id=str(unknown))
    body = {"transaction_id": transaction_id, "note": "the register on the display"}
    for _ in range(2):
        await on.call("Q4", body, client=FIRST, message_id=str(another))
    await on.call("Q2", client=ROOT, message_id=str(another))
    await on.call("Q1", client=ROOT)


async def _review(on: Recorder, session_id: str) -> None:
    await on.call("D5", client=FIRST, query="?needs_review=true")
    await on.call("R1", client=FIRST_OPERATOR, session_id=session_id)
    await on.call("R2", {"amount": 1.5, "reason": "half of it was ours"}, client=FIRST, session_id=session_id)
    await on.call("R1", client=ROOT, session_id=session_id)
    for _ in range(2):
        await on.call("R3", {"note": "settled with the driver"}, client=FIRST_OPERATOR, session_id=session_id)
