"""All SQL of certificates. Rows of this domain are locked before the row of a command."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from evpower.certificates.authority import SigningOrder
from evpower.certificates.models import (
    CertificateFacts,
    CertificateState,
    Expiring,
    HashData,
    InstalledCertificate,
    Issued,
    StationCertificate,
)
from evpower.db import Conn

_COLUMNS = ", ".join(f"c.{name}" for name in StationCertificate.__slots__)


# --- Requests and issued certificates -------------------------------------------------------------------------------


async def lock_station(conn: Conn, station_id: str) -> tuple[str, str] | None:
    """Id and serial number; requests of one station are taken one after the other."""
    cursor = await conn.execute("SELECT id, serial_number FROM stations WHERE id = %s FOR UPDATE", (station_id,))
    row = await cursor.fetchone()
    return None if row is None else (row["id"], row["serial_number"])


async def open_request(conn: Conn, station_id: str, fingerprint: str) -> bool:
    cursor = await conn.execute(
        """SELECT 1 FROM station_certificates
            WHERE station_id = %s AND csr_fingerprint = %s AND state IN ('requested', 'issued')""",
        (station_id, fingerprint),
    )
    return await cursor.fetchone() is not None


async def count_requests(conn: Conn, station_id: str, since: datetime) -> int:
    cursor = await conn.execute(
        "SELECT count(*) AS n FROM station_certificates WHERE station_id = %s AND requested_at > %s",
        (station_id, since),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["n"])


async def replace_open(conn: Conn, station_id: str, error: str) -> None:
    """End the open requests of a station: it has made a newer key."""
    await conn.execute(
        """UPDATE station_certificates SET state = 'failed', error = %s, due_at = NULL
            WHERE station_id = %s AND state IN ('requested', 'issued')""",
        (error, station_id),
    )


async def add_request(
    conn: Conn, certificate_id: str, station_id: str, csr: str, fingerprint: str, due_at: datetime, now: datetime
) -> None:
    await conn.execute(
        """INSERT INTO station_certificates (id, station_id, csr, csr_fingerprint, due_at, requested_at)
           VALUES (%s, %s, %s, %s, %s, %s)""",
        (certificate_id, station_id, csr, fingerprint, due_at, now),
    )


async def due(conn: Conn, now: datetime, limit: int) -> list[str]:
    cursor = await conn.execute(
        "SELECT id FROM station_certificates WHERE due_at <= %s ORDER BY due_at LIMIT %s", (now, limit)
    )
    return [row["id"] async for row in cursor]


async def take(
    conn: Conn, certificate_id: str, now: datetime, lease: timedelta, *, early: bool
) -> dict[str, Any] | None:
    """The row with its request, leased to the caller; ``early``: before it is due. None: somebody else has it."""
    cursor = await conn.execute(
        f"""UPDATE station_certificates c
               SET due_at = %(until)s, attempts = c.attempts + (c.state = 'requested')::integer
             WHERE c.id = (SELECT id FROM station_certificates
                            WHERE id = %(id)s AND due_at IS NOT NULL AND (due_at <= %(now)s OR %(early)s)
                              FOR UPDATE SKIP LOCKED)
            RETURNING {_COLUMNS}, c.csr, c.ca_reference, c.chain, c.ca_revoked_at""",  # noqa: S608 - our own names
        {"id": certificate_id, "now": now, "until": now + lease, "early": early},
    )
    return await cursor.fetchone()


async def issue(conn: Conn, order: SigningOrder, issued: Issued, now: datetime) -> bool:
    """requested -> issued; false when a newer request took its place meanwhile."""
    facts = issued.facts
    cursor = await conn.execute(
        """UPDATE station_certificates
              SET state = 'issued', chain = %s, subject = %s, issuer = %s, serial_number = %s, not_before = %s,
                  not_after = %s, issued_at = %s, error = NULL
            WHERE id = %s AND state = 'requested'""",
        (
            issued.chain,
            facts.subject,
            facts.issuer,
            facts.serial_number,
            facts.not_before,
            facts.not_after,
            now,
            order.id,
        ),
    )
    return cursor.rowcount == 1


async def sent(conn: Conn, certificate_id: str, command_id: str, due_at: datetime) -> None:
    await conn.execute(
        "UPDATE station_certificates SET command_id = %s, sends = sends + 1, due_at = %s WHERE id = %s",
        (command_id, due_at, certificate_id),
    )


async def postpone(
    conn: Conn, certificate_id: str, due_at: datetime, error: str | None = None, reference: str | None = None
) -> None:
    await conn.execute(
        """UPDATE station_certificates SET due_at = %s, error = coalesce(%s, error),
                  ca_reference = coalesce(%s, ca_reference) WHERE id = %s""",
        (due_at, error, reference, certificate_id),
    )


async def fail(conn: Conn, certificate_id: str, error: str) -> bool:
    cursor = await conn.execute(
        """UPDATE station_certificates SET state = 'failed', error = %s, due_at = NULL
            WHERE id = %s AND state IN ('requested', 'issued')""",
        (error, certificate_id),
    )
    return cursor.rowcount == 1


async def answer(
    conn: Conn, station_id: str, command_id: str, serial: str | None, state: CertificateState, now: datetime
) -> str | None:
    """Note the charger's answer on the certificate that a command carried, or that has this serial number."""
    cursor = await conn.execute(
        """UPDATE station_certificates SET state = %(state)s, answered_at = %(now)s,
                  due_at = CASE WHEN revoked_at IS NULL THEN NULL ELSE due_at END
            WHERE id = (SELECT id FROM station_certificates
                         WHERE station_id = %(station)s AND chain IS NOT NULL
                           AND (command_id = %(command)s OR serial_number = %(serial)s)
                         ORDER BY (command_id = %(command)s) DESC NULLS LAST LIMIT 1)
            RETURNING id""",
        {"station": station_id, "command": command_id, "serial": serial, "state": state, "now": now},
    )
    row = await cursor.fetchone()
    return None if row is None else str(row["id"])


