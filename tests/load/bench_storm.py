"""The storm after an outage, and the failures beneath it: what was acknowledged is there, and nobody had to help.

1. 2,000 chargers connect at the same moment to one process, boot, report a status and play a whole transaction by card.
   Counted afterwards in the database: every boot, every transaction exactly once, every reading, every settlement.
2. 200 chargers send readings as fast as they are answered while Valkey is killed and PostgreSQL crashes (immediate
   shutdown: recovery from the log) and both come back. A charger keeps an unanswered message and sends it again on its
   next connection, as real ones do; nobody touches the socket tier.
"""

import asyncio
import signal
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from evpower.clock import iso_z
from evpower.db import Conn, PooledDatabase
from infra.local.services import Postgres, Valkey
from tests.load.bench_scale import BOOT, add_stations
from tests.load.crowd import Charger, Gone, connections_allowed, open_patiently
from tests.load.harness import backend, cpu_seconds, database, machine, percentile, report, socket_tier

CHARGERS = 2000
READINGS = 3
STEADY = 200
STEADY_POWER_KW = 400
"""Each reading counts a Wh: at forty a second a lesser connector could not have delivered what its register shows."""
FAIL_AFTER_S = 4.0
AWAY_S = 3.0
GO_ON_S = 6.0
MOST_TRIES = 200


@dataclass(slots=True)
class Story:
    """What happened to the crowd, in seconds from the first connection."""

    refused: int = 0
    resent: int = 0
    booted_at: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    transactions: dict[str, int] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    longest_silence_s: float = 0.0


class Persistent:
    """A charger that connects again and repeats what nobody acknowledged."""

    def __init__(self, port: int, name: str, number: int, story: Story) -> None:
        self._port, self.name, self._number, self._story = port, name, number, story
        self._socket: Charger | None = None
        self._messages = 0

    async def say(self, action: str, payload: dict[str, Any]) -> Any:
        """The answer, however often the message must be sent; a repeat keeps its message id."""
        self._messages += 1
        message_id = f"{self.name}.{self._messages}"
        began = time.perf_counter()
        for _ in range(MOST_TRIES):
            try:
                if self._socket is None or not self._socket.is_open:
                    self._socket = await open_patiently(self._port, self.name, self._number, note=self._refused)
                answer, latency = await self._socket.call(action, payload, message_id)
            except (Gone, TimeoutError):
                self._story.resent += 1
                self.drop()
                continue
            self._story.latencies.append(latency)
            self._story.longest_silence_s = max(self._story.longest_silence_s, time.perf_counter() - began)
            return answer
        raise TimeoutError(f"{self.name}: {action} was not acknowledged in {MOST_TRIES} attempts")

    def drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _refused(self, _status: int) -> None:
        self._story.refused += 1


async def add_cards(db: PooledDatabase, names: list[str]) -> None:
    """A client with money and a card for every charger."""

    async def work(conn: Conn) -> None:
        await conn.execute(
            "INSERT INTO clients (id, name, balance) SELECT name, 'Bench', 1000 FROM unnest(%s::text[]) AS name",
            (names,),
        )
        await conn.execute(
            """INSERT INTO payment_transactions_odengi (client_id, transaction_type, amount, balance_before,
                   balance_after, source_key)
               SELECT name, 'opening_balance', 1000, 0, 1000, 'bench:' || name FROM unnest(%s::text[]) AS name""",
            (names,),
        )
        await conn.execute(
            "INSERT INTO id_tags (id_tag, client_id) SELECT name, name FROM unnest(%s::text[]) AS name", (names,)
        )

    await db.run(work)


def reading(transaction: int, register: int) -> dict[str, Any]:
    """MeterValues with one energy reading in Wh."""
    sample = {"value": str(register), "measurand": "Energy.Active.Import.Register", "unit": "Wh"}
    value = {"timestamp": iso_z(datetime.now(UTC)), "sampledValue": [sample]}
    return {"connectorId": 1, "transactionId": transaction, "meterValue": [value]}


