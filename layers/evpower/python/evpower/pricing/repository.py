"""SQL of tariffs, promo codes and frozen prices."""

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb

from evpower.db import Conn
from evpower.pricing.models import ClientTariff, Component, DiscountType, Price, Promo, PromoCode, TariffRule

# Python has no 24:00 and no year 10000: an operator's "24:00" and "infinity" become what they mean.
_RULES = """
    SELECT r.id, r.tariff_plan_id, r.name, r.tariff_type, r.connector_type, r.power_range_min, r.power_range_max,
           r.price, r.currency, r.is_weekend, r.days_of_week, r.priority, r.min_duration_minutes,
           r.max_duration_minutes, r.created_at,
           CASE WHEN r.time_start = '24:00' THEN time '23:59:59' ELSE r.time_start END AS time_start,
           CASE WHEN r.time_end = '24:00' THEN time '23:59:59' ELSE r.time_end END AS time_end,
           CASE WHEN r.valid_from > '1900-01-01' THEN r.valid_from END AS valid_from,
           CASE WHEN r.valid_until < '9000-01-01' THEN r.valid_until END AS valid_until
      FROM tariff_rules r JOIN tariff_plans p ON p.id = r.tariff_plan_id
     WHERE r.tariff_plan_id = ANY(%(plans)s) AND r.is_active AND p.is_active
       AND (r.valid_from IS NULL OR r.valid_from < '9000-01-01')
       AND (r.valid_until IS NULL OR r.valid_until > %(now)s - interval '2 days')
     ORDER BY r.id"""


async def client_tariffs(conn: Conn, client_id: str, now: datetime) -> tuple[ClientTariff, ...]:
    """The client's active tariffs that hold at ``now`` or later."""
    cursor = await conn.execute(
        """
        SELECT t.id, t.created_at, t.fixed_rate_per_kwh, t.fixed_rate_per_minute, t.session_fee, t.discount_percent,
               t.tariff_plan_id, CASE WHEN t.valid_from > '1900-01-01' THEN t.valid_from END AS valid_from,
               CASE WHEN t.valid_until < '9000-01-01' THEN t.valid_until END AS valid_until
          FROM client_tariffs t
         WHERE t.client_id = %(client_id)s AND t.is_active AND t.valid_from < '9000-01-01'
           AND (t.valid_until IS NULL OR t.valid_until > %(now)s)""",
        {"client_id": client_id, "now": now},
    )
    return tuple([ClientTariff(**row) async for row in cursor])


async def rules_of(conn: Conn, plan_ids: Collection[str], now: datetime) -> dict[str, tuple[TariffRule, ...]]:
    """Active rules of those of the plans that are active, by plan."""
    found: dict[str, list[TariffRule]] = {}
    async for row in await conn.execute(_RULES, {"plans": list(plan_ids), "now": now}):
        found.setdefault(row["tariff_plan_id"], []).append(_rule(row))
    return {plan_id: tuple(rules) for plan_id, rules in found.items()}


def _rule(row: dict[str, Any]) -> TariffRule:
    return TariffRule(
        id=row["id"],
        tariff_plan_id=row["tariff_plan_id"],
        name=row["name"],
        component=Component(row["tariff_type"]),
        price=row["price"],
        created_at=row["created_at"],
        currency=row["currency"],
        connector_type=row["connector_type"],
        power_min=row["power_range_min"],
        power_max=row["power_range_max"],
        time_start=row["time_start"],
        time_end=row["time_end"],
        is_weekend=row["is_weekend"],
        days_of_week=tuple(row["days_of_week"] or ()),
        priority=row["priority"],
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        min_duration_minutes=row["min_duration_minutes"],
        max_duration_minutes=row["max_duration_minutes"],
    )


async def insert_history(
    conn: Conn, price: Price, *, station_id: str, connector_id: int, client_id: str | None, session_id: str | None
) -> int:
    """Add the frozen price to ``pricing_history``; the id of the row."""
    cursor = await conn.execute(
        """
        INSERT INTO pricing_history (station_id, connector_id, client_id, session_id, rate_per_kwh, rate_per_minute,
            session_fee, parking_fee_per_minute, currency, active_rule, tariff_plan_id, rule_id, details)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id""",
        (
            station_id,
            connector_id,
            client_id,
            session_id,
            price.rate_per_kwh,
            price.rate_per_minute,
            price.session_fee,
            price.parking_fee_per_minute,
            price.currency,
            price.active_rule,
            price.tariff_plan_id,
            price.rule_id,
            Jsonb(price.to_json()),
        ),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["id"])


async def lock_promo(conn: Conn, code: str, client_id: str) -> PromoCode | None:
    """The code (in any letter case) with its uses.

    Locked by name, not by row: starts with the same code come one after the other, so the last use is given once,
    and a role that may only read promo codes can take the lock.
    """
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('promo:' || lower(%s), 0))", (code,))
    cursor = await conn.execute(
        """
        SELECT p.id, p.code, p.discount_type, p.discount_value, p.min_charge_amount, p.max_discount_amount,
               p.is_active, p.usage_limit, p.client_usage_limit, u.used, u.used_by_client,
               CASE WHEN p.valid_from > '1900-01-01' THEN p.valid_from END AS valid_from,
               CASE WHEN p.valid_until < '9000-01-01' THEN p.valid_until END AS valid_until
          FROM promo_codes p, evpower_promo_uses(p.id, %s) u
         WHERE p.code_folded = lower(%s)""",
        (client_id, code),
    )
    row = await cursor.fetchone()
    return _promo_code(row) if row else None


def _promo_code(row: dict[str, Any]) -> PromoCode:
    terms = Promo(
        id=row["id"],
        code=row["code"],
        discount_type=DiscountType(row["discount_type"]),
        discount_value=row["discount_value"],
        min_charge_amount=row["min_charge_amount"],
        max_discount_amount=row["max_discount_amount"],
    )
    return PromoCode(
        terms=terms,
        is_active=row["is_active"],
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        usage_limit=row["usage_limit"],
        client_usage_limit=row["client_usage_limit"],
        used=row["used"],
        used_by_client=row["used_by_client"],
    )


async def record_promo_use(conn: Conn, promo_id: str, client_id: str, session_id: str, discount: Decimal) -> None:
    """One row per session, whatever the number of settlements; a later settlement corrects its amount."""
    updated = await conn.execute(
        "UPDATE promo_code_usage SET discount_amount = %s WHERE session_id = %s", (discount, session_id)
    )
    if updated.rowcount == 0 and discount > 0:
        await conn.execute(
            """
            INSERT INTO promo_code_usage (promo_code_id, client_id, session_id, discount_amount)
            VALUES (%s, %s, %s, %s)""",
            (promo_id, client_id, session_id, discount),
        )