async def of_station(conn: Conn, station_id: str, limit: int) -> list[StationCertificate]:
    cursor = await conn.execute(
        f"""SELECT {_COLUMNS} FROM station_certificates c WHERE c.station_id = %s
             ORDER BY c.requested_at DESC LIMIT %s""",  # noqa: S608 - our own names
        (station_id, limit),
    )
    return [StationCertificate.from_row(row) async for row in cursor]


async def shown_before(conn: Conn, station_id: str) -> list[tuple[StationCertificate, bool]]:
    """All certificates that were issued to a station, for the gate."""
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM station_certificates c WHERE c.station_id = %s AND c.chain IS NOT NULL",  # noqa: S608
        (station_id,),
    )
    found = [StationCertificate.from_row(row) async for row in cursor]
    return [(item, item.used_at is not None) for item in found]


async def note_use(conn: Conn, station_id: str, serial: str, now: datetime) -> None:
    await conn.execute(
        """UPDATE station_certificates SET used_at = %s
            WHERE station_id = %s AND serial_number = %s AND used_at IS NULL""",
        (now, station_id, serial),
    )


async def revoke(conn: Conn, station_id: str, certificate_id: str, by: str, now: datetime) -> StationCertificate | None:
    """Mark it revoked; the sweep tells the authority. None: the station has no such issued certificate."""
    cursor = await conn.execute(
        f"""UPDATE station_certificates c
               SET revoked_at = coalesce(c.revoked_at, %(now)s), revoked_by = coalesce(c.revoked_by, %(by)s),
                   state = CASE c.state WHEN 'issued' THEN 'failed' ELSE c.state END,
                   error = CASE c.state WHEN 'issued' THEN 'revoked before the charger had it' ELSE c.error END,
                   due_at = CASE WHEN c.ca_revoked_at IS NULL THEN %(now)s END
             WHERE c.id = %(id)s AND c.station_id = %(station)s AND c.chain IS NOT NULL
            RETURNING {_COLUMNS}""",  # noqa: S608 - our own names
        {"id": certificate_id, "station": station_id, "by": by, "now": now},
    )
    row = await cursor.fetchone()
    return None if row is None else StationCertificate.from_row(row)


