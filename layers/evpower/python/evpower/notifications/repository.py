"""SQL of the push outbox, of devices and of web push subscriptions."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb

from evpower.db import Conn
from evpower.notifications.models import Address, Channel, Device, OutboxItem, Subscription

# Outbox -------------------------------------------------------------------------------------------------------


async def insert(
    conn: Conn,
    *,
    user_type: str,
    user_id: str,
    event: str,
    payload: dict[str, Any],
    dedup_key: str,
    correlation_id: str | None,
) -> list[int]:
    """Add one row; its id, or nothing when the same cause has written one before."""
    cursor = await conn.execute(
        """INSERT INTO push_outbox (user_type, user_id, event, payload, dedup_key, correlation_id)
           VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (dedup_key) DO NOTHING RETURNING id""",
        (user_type, user_id, event, Jsonb(payload), dedup_key, correlation_id),
    )
    return [row["id"] for row in await cursor.fetchall()]


# Whose station it is: its own owner, else that of its place (mobile-api.md §7.1).
_OWNER = "coalesce(s.user_id, l.user_id, l.admin_id)"


async def insert_for_owner(
    conn: Conn,
    station_id: str,
    *,
    event: str,
    payload: dict[str, Any],
    dedup_key: str,
    correlation_id: str | None,
) -> list[int]:
    """Add one row for the station's owner, if it has one; the station and its place join the payload."""
    cursor = await conn.execute(
        f"""INSERT INTO push_outbox (user_type, user_id, event, payload, dedup_key, correlation_id)
           SELECT 'owner', {_OWNER}, %(event)s,
                  jsonb_build_object('station_id', s.id, 'serial_number', s.serial_number, 'location_id', s.location_id)
                      || %(payload)s, %(dedup_key)s, %(correlation_id)s
             FROM stations s LEFT JOIN locations l ON l.id = s.location_id
            WHERE s.id = %(station_id)s AND {_OWNER} IS NOT NULL
           ON CONFLICT (dedup_key) DO NOTHING RETURNING id""",  # noqa: S608 - constant expression
        {
            "event": event,
            "payload": Jsonb(payload),
            "dedup_key": dedup_key,
            "correlation_id": correlation_id,
            "station_id": station_id,
        },
    )
    return [row["id"] for row in await cursor.fetchall()]


async def insert_offline(conn: Conn, station_ids: Sequence[str], now: datetime) -> list[int]:
    """Add a row per silent station for its owner; the last sign of life is in the key: one row per silence."""
    cursor = await conn.execute(
        f"""INSERT INTO push_outbox (user_type, user_id, event, payload, dedup_key)
           SELECT 'owner', {_OWNER}, 'station_offline',
                  jsonb_build_object('station_id', s.id, 'serial_number', s.serial_number,
                      'location_id', s.location_id, 'offline_since',
                      to_char(coalesce(s.last_heartbeat_at, %(now)s) AT TIME ZONE 'UTC',
                              'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')),
                  format('station_offline:%%s:%%s', s.id, extract(epoch FROM s.last_heartbeat_at))
             FROM stations s LEFT JOIN locations l ON l.id = s.location_id
            WHERE s.id = ANY(%(ids)s) AND s.status = 'active' AND {_OWNER} IS NOT NULL
            ORDER BY s.id
           ON CONFLICT (dedup_key) DO NOTHING RETURNING id""",  # noqa: S608 - constant expression
        {"ids": list(station_ids), "now": now},
    )
    return [row["id"] for row in await cursor.fetchall()]


async def claim(conn: Conn, outbox_id: int, *, now: datetime, leased_until: datetime) -> OutboxItem | None:
    """Take a queued row whose time has come until ``leased_until``; None: done, taken by another, or too early.

    The first attempt has no time to wait for: it was written by a process with another clock.
    """
    cursor = await conn.execute(
        """UPDATE push_outbox SET attempts = attempts + 1, next_attempt_at = %s
            WHERE id = %s AND state = 'queued' AND (attempts = 0 OR next_attempt_at <= %s)
           RETURNING id, user_type, user_id, event, payload, attempts, created_at, delivered_to, correlation_id""",
        (leased_until, outbox_id, now),
    )
    row = await cursor.fetchone()
    return OutboxItem(**{**row, "delivered_to": tuple(row["delivered_to"])}) if row else None


