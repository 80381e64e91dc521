"""Rules of reservations. The charger decides whether it keeps a connector; what is stored here is what it said.

A reservation by card is used at the charger with that card. A reservation for a client gets a tag of its own, which
the client's next start from the app carries, so that the charger knows it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from evpower.accounts import service as accounts
from evpower.clock import iso_z
from evpower.commands import service as commands
from evpower.commands.models import Command, CommandStatus, NewCommand
from evpower.db import Conn
from evpower.errors import ConnectorNotFound, ConnectorOccupied, NotFound, StateConflict, ValidationFailed
from evpower.ids import new_id_tag
from evpower.reservations import repository
from evpower.reservations.models import (
    MAX_DURATION,
    Begun,
    NewReservation,
    Reservation,
    ReservationState,
)
from evpower.stations import service as stations
from evpower.stations.text import clean

ASK_FOR = timedelta(minutes=15)
"""How long ReserveNow waits for a charger that is away."""
CLOCK_SKEW = timedelta(minutes=2)
"""A charger's clock may end a reservation this much before ours."""


async def create(conn: Conn, new: NewReservation, now: datetime) -> tuple[Reservation, Command]:
    """Ask the charger to keep a connector; the caller sends the command after the commit.

    Raises:
        ValidationFailed: an expiry that is over or too far away, a tag that no card has, a card that may not charge
            by then, connector 0 at a charger that cannot.
        ConnectorNotFound, ClientNotFound, ClientBlocked, ClientDeleted: unknown, or not to be served.
        ConnectorOccupied: the connector is kept already, with ``reservation_id``.
    """
    if not now < new.expires_at <= now + MAX_DURATION:
        raise ValidationFailed("expires_at must be in the next 7 days", field="expires_at")
    id_tag = new.id_tag or new_id_tag()
    client_id = new.client_id or await _holder(conn, id_tag, now)
    if client_id is not None:
        # Before the connector, as a start does. The row of the reservation names the client, and so locks it.
        client = await accounts.lock_client(conn, client_id)
        if new.client_id is not None:
            accounts.require_active(client)
    await _lock_connectors(conn, new.station_id, new.connector_id)
    other = await repository.live_on(conn, new.station_id, new.connector_id, now)
    if other is not None:
        raise ConnectorOccupied(
            "the connector is reserved already: cancel that reservation first", reservation_id=other
        )
    number = await repository.insert(conn, new, id_tag, client_id, now)
    payload: dict[str, Any] = {
        "connectorId": new.connector_id,
        "expiryDate": iso_z(new.expires_at),
        "idTag": id_tag,
        "reservationId": number,
    }
    if new.parent_id_tag is not None:
        payload["parentIdTag"] = new.parent_id_tag
    command = await commands.enqueue(
        conn,
        NewCommand(
            new.station_id, "ReserveNow", payload, min(new.expires_at, now + ASK_FOR), requested_by=new.requested_by
        ),
        now,
    )
    await repository.set_command(conn, new.station_id, number, command.id)
    return await get(conn, new.station_id, number, now), command


async def _holder(conn: Conn, id_tag: str, now: datetime) -> str | None:
    """The client of the card. Use case: a mistyped tag would keep the connector from everybody, for days."""
    card = await repository.card(conn, id_tag)
    if card is None:
        raise ValidationFailed(f"no card has the tag {id_tag}: create it at /admin/id-tags", field="id_tag")
    if card.status != "active":
        raise ValidationFailed(f"the card {id_tag} is {card.status}", field="id_tag")
    if card.expires_at is not None and card.expires_at <= now:
        raise ValidationFailed(f"the card {id_tag} has expired", field="id_tag")
    return card.client_id


async def _lock_connectors(conn: Conn, station_id: str, number: int) -> None:
    """Connectors that the reservation concerns, locked in order: two wishes, or a wish and a start, meet here."""
    if number == 0:
        known = await stations.configuration(conn, station_id)
        if (known.get("reserveconnectorzerosupported") or "true").lower() != "true":
            raise ValidationFailed("the charger cannot reserve any connector (0): name one", field="connector_id")
        for connector in await stations.connectors(conn, station_id):
            await stations.lock_connector(conn, station_id, connector.connector_number)
    elif await stations.lock_connector(conn, station_id, number) is None:
        raise ConnectorNotFound(f"the station has no connector {number}", field="connector_id")


async def get(conn: Conn, station_id: str, number: int, now: datetime) -> Reservation:
    """A reservation of the station.

    Raises:
        NotFound: no such reservation there.
    """
    found = await repository.find(conn, station_id, number, now)
    if found is None:
        raise NotFound("the station has no such reservation")
    return found


async def listing(
    conn: Conn, station_id: str, state: ReservationState | None, now: datetime, *, limit: int, offset: int
) -> tuple[list[Reservation], int]:
    """A page of the station's reservations, newest first, and their total number."""
    return await repository.page(conn, station_id, state, now, limit, offset)


async def cancel(
    conn: Conn, station_id: str, number: int, requested_by: str, now: datetime
) -> tuple[Reservation, Command | None]:
    """Ask the charger to let go; the command to send, None when one is on its way.

    One that has not been sent yet is taken back. One that may have reached the charger is cancelled there as well: both
    questions keep their order.

    Raises:
        NotFound: no such reservation there.
        StateConflict: it has ended.
    """
    found = await repository.find(conn, station_id, number, now, lock=True)
    if found is None:
        raise NotFound("the station has no such reservation")
    if found.cancelling:
        return found, None
    # Use case: the answer to ReserveNow was lost. The charger may keep the connector, so it is asked to let go.
    if not found.state.live and not (found.state is ReservationState.FAILED and found.expires_at > now):
        raise StateConflict(f"the reservation is over: it is {found.state.value}", state=found.state.value)
    if found.state is ReservationState.REQUESTED and await _take_back(conn, found, requested_by, now):
        await repository.end(conn, station_id, number, ReservationState.CANCELLED, None, now)
        return await get(conn, station_id, number, now), None
    command = await commands.enqueue(
        conn,
        NewCommand(station_id, "CancelReservation", {"reservationId": number}, now + ASK_FOR, requested_by),
        now,
    )
    await repository.set_cancel_command(conn, station_id, number, command.id, now)
    return await get(conn, station_id, number, now), command