async def whole_transaction(charger: Persistent, story: Story, began: float) -> None:
    """Boot, status, start by card, readings, stop."""
    answer = await charger.say("BootNotification", BOOT)
    assert answer["status"] == "Accepted", answer
    story.booted_at.append(time.perf_counter() - began)
    await charger.say("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Preparing"})
    start = {"connectorId": 1, "idTag": charger.name, "meterStart": 0, "timestamp": iso_z(datetime.now(UTC))}
    started = await charger.say("StartTransaction", start)
    assert started["idTagInfo"]["status"] == "Accepted", started
    transaction = started["transactionId"]
    story.transactions[charger.name] = transaction
    for number in range(1, READINGS + 1):
        await charger.say("MeterValues", reading(transaction, number * 10))
    stop = {"transactionId": transaction, "meterStop": READINGS * 10, "timestamp": iso_z(datetime.now(UTC))}
    await charger.say("StopTransaction", stop)


async def storm(port: int, names: list[str]) -> tuple[Story, float]:
    """Everybody at the same moment; the story and its length."""
    story, began = Story(), time.perf_counter()
    chargers = [Persistent(port, name, number, story) for number, name in enumerate(names)]
    await asyncio.gather(*(whole_transaction(charger, story, began) for charger in chargers))
    took = time.perf_counter() - began
    for charger in chargers:
        charger.drop()
    return story, took


async def rows(db: PooledDatabase, query: str, *parameters: object) -> list[dict[str, Any]]:
    async def work(conn: Conn) -> list[dict[str, Any]]:
        return await (await conn.execute(query.encode(), parameters)).fetchall()

    return await db.run(work)


async def check_storm(db: PooledDatabase, names: list[str], story: Story) -> None:
    """Everything that was acknowledged is in the database, once."""
    (boots,) = await rows(
        db, "SELECT count(*) AS n FROM stations WHERE id = ANY(%s) AND last_boot_at IS NOT NULL", names
    )
    assert boots["n"] == len(names), f"{boots['n']} boots of {len(names)}"
    found = await rows(
        db,
        """SELECT t.station_id, t.id, t.status, s.state, s.settlement_revision, s.energy_wh,
                  (SELECT count(*) FROM ocpp_meter_values v WHERE v.transaction_id = t.id) AS readings
             FROM ocpp_transactions t LEFT JOIN charging_sessions s ON s.id = t.session_id
            WHERE t.station_id = ANY(%s)""",
        names,
    )
    assert {row["station_id"]: row["id"] for row in found} == story.transactions
    assert len(found) == len(names), "a transaction was begun twice"
    for row in found:
        assert (row["status"], row["state"], row["settlement_revision"]) == ("stopped", "stopped", 1), row
        assert row["energy_wh"] == READINGS * 10, row
        assert row["readings"] >= READINGS, row
    (money,) = await rows(
        db,
        """SELECT count(*) FILTER (WHERE c.balance <> l.total) AS wrong, min(c.balance) AS least
             FROM clients c JOIN (SELECT client_id, sum(amount) AS total FROM payment_transactions_odengi
                                   GROUP BY client_id) l ON l.client_id = c.id WHERE c.id = ANY(%s)""",
        names,
    )
    assert money["wrong"] == 0, f"{money['wrong']} balances differ from their ledger"


async def steady(charger: Persistent, story: Story, running: asyncio.Event) -> None:
    """A charging car: readings until told to stop, then the end."""
    await charger.say("BootNotification", BOOT)
    start = {"connectorId": 1, "idTag": charger.name, "meterStart": 0, "timestamp": iso_z(datetime.now(UTC))}
    started = await charger.say("StartTransaction", start)
    transaction = story.transactions[charger.name] = started["transactionId"]
    register = 0
    while not running.is_set():
        register += 1
        await charger.say("MeterValues", reading(transaction, register))
        story.acknowledged[charger.name] = register
    stop = {"transactionId": transaction, "meterStop": register, "timestamp": iso_z(datetime.now(UTC))}
    await charger.say("StopTransaction", stop)
    charger.drop()


async def crash(service: Postgres | Valkey, how: signal.Signals) -> None:
    """End the server as a failure does, leave it away for a while, start it again on the same port."""
    await asyncio.to_thread(service.children[0].stop, how)
    await asyncio.sleep(AWAY_S)
    await asyncio.to_thread(service.start)