async def finish(conn: Conn, outbox_id: int, *, state: str, delivered_to: Sequence[str], now: datetime) -> None:
    await conn.execute(
        "UPDATE push_outbox SET state = %s, delivered_to = %s, finished_at = %s WHERE id = %s",
        (state, list(delivered_to), now, outbox_id),
    )


async def postpone(conn: Conn, outbox_id: int, *, until: datetime, delivered_to: Sequence[str]) -> None:
    await conn.execute(
        "UPDATE push_outbox SET next_attempt_at = %s, delivered_to = %s WHERE id = %s AND state = 'queued'",
        (until, list(delivered_to), outbox_id),
    )


async def take_overdue(
    conn: Conn, *, due_before: datetime, handed_before: datetime, now: datetime, limit: int
) -> list[int]:
    """Rows that nobody delivers although their time has come, marked as handed over now."""
    cursor = await conn.execute(
        """UPDATE push_outbox SET handed_at = %s
            WHERE id = ANY (ARRAY(
                SELECT id FROM push_outbox
                 WHERE state = 'queued' AND next_attempt_at <= %s AND (handed_at IS NULL OR handed_at <= %s)
                 ORDER BY next_attempt_at LIMIT %s FOR UPDATE SKIP LOCKED))
           RETURNING id""",
        (now, due_before, handed_before, limit),
    )
    return [row["id"] for row in await cursor.fetchall()]


async def claim_low_balance(conn: Conn, client_id: str, *, threshold: Decimal, now: datetime) -> Decimal | None:
    """Note that a client is warned now; its balance in som. None: enough money, or warned within 24 hours."""
    cursor = await conn.execute(
        """UPDATE clients SET low_balance_notified_at = %(now)s
            WHERE id = %(id)s AND status = 'active' AND balance < %(threshold)s
              AND (low_balance_notified_at IS NULL OR low_balance_notified_at <= %(now)s - interval '24 hours')
           RETURNING balance""",
        {"id": client_id, "threshold": threshold, "now": now},
    )
    row = await cursor.fetchone()
    return row["balance"] if row else None


# Addresses ----------------------------------------------------------------------------------------------------


async def client_addresses(conn: Conn, client_id: str) -> list[Address]:
    """A client's phones and browsers."""
    cursor = await conn.execute(
        "SELECT id, platform, fcm_token, language, updated_at FROM devices WHERE client_id = %s ORDER BY id",
        (client_id,),
    )
    phones = [
        Address(
            row["id"],
            Channel.APNS if row["platform"] == "ios" else Channel.FCM,
            row["fcm_token"],
            row["language"],
            row["updated_at"],
        )
        for row in await cursor.fetchall()
    ]
    return phones + await _browsers(conn, "client", [client_id])


async def owner_addresses(conn: Conn, owner_id: str, *, operators_too: bool) -> list[Address]:
    """Browsers of an active owner of stations, and of the active operators who work for it."""
    cursor = await conn.execute(
        """SELECT u.id FROM users o JOIN users u ON u.id = o.id OR (%s AND u.admin_id = o.id AND u.role = 'operator')
            WHERE o.id = %s AND o.is_active AND u.is_active""",
        (operators_too, owner_id),
    )
    return await _browsers(conn, "owner", [row["id"] for row in await cursor.fetchall()])


async def _browsers(conn: Conn, user_type: str, user_ids: Sequence[str]) -> list[Address]:
    cursor = await conn.execute(
        """SELECT id, endpoint, p256dh_key, auth_key, language, updated_at FROM push_subscriptions
            WHERE user_id = ANY(%s) AND user_type = %s ORDER BY id""",
        (list(user_ids), user_type),
    )
    web, rows = Channel.WEB_PUSH, await cursor.fetchall()
    return [
        Address(r["id"], web, r["endpoint"], r["language"], r["updated_at"], r["p256dh_key"], r["auth_key"])
        for r in rows
    ]


async def login_is_live(conn: Conn, login_id: str) -> bool:
    """Whether the login still exists; it cannot end before this transaction does."""
    cursor = await conn.execute("SELECT 1 FROM refresh_tokens WHERE id = %s FOR KEY SHARE", (login_id,))
    return await cursor.fetchone() is not None


