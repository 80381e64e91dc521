"""SQL of ``reservations``. Its rows are locked after client, session and connector, before the command's row."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from evpower.db import Conn
from evpower.reservations.models import Begun, CardOfReservation, Hold, NewReservation, Reservation, ReservationState

_OWN = """r.station_id, r.reservation_id, r.connector_id, r.id_tag, r.parent_id_tag, r.client_id, r.is_for_app,
    r.expires_at, r.command_id, r.cancel_command_id, r.transaction_id, r.session_id, r.requested_by, r.created_at,
    r.updated_at, r.ended_at"""
# A question that nobody answered, and a reservation whose time is over, have ended before anybody wrote it down.
_UNANSWERED = "r.state = 'requested' AND (asked.id IS NULL OR asked.status NOT IN ('queued', 'sent', 'accepted'))"
_STATE = f"""CASE WHEN {_UNANSWERED} THEN 'failed'
                  WHEN r.state IN ('requested', 'accepted') AND r.expires_at <= %(now)s THEN 'expired'
                  ELSE r.state END"""
_COLUMNS = f"""{_OWN}, {_STATE} AS state,
    CASE WHEN {_UNANSWERED} THEN coalesce(asked.error, asked.status, 'its command is gone')
         ELSE r.refusal END AS refusal,
    coalesce(cancel.status IN ('queued', 'sent'), false) AS cancelling"""
_FROM = """reservations r LEFT JOIN station_commands asked ON asked.id = r.command_id
    LEFT JOIN station_commands cancel ON cancel.id = r.cancel_command_id"""


def _reservation(row: Mapping[str, Any]) -> Reservation:
    return Reservation(**{**row, "state": ReservationState(row["state"])})


async def insert(conn: Conn, new: NewReservation, id_tag: str, client_id: str | None, now: datetime) -> int:
    """The new reservation's number, from the sequence; one that an operator has used by hand is passed over."""
    while True:
        cursor = await conn.execute(
            """INSERT INTO reservations (station_id, reservation_id, connector_id, id_tag, parent_id_tag, client_id,
                   is_for_app, expires_at, requested_by, created_at, updated_at)
               VALUES (%s, nextval('reservation_id_seq'), %s, %s, %s, %s, %s, %s, %s, %s, %s)
               ON CONFLICT DO NOTHING RETURNING reservation_id""",
            (
                new.station_id,
                new.connector_id,
                id_tag,
                new.parent_id_tag,
                client_id,
                new.id_tag is None,
                new.expires_at,
                new.requested_by,
                now,
                now,
            ),
        )
        row = await cursor.fetchone()
        if row is not None:
            return int(row["reservation_id"])


async def set_command(conn: Conn, station_id: str, number: int, command_id: str) -> None:
    await conn.execute(
        "UPDATE reservations SET command_id = %s WHERE station_id = %s AND reservation_id = %s",
        (command_id, station_id, number),
    )


async def set_cancel_command(conn: Conn, station_id: str, number: int, command_id: str, now: datetime) -> None:
    await conn.execute(
        """UPDATE reservations SET cancel_command_id = %s, updated_at = %s
            WHERE station_id = %s AND reservation_id = %s""",
        (command_id, now, station_id, number),
    )


async def find(conn: Conn, station_id: str, number: int, now: datetime, *, lock: bool = False) -> Reservation | None:
    if lock:
        # By a statement of its own: one that waits for a lock joins the row as it is then with the commands as they
        # were before, so a reservation that another transaction has just begun to cancel looks untouched.
        await conn.execute(
            "SELECT FROM reservations WHERE station_id = %s AND reservation_id = %s FOR UPDATE", (station_id, number)
        )
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM {_FROM} WHERE r.station_id = %(station)s AND r.reservation_id = %(number)s",  # noqa: S608 - constant parts
        {"station": station_id, "number": number, "now": now},
    )
    row = await cursor.fetchone()
    return None if row is None else _reservation(row)


async def page(
    conn: Conn, station_id: str, state: ReservationState | None, now: datetime, limit: int, offset: int
) -> tuple[list[Reservation], int]:
    """Reservations of the station, newest first, and how many there are of this state (None: of all)."""
    values = {"station": station_id, "now": now, "state": state, "limit": limit, "offset": offset}
    found = f"SELECT {_COLUMNS} FROM {_FROM} WHERE r.station_id = %(station)s"  # noqa: S608 - constant parts
    condition = "%(state)s::text IS NULL OR f.state = %(state)s"
    cursor = await conn.execute(
        f"""SELECT * FROM ({found}) f WHERE {condition}
             ORDER BY created_at DESC, reservation_id DESC LIMIT %(limit)s OFFSET %(offset)s""",  # noqa: S608 - constant parts
        values,
    )
    rows = [_reservation(row) for row in await cursor.fetchall()]
    counted = await (
        await conn.execute(f"SELECT count(*) AS total FROM ({found}) f WHERE {condition}", values)  # noqa: S608 - constant parts
    ).fetchone()
    assert counted is not None
    return rows, int(counted["total"])