async def _take_back(conn: Conn, reservation: Reservation, requested_by: str, now: datetime) -> bool:
    """Use case: the charger is away. It must not be asked, when it comes back, to keep what nobody wants any more."""
    command = await commands.get(conn, reservation.command_id) if reservation.command_id else None
    if command is None or command.attempt > 1:  # it may have been written before it was queued again
        return False
    return await commands.cancel_waiting(conn, reservation.station_id, command.id, requested_by, now)


# --- Starts -------------------------------------------------------------------------------------------------------


async def tag_for_start(conn: Conn, station_id: str, connector_id: int, client_id: str, now: datetime) -> str | None:
    """The id tag that a start from the app must carry here: the one of the client's own reservation, or None.

    The connector is locked. A reservation of connector 0 for somebody else is the charger's to honour: it alone knows
    which connector it keeps free.

    Raises:
        ConnectorOccupied: kept for somebody else, or for a card.
    """
    holds = await repository.holds(conn, station_id, connector_id, client_id, now)
    own = [hold.id_tag for hold in holds if hold.is_own and hold.is_for_app]
    if own:
        return own[0]
    for hold in holds:
        if hold.connector_id == connector_id:
            raise ConnectorOccupied("reserved for a card of yours" if hold.is_own else "the connector is reserved")
    return None


async def kept_for_app(conn: Conn, client_id: str, now: datetime) -> frozenset[tuple[str, int]]:
    """Where the client's own reservations let it start from the app: station and connector (0: any)."""
    return await repository.kept_for_app(conn, client_id, now)


async def transaction_began(conn: Conn, begun: Begun, now: datetime) -> int | None:
    """Mark the reservation that this transaction uses up; its number. Repeats change nothing."""
    return await repository.use(conn, begun, now)


async def status_changed(
    conn: Conn, station_id: str, connector_id: int, before: str | None, after: str, now: datetime
) -> None:
    """Let a StatusNotification correct what is stored. It cannot tell for connector 0.

    Use cases: the answer to ReserveNow was lost, and the connector says Reserved; the charger was restarted and has
    forgotten its reservation, or its clock ended it.
    """
    if connector_id == 0 or before == after:
        return
    if after == "Reserved":
        await repository.confirm_by_status(conn, station_id, connector_id, now)
    elif before == "Reserved" and after == "Available":
        await repository.released_by_charger(conn, station_id, connector_id, now + CLOCK_SKEW, now)


async def expire(conn: Conn, now: datetime, limit: int) -> int:
    """Write down up to ``limit`` reservations whose time is over; how many. Safe to run at the same time elsewhere."""
    return await repository.expire(conn, now, limit)


# --- Outcomes of commands (also of those that were queued past these routes) ---------------------------------------


async def reserve_outcome(
    conn: Conn, command: Command, outcome: CommandStatus, answer: Mapping[str, Any] | None
) -> None:
    """ReserveNow has ended: store what the charger said. One that timed out may have been accepted; see the status."""
    now = _moment(command)
    if outcome in (CommandStatus.FAILED, CommandStatus.TIMED_OUT):
        return  # read from the command's row
    wish = _wish(command)
    if wish is None:
        return
    new, number = wish
    found = await repository.find(conn, command.station_id, number, now, lock=True)
    if outcome is CommandStatus.ACCEPTED and (found is None or found.command_id != command.id):
        card = await repository.card(conn, new.id_tag or "")
        client_id = None if card is None else card.client_id
        if found is not None and found.id_tag.upper() == (new.id_tag or "").upper():
            client_id = found.client_id
        await repository.take_over(conn, command.id, new, number, client_id, now)
        return
    state = ReservationState.ACCEPTED if outcome is CommandStatus.ACCEPTED else ReservationState.REJECTED
    word = None if state.live else str((answer or {}).get("status"))
    await repository.answered(conn, command.station_id, number, command.id, state, word, now)


async def cancel_outcome(
    conn: Conn, command: Command, outcome: CommandStatus, answer: Mapping[str, Any] | None
) -> None:
    """CancelReservation has ended. Rejected: the charger knows no such reservation, so it keeps nothing either."""
    number = command.payload.get("reservationId")
    if isinstance(number, int) and outcome in (CommandStatus.ACCEPTED, CommandStatus.REJECTED):
        word = None if outcome is CommandStatus.ACCEPTED else "not known to the charger"
        await repository.end(conn, command.station_id, number, ReservationState.CANCELLED, word, _moment(command))


def _moment(command: Command) -> datetime:
    assert command.finished_at is not None
    return command.finished_at


def _wish(command: Command) -> tuple[NewReservation, int] | None:
    """What a ReserveNow asked for; None for one that only the charger understands."""
    payload = command.payload
    try:
        expires_at = datetime.fromisoformat(str(payload["expiryDate"]))
        new = NewReservation(
            station_id=command.station_id,
            connector_id=int(payload["connectorId"]),
            expires_at=expires_at,
            requested_by=command.requested_by,
            id_tag=str(clean(payload["idTag"])),
            parent_id_tag=payload.get("parentIdTag"),
        )
        number = int(payload["reservationId"])
    except (KeyError, TypeError, ValueError):
        return None
    return (new, number) if expires_at.tzinfo is not None else None