async def revoked_at_authority(conn: Conn, certificate_id: str, now: datetime) -> None:
    await conn.execute(
        "UPDATE station_certificates SET ca_revoked_at = %s, due_at = NULL WHERE id = %s", (now, certificate_id)
    )


async def has_usable(conn: Conn, station_id: str, now: datetime) -> bool:
    """Whether the charger has accepted a certificate of ours that is good now."""
    cursor = await conn.execute(
        """SELECT 1 FROM station_certificates WHERE station_id = %s AND state = 'accepted' AND revoked_at IS NULL
              AND not_after > %s LIMIT 1""",
        (station_id, now),
    )
    return await cursor.fetchone() is not None


# --- Roots inside chargers ------------------------------------------------------------------------------------------


async def installed(conn: Conn, station_id: str) -> list[InstalledCertificate]:
    cursor = await conn.execute(
        """SELECT id, certificate_type, hash_algorithm, issuer_name_hash, issuer_key_hash, serial_number, subject,
                  not_after, seen_at
             FROM installed_certificates WHERE station_id = %s ORDER BY certificate_type, seen_at, id""",
        (station_id,),
    )
    return [_installed(row) async for row in cursor]


def _installed(row: dict[str, Any]) -> InstalledCertificate:
    named = HashData(row["hash_algorithm"], row["issuer_name_hash"], row["issuer_key_hash"], row["serial_number"])
    return InstalledCertificate(
        row["id"], row["certificate_type"], named, row["subject"], row["not_after"], row["seen_at"]
    )


async def known_texts(conn: Conn, station_id: str, certificate_type: str) -> list[str]:
    """PEM texts of the roots of this use that were installed from here."""
    cursor = await conn.execute(
        """SELECT certificate FROM installed_certificates
            WHERE station_id = %s AND certificate_type = %s AND certificate IS NOT NULL""",
        (station_id, certificate_type),
    )
    return [row["certificate"] async for row in cursor]


async def add_installed(
    conn: Conn,
    installed_id: str,
    station_id: str,
    certificate_type: str,
    named: HashData,
    text: str | None,
    facts: CertificateFacts | None,
    now: datetime,
) -> None:
    await conn.execute(
        """INSERT INTO installed_certificates AS i (id, station_id, certificate_type, hash_algorithm, issuer_name_hash,
                  issuer_key_hash, serial_number, certificate, subject, not_after, seen_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
           ON CONFLICT (station_id, certificate_type, hash_algorithm, issuer_name_hash, issuer_key_hash, serial_number)
           DO UPDATE SET seen_at = excluded.seen_at, certificate = coalesce(excluded.certificate, i.certificate),
                  subject = coalesce(excluded.subject, i.subject),
                  not_after = coalesce(excluded.not_after, i.not_after)""",
        (
            installed_id,
            station_id,
            certificate_type,
            named.hash_algorithm,
            named.issuer_name_hash,
            named.issuer_key_hash,
            named.serial_number,
            text,
            facts.subject if facts else None,
            facts.not_after if facts else None,
            now,
        ),
    )


async def remove_unseen(conn: Conn, station_id: str, certificate_type: str, now: datetime) -> None:
    """Forget the roots of this use that the charger no longer tells."""
    await conn.execute(
        "DELETE FROM installed_certificates WHERE station_id = %s AND certificate_type = %s AND seen_at < %s",
        (station_id, certificate_type, now),
    )


async def remove_installed(conn: Conn, station_id: str, named: HashData) -> None:
    await conn.execute(
        """DELETE FROM installed_certificates
            WHERE station_id = %s AND issuer_name_hash_folded = lower(%s) AND issuer_key_hash_folded = lower(%s)
              AND serial_number_folded = ltrim(lower(%s), '0')""",
        (station_id, named.issuer_name_hash, named.issuer_key_hash, named.serial_number),
    )


async def find_installed(conn: Conn, station_id: str, installed_id: str) -> InstalledCertificate | None:
    return next((item for item in await installed(conn, station_id) if item.id == installed_id), None)