async def live_on(conn: Conn, station_id: str, connector_id: int, now: datetime) -> int | None:
    """The number of the reservation that keeps this connector (0: any connector) and is not about to be cancelled."""
    cursor = await conn.execute(
        f"""SELECT r.reservation_id FROM {_FROM}
             WHERE r.station_id = %(station)s AND r.connector_id = %(connector)s
               AND r.state IN ('requested', 'accepted') AND {_STATE} IN ('requested', 'accepted')
               AND coalesce(cancel.status NOT IN ('queued', 'sent'), true)
             LIMIT 1""",  # noqa: S608 - constant parts
        {"station": station_id, "connector": connector_id, "now": now},
    )
    row = await cursor.fetchone()
    return None if row is None else int(row["reservation_id"])


async def holds(conn: Conn, station_id: str, connector_id: int, client_id: str, now: datetime) -> list[Hold]:
    """Reservations in force at this connector or at the whole station, as far as the client may know."""
    cursor = await conn.execute(
        "SELECT connector_id, is_own, is_for_app, id_tag FROM evpower_reservations_at(%s, %s, %s, %s)",
        (station_id, connector_id, client_id, now),
    )
    return [Hold(**row) for row in await cursor.fetchall()]


async def kept_for_app(conn: Conn, client_id: str, now: datetime) -> frozenset[tuple[str, int]]:
    """Station and connector of the client's reservations in force, by the rule that its start is judged by."""
    cursor = await conn.execute(
        """SELECT r.station_id, r.connector_id
             FROM reservations r
            CROSS JOIN LATERAL evpower_reservations_at(r.station_id, r.connector_id, %(client)s, %(now)s) h
            WHERE r.client_id = %(client)s AND r.is_for_app AND r.state IN ('requested', 'accepted')
              AND r.expires_at > %(now)s AND h.is_own AND h.is_for_app AND h.connector_id = r.connector_id""",
        {"client": client_id, "now": now},
    )
    return frozenset((row["station_id"], row["connector_id"]) for row in await cursor.fetchall())


async def card(conn: Conn, id_tag: str) -> CardOfReservation | None:
    """The card with this tag; None when nobody has one."""
    cursor = await conn.execute(
        "SELECT client_id, status, expires_at FROM id_tags WHERE id_tag_folded = upper(%s)", (id_tag,)
    )
    row = await cursor.fetchone()
    return None if row is None else CardOfReservation(**row)


async def answered(
    conn: Conn,
    station_id: str,
    number: int,
    command_id: str,
    state: ReservationState,
    refusal: str | None,
    now: datetime,
) -> None:
    """The charger's answer to the question of ``command_id``, unless the reservation has gone on meanwhile.

    Use case: the charger starts a transaction with the reservation before its answer to ReserveNow is recorded.
    """
    await conn.execute(
        """UPDATE reservations
              SET state = %(state)s, refusal = %(refusal)s, updated_at = %(now)s,
                  ended_at = CASE WHEN %(live)s THEN NULL ELSE %(now)s END
            WHERE station_id = %(station)s AND reservation_id = %(number)s AND command_id = %(command)s
              AND state = 'requested'""",
        {
            "state": state,
            "live": state.live,
            "refusal": refusal,
            "now": now,
            "station": station_id,
            "number": number,
            "command": command_id,
        },
    )


async def take_over(
    conn: Conn, command_id: str, new: NewReservation, number: int, client_id: str | None, now: datetime
) -> None:
    """A reservation that was made past these routes, and that the charger has accepted: it keeps what it says now."""
    await conn.execute(
        """INSERT INTO reservations AS r (station_id, reservation_id, connector_id, id_tag, parent_id_tag, client_id,
               expires_at, state, command_id, requested_by, created_at, updated_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, 'accepted', %s, %s, %s, %s)
           ON CONFLICT (station_id, reservation_id) DO UPDATE
           SET connector_id = excluded.connector_id, id_tag = excluded.id_tag, client_id = excluded.client_id,
               parent_id_tag = excluded.parent_id_tag, expires_at = excluded.expires_at, state = 'accepted',
               is_for_app = r.is_for_app AND r.id_tag_folded = upper(%s), refusal = NULL,
               command_id = excluded.command_id, cancel_command_id = NULL, transaction_id = NULL, session_id = NULL,
               requested_by = excluded.requested_by, updated_at = excluded.updated_at, ended_at = NULL""",
        (
            new.station_id,
            number,
            new.connector_id,
            new.id_tag,
            new.parent_id_tag,
            client_id,
            new.expires_at,
            command_id,
            new.requested_by,
            now,
            now,
            new.id_tag,
        ),
    )


