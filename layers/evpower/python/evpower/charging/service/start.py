"""Start of a session from the app: check, reserve, hold the connector, queue RemoteStartTransaction."""

from datetime import datetime, timedelta
from decimal import Decimal

from psycopg.errors import UniqueViolation

from evpower import metrics
from evpower.accounts import service as accounts
from evpower.accounts.models import Client, LedgerType, Movement
from evpower.charging.models import LimitType, Session, SessionState, Started, StartRequest
from evpower.charging.repository import live, sessions
from evpower.charging.repository import sweeps as queries
from evpower.commands import service as commands
from evpower.commands.models import REMOTE_START, REPEATED_BY_BOOT, NewCommand
from evpower.config import Settings, get_settings
from evpower.db import Conn
from evpower.errors import (
    ConnectorFaulted,
    ConnectorNotFound,
    ConnectorOccupied,
    ConnectorUnavailable,
    InsufficientBalance,
    SessionAlreadyActive,
    StationMaintenance,
    StationNotFound,
    StationOffline,
    StationUnavailable,
    ValidationFailed,
)
from evpower.ids import correlation_id, new_id, new_id_tag
from evpower.money import number, som
from evpower.notifications import service as notifications
from evpower.pricing import rules
from evpower.pricing import service as pricing
from evpower.pricing.models import Price
from evpower.reservations import service as reservations
from evpower.stations import service as stations
from evpower.stations.models import AdminStatus, Connector, ConnectorStatus, RegistrationStatus, Station

ENERGY_MAX_KWH = Decimal(200)
AMOUNT_MAX_SOM = Decimal(100_000)
_END_AND_STATUS = timedelta(minutes=2)  # between a StopTransaction and its Finishing, whichever comes first


async def start(conn: Conn, request: StartRequest, now: datetime) -> Started:
    """Reserve money and start a session; the caller sends the command after the commit.

    Raises:
        ClientNotFound, ClientBlocked, ClientDeleted, SessionAlreadyActive, StationNotFound, StationMaintenance,
        StationOffline, StationUnavailable, ConnectorNotFound, ConnectorOccupied, ConnectorFaulted,
        ConnectorUnavailable, InsufficientBalance, ValidationFailed, InvalidRequest (promo code).
    """
    settings = get_settings()
    _check_limits(request)
    client = await accounts.lock_client(conn, request.client_id)
    accounts.require_active(client)
    running = await sessions.live_of_client(conn, client.id)
    if running is not None:
        raise SessionAlreadyActive(session_id=running.id)
    station = await _startable_station(conn, request.station_ref, now)
    connector = await _lock_connector(conn, station, request.connector_id)
    # Use case: the client has reserved the connector. The charger gives it to the tag of the reservation alone.
    reserved_tag = await reservations.tag_for_start(conn, station.id, connector.connector_number, client.id, now)
    is_own = connector.only_reserved and reserved_tag is not None
    if connector.only_finishing:
        place = (station.id, connector.connector_number)
        is_own = place in await places_to_go_on(conn, client.id, now)
    _check_startable(connector, is_own=is_own)
    price = await pricing.price_for(conn, station, connector, client.id, now)
    if request.promo_code:
        price = await pricing.with_promo(conn, price, request.promo_code, client.id, now)
    limit_type, limit_value, reserve, estimate = plan_reserve(price, client.balance, request, settings)
    session = await open_session(
        conn,
        client,
        station,
        connector.connector_number,
        price,
        id_tag=reserved_tag or new_id_tag(),
        source="app",
        limit_type=limit_type,
        limit_value=limit_value,
        reserve=reserve,
        now=now,
    )
    command = await commands.enqueue(
        conn,
        NewCommand(
            station_id=station.id,
            action=REMOTE_START,
            payload={"connectorId": session.connector_id, "idTag": session.id_tag},
            session_id=session.id,
            expires_at=now + timedelta(seconds=settings.no_connection_after_s),
            requested_by=f"client:{client.id}",
        ),
        now,
    )
    return Started(
        session=session,
        command_id=command.id,
        balance=client.balance - reserve,
        station_online=station.connected,
        estimated_cost=estimate,
    )


async def start_again(conn: Conn, station_id: str, now: datetime) -> list[str]:
    """RemoteStart once more for sessions that wait at a station that has booted; the commands to dispatch.

    Use case: the charger accepted the start and rebooted before the cable was plugged in: it has forgotten it. Only
    sessions younger than the refund's ten minutes are started (ocpp.md §3). A refusal of the repeat refunds nothing,
    because the charger may have begun already and tell so from its queue; the ten minutes decide.
    """
    lifetime = timedelta(seconds=get_settings().no_connection_after_s)
    started = []
    for session_id in await queries.waiting_unasked(conn, station_id, now - lifetime):
        session = await sessions.lock(conn, session_id)
        if session is None or session.state is not SessionState.PENDING:
            continue
        command = await commands.enqueue(
            conn,
            NewCommand(
                station_id=station_id,
                action=REMOTE_START,
                payload={"connectorId": session.connector_id, "idTag": session.id_tag},
                session_id=session_id,
                expires_at=session.created_at + lifetime,
                requested_by=REPEATED_BY_BOOT,
                correlation_id=session.correlation_id,
            ),
            now,
        )
        started.append(command.id)
    return started


