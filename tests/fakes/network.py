"""A small network in the database: a place, a station with two connectors, clients with money."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from evpower.accounts import service as accounts
from evpower.accounts.models import LedgerType, Movement
from evpower.db import Conn, Database


@dataclass(frozen=True, slots=True)
class Network:
    """Ids of what :func:`build` made; ``epoch`` is the station's connection epoch."""

    station_id: str
    epoch: int
    clients: tuple[str, ...]


async def add_client(conn: Conn, client_id: str, balance: Decimal) -> str:
    """A client whose balance came from one top-up."""
    await conn.execute("INSERT INTO clients (id, name) VALUES (%s, %s)", (client_id, f"Client {client_id}"))
    if balance:
        await accounts.move(conn, Movement(client_id, LedgerType.BALANCE_TOPUP, balance, f"topup:test:{client_id}"))
    return client_id


async def build(
    db: Database,
    now: datetime,
    *,
    balances: tuple[int, ...] = (500, 500),
    price: str = "13.5",
    power_kw: int = 22,
    station_id: str = "station-1",
) -> Network:
    """A connected station at ``price`` som per kWh that samples every minute, connectors 1 and 2, and one client per
    balance.
    """

    async def work(conn: Conn) -> Network:
        await conn.execute(
            "INSERT INTO locations (id, name, address) VALUES ('place-1', 'Place', 'Street 1') ON CONFLICT DO NOTHING"
        )
        await conn.execute(
            """INSERT INTO stations (id, serial_number, location_id, price_per_kwh, is_available, last_heartbeat_at,
                   connection_epoch, connected_instance, connected_at, sample_interval_s)
               VALUES (%s, %s, 'place-1', %s, true, %s, nextval('station_epoch_seq'), 'test', %s, 60)""",
            (station_id, f"SN-{station_id}", price, now, now),
        )
        for number in (1, 2):
            await conn.execute(
                """INSERT INTO connectors (station_id, connector_number, connector_type, power_kw)
                   VALUES (%s, %s, 'CCS2', %s)""",
                (station_id, number, power_kw),
            )
        clients = [
            await add_client(conn, f"client-{index}", Decimal(balance)) for index, balance in enumerate(balances, 1)
        ]
        row = await (
            await conn.execute("SELECT connection_epoch FROM stations WHERE id = %s", (station_id,))
        ).fetchone()
        assert row is not None
        return Network(station_id, row["connection_epoch"], tuple(clients))

    return await db.run(work)


async def balance_of(db: Database, client_id: str) -> Decimal:
    async def work(conn: Conn) -> Decimal:
        return (await accounts.get_client(conn, client_id)).balance

    return await db.run(work)


LEDGER_FAULTS = """
SELECT c.id, c.balance, l.total, l.last_after
  FROM clients c
  LEFT JOIN LATERAL (
        SELECT coalesce(sum(amount), 0) AS total,
               (SELECT balance_after FROM payment_transactions_odengi WHERE client_id = c.id ORDER BY id DESC LIMIT 1)
                   AS last_after
          FROM payment_transactions_odengi WHERE client_id = c.id) l ON true
 WHERE c.balance <> l.total OR c.balance <> coalesce(l.last_after, 0)
"""
CHAIN_FAULTS = """
SELECT id FROM (
    SELECT id, balance_before, lag(balance_after, 1, 0.00) OVER (PARTITION BY client_id ORDER BY id) AS previous
      FROM payment_transactions_odengi) t
 WHERE balance_before <> previous
"""
SESSION_FAULTS = """
SELECT s.id, s.state, s.taken_amount, l.total
  FROM charging_sessions s
  LEFT JOIN LATERAL (SELECT coalesce(sum(amount), 0) AS total FROM payment_transactions_odengi
                      WHERE charging_session_id = s.id) l ON true
 WHERE s.taken_amount <> -l.total
    OR (s.state IN ('stopped', 'error') AND s.settlement_revision = 0)
    OR (s.state = 'error' AND s.taken_amount <> 0)
"""
CONNECTOR_FAULTS = """
SELECT c.station_id, c.connector_number, c.live_session_id
  FROM connectors c
  FULL JOIN (SELECT id, station_id, connector_id FROM charging_sessions
              WHERE state IN ('pending', 'charging', 'stopping')) s ON s.id = c.live_session_id
 WHERE (c.live_session_id IS NOT NULL AND s.id IS NULL)
    OR (s.id IS NOT NULL AND (c.id IS NULL OR c.station_id <> s.station_id OR c.connector_number <> s.connector_id))
"""


async def money_faults(db: Database) -> list[dict[str, object]]:
    """Every broken invariant of money and sessions; empty when all is well."""

    async def work(conn: Conn) -> list[dict[str, object]]:
        found: list[dict[str, object]] = []
        for query in (LEDGER_FAULTS, CHAIN_FAULTS, SESSION_FAULTS, CONNECTOR_FAULTS):
            found += await (await conn.execute(query)).fetchall()
        return found

    return await db.run(work)