async def end(
    conn: Conn, station_id: str, number: int, state: ReservationState, refusal: str | None, now: datetime
) -> None:
    """End a reservation that is requested or accepted."""
    await conn.execute(
        """UPDATE reservations SET state = %s, refusal = %s, updated_at = %s, ended_at = %s
            WHERE station_id = %s AND reservation_id = %s AND state IN ('requested', 'accepted')""",
        (state, refusal, now, now, station_id, number),
    )


async def use(conn: Conn, begun: Begun, now: datetime) -> int | None:
    """Mark the reservation used that the charger names, else the one that was made for this tag here; its number."""
    cursor = await conn.execute(
        """UPDATE reservations r
              SET state = 'used', refusal = NULL, transaction_id = %(transaction)s, session_id = %(session)s,
                  updated_at = %(now)s, ended_at = %(now)s
            WHERE r.station_id = %(station)s AND r.state <> 'used' AND r.reservation_id = (
                  SELECT c.reservation_id FROM reservations c
                   WHERE c.station_id = %(station)s
                     AND (c.reservation_id = %(number)s
                          OR (c.state IN ('requested', 'accepted') AND c.expires_at > %(now)s
                              AND c.connector_id IN (0, %(connector)s) AND c.id_tag_folded = upper(%(tag)s)))
                   ORDER BY (c.reservation_id = %(number)s) IS TRUE DESC, c.connector_id DESC LIMIT 1)
            RETURNING r.reservation_id""",
        {
            "station": begun.station_id,
            "connector": begun.connector_id,
            "number": begun.reservation_id,
            "tag": begun.id_tag,
            "transaction": begun.transaction_id,
            "session": begun.session_id,
            "now": now,
        },
    )
    row = await cursor.fetchone()
    return None if row is None else int(row["reservation_id"])


async def confirm_by_status(conn: Conn, station_id: str, connector_id: int, now: datetime) -> None:
    """The connector says Reserved: the question whose answer was lost has been accepted."""
    await conn.execute(
        """UPDATE reservations SET state = 'accepted', updated_at = %(now)s
            WHERE station_id = %(station)s AND connector_id = %(connector)s AND state = 'requested'
              AND expires_at > %(now)s
              AND command_id IN (SELECT id FROM station_commands
                                  WHERE station_id = %(station)s AND status IN ('timed_out', 'failed'))""",
        {"station": station_id, "connector": connector_id, "now": now},
    )


async def released_by_charger(
    conn: Conn, station_id: str, connector_id: int, expired_by: datetime, now: datetime
) -> None:
    """The connector is free again although we asked for nothing: the reservation has run out, or it is forgotten."""
    await conn.execute(
        """UPDATE reservations r
              SET state = CASE WHEN expires_at <= %(expired_by)s THEN 'expired' ELSE 'cancelled' END,
                  refusal = CASE WHEN expires_at <= %(expired_by)s THEN NULL ELSE 'released by the charger' END,
                  updated_at = %(now)s, ended_at = %(now)s
            WHERE station_id = %(station)s AND connector_id = %(connector)s AND state = 'accepted'
              AND NOT EXISTS (SELECT FROM station_commands c
                               WHERE c.id = r.cancel_command_id AND c.status IN ('queued', 'sent'))""",
        {"station": station_id, "connector": connector_id, "expired_by": expired_by, "now": now},
    )


async def expire(conn: Conn, now: datetime, limit: int) -> int:
    """Write down up to ``limit`` reservations that are over; how many."""
    cursor = await conn.execute(
        f"""WITH due AS (
                SELECT station_id, reservation_id FROM reservations
                 WHERE state IN ('requested', 'accepted') AND expires_at <= %(now)s
                 ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
            judged AS (
                SELECT due.station_id, due.reservation_id, {_UNANSWERED} AS unanswered,
                       coalesce(asked.error, asked.status) AS why
                  FROM due JOIN reservations r USING (station_id, reservation_id)
                  LEFT JOIN station_commands asked ON asked.id = r.command_id)
            UPDATE reservations r
               SET state = CASE WHEN j.unanswered THEN 'failed' ELSE 'expired' END,
                   refusal = CASE WHEN j.unanswered THEN j.why ELSE r.refusal END,
                   updated_at = %(now)s, ended_at = r.expires_at
              FROM judged j WHERE r.station_id = j.station_id AND r.reservation_id = j.reservation_id""",  # noqa: S608 - constant parts
        {"now": now, "limit": limit},
    )
    return cursor.rowcount