def _check_limits(request: StartRequest) -> None:
    for name, value, most in (
        ("energy_kwh", request.energy_kwh, ENERGY_MAX_KWH),
        ("amount_som", request.amount_som, AMOUNT_MAX_SOM),
    ):
        if value is not None and not 0 < value <= most:
            raise ValidationFailed(f"{name} must be above 0 and at most {most}", field=name)
    if request.energy_kwh is not None and request.energy_kwh < rules.WATT_HOUR:
        # Use case: 0.0004 kWh would be stored as 0, a paid session with no reserve.
        raise ValidationFailed("energy_kwh must be at least 0.001", field="energy_kwh")
    if request.amount_som is not None and request.amount_som != som(request.amount_som):
        raise ValidationFailed("amount_som has more than two decimal places", field="amount_som")


async def _startable_station(conn: Conn, ref: str, now: datetime) -> Station:
    station = await stations.resolve(conn, ref)
    if station is None or station.status is AdminStatus.INACTIVE:
        raise StationNotFound
    if station.status is AdminStatus.MAINTENANCE:
        raise StationMaintenance
    if station.registration_status is not RegistrationStatus.ACCEPTED:
        raise StationUnavailable
    if not stations.is_online(station, now):
        raise StationOffline
    if station.ocpp_status in ("Unavailable", "Faulted"):
        raise StationUnavailable
    return station


async def _lock_connector(conn: Conn, station: Station, connector_id: int) -> Connector:
    connector = await stations.lock_connector(conn, station.id, connector_id)
    if connector is None:
        raise ConnectorNotFound
    return connector


async def places_to_go_on(conn: Conn, client_id: str, now: datetime) -> frozenset[tuple[str, int]]:
    """Station and connector where the client may start although the connector is still Finishing.

    Use case: the limit was reached, the driver tops up and wants to go on without unplugging (OCPP 1.6 section 4.9,
    transition F2). To everybody else the connector is taken.
    """
    return await live.places_to_go_on(conn, client_id, now, around=_END_AND_STATUS)


def _check_startable(connector: Connector, *, is_own: bool) -> None:
    """``is_own``: reserved for the client who starts, or its own car stands there: that is in nobody's way."""
    if connector.status is ConnectorStatus.FAULTED:
        raise ConnectorFaulted
    if connector.status is ConnectorStatus.UNAVAILABLE:
        raise ConnectorUnavailable
    if not (connector.startable or is_own):
        raise ConnectorOccupied


def plan_reserve(
    price: Price, balance: Decimal, request: StartRequest, settings: Settings
) -> tuple[LimitType, Decimal, Decimal, Decimal]:
    """Limit type, limit value, som to reserve and estimated cost (mobile-api.md §10.1, design: Money).

    Raises:
        InsufficientBalance: with ``required_amount`` and ``current_balance``.
    """
    if request.energy_kwh is not None:
        estimate = rules.reserve_for_energy(price, request.energy_kwh)
        reserve = min(estimate, request.amount_som) if request.amount_som is not None else estimate
        plan = (LimitType.ENERGY, request.energy_kwh, reserve, estimate)
    elif request.amount_som is not None:
        reserve = request.amount_som
        plan = (LimitType.AMOUNT, request.amount_som, reserve, reserve)
    else:
        reserve = max(
            som(min(balance, settings.unlimited_reserve_som + price.session_fee)), settings.minimum_reserve_som
        )
        plan = (LimitType.NONE, Decimal(0), reserve, reserve)
    if reserve > balance:
        raise InsufficientBalance(current_balance=number(balance), required_amount=number(reserve))
    return plan


async def open_session(
    conn: Conn,
    client: Client,
    station: Station,
    connector_number: int,
    price: Price,
    *,
    id_tag: str,
    source: str,
    limit_type: LimitType,
    limit_value: Decimal,
    reserve: Decimal,
    now: datetime,
) -> Session:
    """Insert the session with its frozen price, take the reserve and hold the connector."""
    session_id = new_id()
    history_id = await pricing.freeze(
        conn, price, station_id=station.id, connector_id=connector_number, client_id=client.id, session_id=session_id
    )
    try:
        await sessions.insert(
            conn,
            session_id=session_id,
            client_id=client.id,
            station_id=station.id,
            connector_id=connector_number,
            id_tag=id_tag,
            start_source=source,
            limit_type=limit_type,
            limit_value=limit_value,
            price=price,
            pricing_history_id=history_id,
            sample_interval_s=stations.expected_sample_interval_s(station),
            correlation_id=correlation_id.get(),
            now=now,
        )
    except UniqueViolation as error:
        # The partial unique indexes are the last word when two starts meet on different rows.
        if error.diag.constraint_name == "charging_sessions_live_connector_idx":
            raise ConnectorOccupied from error
        raise SessionAlreadyActive from error
    await reserve_money(conn, client.id, session_id, reserve, number_of_reserve=1, now=now)
    await stations.hold_connector(conn, station.id, connector_number, session_id)
    metrics.emit_after_commit({"StartsAccepted": 1}, Source=source)
    session = await sessions.get(conn, session_id)
    assert session is not None
    return session


async def reserve_money(
    conn: Conn, client_id: str, session_id: str, amount: Decimal, *, number_of_reserve: int, now: datetime
) -> None:
    """Take a reserve from the balance; nothing for a free tariff."""
    if amount == 0:
        return
    await accounts.move(
        conn,
        Movement(
            client_id=client_id,
            type=LedgerType.CHARGE_RESERVE,
            amount=-amount,
            source_key=f"reserve:{session_id}:{number_of_reserve}",
            session_id=session_id,
        ),
    )
    await sessions.add_reserve(conn, session_id, amount, now)
    await notifications.warn_of_low_balance(conn, client_id, now)