async def last_read(conn: Conn, station_id: str) -> datetime | None:
    """When the charger last told its roots."""
    cursor = await conn.execute(
        """SELECT max(finished_at) AS at FROM station_commands
            WHERE station_id = %s AND action = 'GetInstalledCertificateIds' AND status = 'accepted'""",
        (station_id,),
    )
    row = await cursor.fetchone()
    at: datetime | None = row["at"] if row else None
    return at


# --- Expiry ---------------------------------------------------------------------------------------------------------


async def expiring(conn: Conn, until: datetime, days: int, limit: int) -> list[Expiring]:
    """Certificates that end by ``until`` and whose operators were not told of ``days`` or less; rows are locked.

    A certificate that a newer one has replaced is nobody's concern any more.
    """
    cursor = await conn.execute(
        """SELECT 'issued' AS kind, c.id, c.station_id, c.subject, c.not_after, c.warned_days
             FROM station_certificates c
            WHERE c.state = 'accepted' AND c.revoked_at IS NULL AND c.not_after <= %(until)s
              AND (c.warned_days IS NULL OR c.warned_days > %(days)s)
              AND NOT EXISTS (SELECT FROM station_certificates n WHERE n.station_id = c.station_id
                               AND n.state = 'accepted' AND n.revoked_at IS NULL AND n.not_after > c.not_after)
            ORDER BY c.not_after LIMIT %(limit)s FOR UPDATE SKIP LOCKED""",
        {"until": until, "days": days, "limit": limit},
    )
    found = [Expiring(**row) async for row in cursor]
    cursor = await conn.execute(
        """SELECT 'installed' AS kind, id, station_id, subject, not_after, warned_days
             FROM installed_certificates
            WHERE not_after <= %(until)s AND (warned_days IS NULL OR warned_days > %(days)s)
            ORDER BY not_after LIMIT %(limit)s FOR UPDATE SKIP LOCKED""",
        {"until": until, "days": days, "limit": limit},
    )
    return found + [Expiring(**row) async for row in cursor]


async def warned(conn: Conn, item: Expiring, days: int) -> None:
    table = b"station_certificates" if item.kind == "issued" else b"installed_certificates"
    await conn.execute(b"UPDATE " + table + b" SET warned_days = %s WHERE id = %s", (days, item.id))


async def count_expiring(conn: Conn, until: datetime) -> int:
    """Certificates in use that end by ``until``."""
    cursor = await conn.execute(
        """SELECT (SELECT count(*) FROM station_certificates c
                    WHERE c.state = 'accepted' AND c.revoked_at IS NULL AND c.not_after <= %(until)s
                      AND NOT EXISTS (SELECT FROM station_certificates n WHERE n.station_id = c.station_id
                                       AND n.state = 'accepted' AND n.revoked_at IS NULL
                                       AND n.not_after > c.not_after))
                + (SELECT count(*) FROM installed_certificates WHERE not_after <= %(until)s) AS n""",
        {"until": until},
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["n"])


async def to_renew(conn: Conn, until: datetime, asked_before: datetime, limit: int) -> Sequence[str]:
    """Stations of profile 3 whose newest certificate ends by ``until``, and that were not asked for a new one lately.

    An open request, or one that was sent to the charger, is renewal enough.
    """
    cursor = await conn.execute(
        """SELECT c.station_id FROM station_certificates c JOIN stations s ON s.id = c.station_id
            WHERE s.security_profile = 3 AND s.status <> 'inactive'
              AND c.state = 'accepted' AND c.revoked_at IS NULL AND c.not_after <= %(until)s
              AND NOT EXISTS (SELECT FROM station_certificates n WHERE n.station_id = c.station_id
                               AND (n.state IN ('requested', 'issued')
                                    OR n.state = 'accepted' AND n.revoked_at IS NULL AND n.not_after > c.not_after))
              AND NOT EXISTS (SELECT FROM station_commands m WHERE m.station_id = c.station_id
                               AND m.action = 'ExtendedTriggerMessage' AND m.created_at > %(asked)s
                               AND m.payload ->> 'requestedMessage' = 'SignChargePointCertificate')
            GROUP BY c.station_id ORDER BY min(c.not_after) LIMIT %(limit)s""",
        {"until": until, "asked": asked_before, "limit": limit},
    )
    return [row["station_id"] async for row in cursor]