async def upsert_device(conn: Conn, client_id: str, login_id: str | None, device: Device, now: datetime) -> None:
    """A token is one phone: whoever registers it last owns it."""
    await conn.execute(
        """INSERT INTO devices (client_id, login_id, fcm_token, platform, app_version, language, created_at, updated_at)
           VALUES (%(client)s, %(login)s, %(token)s, %(platform)s, %(version)s, %(language)s, %(now)s, %(now)s)
           ON CONFLICT (fcm_token) DO UPDATE SET client_id = excluded.client_id, login_id = excluded.login_id,
               platform = excluded.platform, app_version = excluded.app_version, language = excluded.language,
               updated_at = excluded.updated_at""",
        {
            "client": client_id,
            "login": login_id,
            "token": device.token,
            "platform": device.platform,
            "version": device.app_version,
            "language": device.language,
            "now": now,
        },
    )


async def keep_newest_devices(conn: Conn, client_id: str, most: int) -> None:
    await conn.execute(
        """DELETE FROM devices WHERE id IN (
               SELECT id FROM devices WHERE client_id = %s ORDER BY updated_at DESC, id OFFSET %s)""",
        (client_id, most),
    )


async def delete_device(conn: Conn, client_id: str, token: str) -> bool:
    cursor = await conn.execute("DELETE FROM devices WHERE client_id = %s AND fcm_token = %s", (client_id, token))
    return cursor.rowcount > 0


async def upsert_subscription(
    conn: Conn, user_id: str, login_id: str | None, subscription: Subscription, now: datetime
) -> str:
    """Store a browser's subscription and take its endpoint from whoever used this browser before; the row's id."""
    await conn.execute(
        "DELETE FROM push_subscriptions WHERE endpoint = %s AND user_id <> %s", (subscription.endpoint, user_id)
    )
    cursor = await conn.execute(
        """INSERT INTO push_subscriptions (user_id, user_type, login_id, endpoint, p256dh_key, auth_key, user_agent,
               language, created_at, updated_at)
           VALUES (%(user)s, %(type)s, %(login)s, %(endpoint)s, %(p256dh)s, %(auth)s, %(agent)s, %(language)s, %(now)s,
               %(now)s)
           ON CONFLICT (user_id, endpoint) DO UPDATE SET user_type = excluded.user_type, login_id = excluded.login_id,
               p256dh_key = excluded.p256dh_key, auth_key = excluded.auth_key, user_agent = excluded.user_agent,
               language = excluded.language, updated_at = excluded.updated_at
           RETURNING id""",
        {
            "user": user_id,
            "type": subscription.user_type,
            "login": login_id,
            "endpoint": subscription.endpoint,
            "p256dh": subscription.p256dh,
            "auth": subscription.auth,
            "agent": subscription.user_agent,
            "language": subscription.language,
            "now": now,
        },
    )
    row = await cursor.fetchone()
    assert row is not None
    return str(row["id"])


async def keep_newest_subscriptions(conn: Conn, user_id: str, most: int) -> None:
    await conn.execute(
        """DELETE FROM push_subscriptions WHERE id IN (
               SELECT id FROM push_subscriptions WHERE user_id = %s ORDER BY updated_at DESC, id OFFSET %s)""",
        (user_id, most),
    )


async def delete_subscription(conn: Conn, user_id: str, endpoint: str) -> bool:
    cursor = await conn.execute(
        "DELETE FROM push_subscriptions WHERE user_id = %s AND endpoint = %s", (user_id, endpoint)
    )
    return cursor.rowcount > 0


async def delete_addresses(conn: Conn, user_id: str) -> None:
    """Forget every device and web push subscription of a user."""
    await conn.execute("DELETE FROM devices WHERE client_id = %s", (user_id,))
    await conn.execute("DELETE FROM push_subscriptions WHERE user_id = %s", (user_id,))


async def delete_dead(conn: Conn, address: Address) -> None:
    """Remove an address that its provider calls dead, unless it was registered anew in the meantime."""
    table = "push_subscriptions" if address.channel is Channel.WEB_PUSH else "devices"
    await conn.execute(
        f"DELETE FROM {table} WHERE id = %s AND updated_at = %s".encode(),  # noqa: S608 - one of two names
        (address.id, address.changed_at),
    )


async def mark_used(conn: Conn, addresses: Sequence[Address], now: datetime) -> None:
    """Note when addresses last took a message."""
    ids = [address.id for address in addresses]
    if ids:
        await conn.execute("UPDATE devices SET last_used_at = %s WHERE id = ANY(%s)", (now, ids))
        await conn.execute("UPDATE push_subscriptions SET last_used_at = %s WHERE id = ANY(%s)", (now, ids))