async def failures(port: int, names: list[str], postgres: Postgres, valkey: Valkey) -> Story:
    """Load, then Valkey dies, then PostgreSQL, then the load goes on for a while."""
    story, stop = Story(), asyncio.Event()
    tasks = [
        asyncio.create_task(steady(Persistent(port, name, number, story), story, stop))
        for number, name in enumerate(names)
    ]
    while len(story.acknowledged) < len(names):
        await asyncio.sleep(0.1)
    await asyncio.sleep(FAIL_AFTER_S)
    await crash(valkey, signal.SIGKILL)
    await asyncio.sleep(FAIL_AFTER_S)
    await crash(postgres, signal.SIGQUIT)
    await asyncio.sleep(GO_ON_S)
    before = sum(story.acknowledged.values())
    await asyncio.sleep(1)
    assert sum(story.acknowledged.values()) > before, "nothing is acknowledged any more"
    stop.set()
    await asyncio.gather(*tasks)
    return story


async def check_failures(db: PooledDatabase, names: list[str], story: Story) -> None:
    """Every acknowledged reading is stored and every session ended at its charger's register."""
    found = await rows(
        db,
        """SELECT t.station_id, t.id, s.state, s.energy_wh,
                  (SELECT count(DISTINCT v.energy_wh) FROM ocpp_meter_values v WHERE v.transaction_id = t.id) AS stored
             FROM ocpp_transactions t JOIN charging_sessions s ON s.id = t.session_id
            WHERE t.station_id = ANY(%s)""",
        names,
    )
    assert {row["station_id"]: row["id"] for row in found} == story.transactions
    for row in found:
        expected = story.acknowledged[row["station_id"]]
        assert row["stored"] >= expected, f"{row['station_id']}: {row['stored']} of {expected} acknowledged readings"
        assert (row["state"], int(row["energy_wh"])) == ("stopped", expected), row


async def main(wanted: int = CHARGERS) -> dict[str, Any]:
    """Run, print and return the result."""
    count = min(wanted, connections_allowed())
    if count < wanted:
        sys.stderr.write(f"storm: this machine allows {count} open sockets a process (ulimit -n), not {wanted}\n")
    async with backend() as services, database(services) as db:
        crowd = await add_stations(db, "storm-", count)
        cars = await add_stations(db, "steady-", STEADY, STEADY_POWER_KW)
        await add_cards(db, [*crowd, *cars])
        async with socket_tier(services) as (child, port):
            cpu = cpu_seconds(child.pid)
            story, took = await storm(port, crowd)
            cpu = cpu_seconds(child.pid) - cpu
            await check_storm(db, crowd, story)
            failed = await failures(port, cars, services.postgres, services.valkey)
            assert child.alive, "the socket tier ended"
        async with database(services) as fresh:  # the crash has ended the other pool's connections
            await check_failures(fresh, cars, failed)
    messages = len(story.latencies)
    p99 = percentile(story.latencies, 0.99) * 1000
    acknowledged = sum(failed.acknowledged.values())
    table: list[tuple[object, ...]] = [
        ("", "value"),
        ("storm: chargers at once", count),
        ("upgrades put off with 503 and Retry-After", story.refused),
        ("last charger booted after, s", f"{max(story.booted_at):.1f}"),
        ("all transactions over after, s", f"{took:.1f}"),
        ("messages acknowledged", messages),
        ("messages sent again", story.resent),
        ("answer p99 ms", f"{p99:.0f}"),
        ("CPU of the socket tier per message µs", f"{cpu / messages * 1e6:.0f}"),
        ("acknowledged and not stored, or stored twice", 0),
        ("failures: readings acknowledged", acknowledged),
        ("messages sent again", failed.resent),
        ("longest a charger waited for an answer, s", f"{failed.longest_silence_s:.1f}"),
        ("acknowledged and not stored", 0),
    ]
    result = {
        "bench": "storm",
        "chargers": count,
        "refused": story.refused,
        "booted_s": round(max(story.booted_at), 1),
        "over_s": round(took, 1),
        "messages": messages,
        "resent": story.resent,
        "p99_ms": round(p99),
        "lost": 0,
        "failures": {
            "acknowledged": acknowledged,
            "resent": failed.resent,
            "longest_silence_s": round(failed.longest_silence_s, 1),
            "lost": 0,
        },
        **machine(),
    }
    report("storm: everybody at once, then Valkey and PostgreSQL crash under load", table, result)
    return result
