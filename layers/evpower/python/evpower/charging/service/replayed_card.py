"""A charge by card that is over before we hear of it, while its client or connector is busy with another."""

from datetime import datetime
from decimal import Decimal

from evpower.accounts.models import Client
from evpower.charging.models import LimitType, Session, SessionState, StartTransaction
from evpower.charging.repository import sessions
from evpower.charging.settlement import Settlement
from evpower.db import Conn
from evpower.ids import correlation_id, new_id
from evpower.money import ZERO
from evpower.pricing import service as pricing
from evpower.stations import service as stations
from evpower.stations.models import Station

_SOURCE = "replayed_start"


async def open_ended_session(
    conn: Conn, client: Client, station: Station, message: StartTransaction, began_at: datetime
) -> Session:
    """A session that has ended already and took nothing: its StopTransaction, which follows, books what it cost.

    Use case: the driver charged by card while the charger was offline, and charges elsewhere by the time the charger
    tells of it. Two sessions cannot be live, but the first was real. The client is locked by the caller.
    """
    connector = await stations.ensure_connector(conn, station.id, message.connector_id)
    price = await pricing.price_for(conn, station, connector, client.id, began_at)
    session_id = new_id()
    history_id = await pricing.freeze(
        conn,
        price,
        station_id=station.id,
        connector_id=message.connector_id,
        client_id=client.id,
        session_id=session_id,
    )
    await sessions.insert(
        conn,
        session_id=session_id,
        client_id=client.id,
        station_id=station.id,
        connector_id=message.connector_id,
        id_tag=message.id_tag,
        start_source="rfid",
        limit_type=LimitType.NONE,
        limit_value=Decimal(0),
        price=price,
        pricing_history_id=history_id,
        sample_interval_s=stations.expected_sample_interval_s(station),
        correlation_id=correlation_id.get(),
        now=began_at,
        state=SessionState.STOPPED,
    )
    session = await sessions.get(conn, session_id)
    assert session is not None
    nothing, now = Settlement(ZERO, ZERO, ZERO, ZERO), message.received_at
    await sessions.insert_settlement(
        conn, session, nothing, revision=1, source=_SOURCE, energy_wh=ZERO, minutes=ZERO, now=now
    )
    await sessions.close(
        conn,
        session,
        nothing,
        state=SessionState.STOPPED,
        revision=1,
        base=ZERO,
        reason=_SOURCE,
        initiator="station",
        stopped_at=now,
        by_transaction=False,
        now=now,
    )
    ended = await sessions.get(conn, session_id)
    assert ended is not None
    return ended
