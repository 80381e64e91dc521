"""Prices for the rest of the product: what holds now, frozen with a session, settled once (mobile-api.md §9).

Computing a price writes nothing; only :func:`freeze` leaves a row.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from evpower.config import get_settings
from evpower.db import Conn
from evpower.errors import InvalidRequest
from evpower.pricing import repository, rules
from evpower.pricing.models import Offer, Price, StationTerms
from evpower.stations.models import Connector, Station


async def price_for(
    conn: Conn, station: Station, connector: Connector | None, client_id: str | None, now: datetime
) -> Price:
    """The price of a session that starts at ``now``, with the time of its next change.

    Args:
        connector: ``None`` when it is not known yet; its type and power then match any rule.
        client_id: ``None`` for what the station shows to everybody.
    """
    tariffs = await repository.client_tariffs(conn, client_id, now) if client_id else ()
    plans = {tariff.tariff_plan_id for tariff in tariffs} | {station.tariff_plan_id}
    names = [plan for plan in plans if plan]
    offer = Offer(
        station=_terms(station, connector),
        client_tariffs=tariffs,
        rules=await repository.rules_of(conn, names, now) if names else {},
        default_per_kwh=get_settings().default_price_per_kwh,
    )
    return rules.select(offer, now)


async def public_prices(conn: Conn, stations: Iterable[Station], now: datetime) -> dict[str, Price]:
    """What each station shows to everybody at ``now``, by station id; at most one query for all of them."""
    shown = list(stations)
    names = {station.tariff_plan_id for station in shown if station.tariff_plan_id and not station.has_own_price}
    known = await repository.rules_of(conn, names, now) if names else {}
    default = get_settings().default_price_per_kwh
    terms = {station.id: _terms(station, None) for station in shown}
    # Most stations of a network share a plan: each set of terms is priced once.
    prices = {
        one: rules.current(Offer(station=one, rules=known, default_per_kwh=default), now) for one in set(terms.values())
    }
    return {station_id: prices[one] for station_id, one in terms.items()}


async def freeze(
    conn: Conn,
    price: Price,
    *,
    station_id: str,
    connector_id: int,
    client_id: str | None = None,
    session_id: str | None = None,
) -> int:
    """Write the price of a session to ``pricing_history``; the id for ``charging_sessions.pricing_history_id``.

    The exact price is ``price.to_json()`` in ``charging_sessions.price``; the history row is for people and reports.
    """
    return await repository.insert_history(
        conn, price, station_id=station_id, connector_id=connector_id, client_id=client_id, session_id=session_id
    )


async def with_promo(conn: Conn, price: Price, code: str, client_id: str, now: datetime) -> Price:
    """``price`` with the promo code, to be frozen in this transaction. Live sessions count as uses (§9.5).

    Raises:
        InvalidRequest: no such code, not valid now, or used up.
    """
    promo = await repository.lock_promo(conn, code.replace("\0", "").strip(), client_id)
    if promo is None or not rules.promo_usable(promo, now):
        raise InvalidRequest("The promo code is not valid.", field="promo_code")
    return replace(price, promo=promo.terms)


async def record_promo_use(conn: Conn, price: Price, *, client_id: str, session_id: str, discount: Decimal) -> None:
    """Count the session's promo code as used. Called at each settlement, under the session's lock.

    One row per session comes of it. A bill that was not lowered counts only if an earlier settlement was.
    """
    if price.promo is not None:
        await repository.record_promo_use(conn, price.promo.id, client_id, session_id, discount)


def _terms(station: Station, connector: Connector | None) -> StationTerms:
    return StationTerms(
        price_per_kwh=station.price_per_kwh,
        session_fee=station.session_fee,
        currency=station.currency,
        tariff_plan_id=station.tariff_plan_id,
        connector_type=connector.connector_type if connector else None,
        power_kw=connector.power_kw if connector else None,
    )
