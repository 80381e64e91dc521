"""SQL of the local lists. The list's row is locked before its entries and parts, and before the command's row."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from evpower.db import Conn
from evpower.local_list.models import Card, Content, ListState, LocalList, Part, PlannedPart, Selection, UpdateType

# The command of the present step has ended, and nobody was there to write down what follows.
_UNANSWERED = "l.state IN ('sending', 'verifying') AND (c.id IS NULL OR c.status NOT IN ('queued', 'sent'))"
_COLUMNS = f"""l.station_id, l.is_enabled, l.selection, l.version, l.held_version, l.told_version, l.told_at,
    CASE WHEN {_UNANSWERED} THEN CASE l.state WHEN 'sending' THEN 'failed' ELSE 'synced' END ELSE l.state END AS state,
    CASE WHEN {_UNANSWERED} THEN coalesce(c.error, c.status, 'its command is gone') ELSE l.failure END AS failure,
    l.is_uncertain OR (l.state = 'sending' AND {_UNANSWERED}) AS is_uncertain,
    l.is_retry, l.command_id, l.requested_by, l.synced_at, l.updated_at"""
_FROM = "local_lists l LEFT JOIN station_commands c ON c.id = l.command_id"
_CARD = """i.id_tag, i.status, i.expires_at, i.parent_id_tag, coalesce(o.status = 'active', false) AS is_open"""
_CARDS = "id_tags i LEFT JOIN clients o ON o.id = i.client_id"
_GOOD = "i.status = 'active' AND o.status = 'active' AND (i.expires_at IS NULL OR i.expires_at > %(now)s)"


def _list(row: Mapping[str, Any]) -> LocalList:
    return LocalList(**{**row, "state": ListState(row["state"]), "selection": Selection(row["selection"])})


async def ensure(conn: Conn, station_id: str, now: datetime) -> LocalList:
    """The station's list, locked; made when it has none yet."""
    await conn.execute(
        "INSERT INTO local_lists (station_id, updated_at) VALUES (%s, %s) ON CONFLICT DO NOTHING", (station_id, now)
    )
    found = await find(conn, station_id, lock=True)
    assert found is not None
    return found


async def find(conn: Conn, station_id: str, *, lock: bool = False) -> LocalList | None:
    if lock:
        # By a statement of its own: one that waits for a lock sees the row as it is then, but the command that it is
        # joined with as it was before, so a list that another transaction has just begun to send looks unanswered.
        await conn.execute("SELECT FROM local_lists WHERE station_id = %s FOR UPDATE", (station_id,))
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM {_FROM} WHERE l.station_id = %s",  # noqa: S608 - constant parts
        (station_id,),
    )
    row = await cursor.fetchone()
    return None if row is None else _list(row)


async def configure(conn: Conn, station_id: str, *, is_enabled: bool, selection: Selection, now: datetime) -> None:
    await conn.execute(
        "UPDATE local_lists SET is_enabled = %s, selection = %s, updated_at = %s WHERE station_id = %s",
        (is_enabled, selection, now, station_id),
    )


async def set_step(
    conn: Conn,
    station_id: str,
    state: ListState,
    now: datetime,
    *,
    command_id: str | None,
    failure: str | None = None,
    is_uncertain: bool,
    is_retry: bool,
) -> None:
    await conn.execute(
        """UPDATE local_lists
              SET state = %(state)s, command_id = %(command)s, failure = %(failure)s, is_uncertain = %(uncertain)s,
                  is_retry = %(retry)s, updated_at = %(now)s,
                  synced_at = CASE WHEN %(state)s = 'synced' THEN %(now)s ELSE synced_at END
            WHERE station_id = %(station)s""",
        {
            "state": state.value,
            "command": command_id,
            "failure": failure,
            "uncertain": is_uncertain,
            "retry": is_retry,
            "now": now,
            "station": station_id,
        },
    )


async def set_requested_by(conn: Conn, station_id: str, requested_by: str) -> None:
    await conn.execute("UPDATE local_lists SET requested_by = %s WHERE station_id = %s", (requested_by, station_id))


async def set_told(conn: Conn, station_id: str, version: int, now: datetime) -> None:
    await conn.execute(
        "UPDATE local_lists SET told_version = %s, told_at = %s WHERE station_id = %s", (version, now, station_id)
    )


# --- Entries ------------------------------------------------------------------------------------------------------


async def choose(conn: Conn, station_id: str, id_tags: Sequence[str]) -> None:
    """Add these tags (upper case) to those that operators chose."""
    await conn.execute(
        """INSERT INTO local_list_entries (station_id, id_tag, is_chosen)
           SELECT %s, tag, true FROM unnest(%s::text[]) AS u (tag)
               ON CONFLICT (station_id, id_tag) DO UPDATE SET is_chosen = true""",
        (station_id, list(id_tags)),
    )


async def leave_out(conn: Conn, station_id: str, id_tags: Sequence[str]) -> None:
    """Take these tags (upper case) from those that operators chose; what the charger holds stays known."""
    await conn.execute(
        "UPDATE local_list_entries SET is_chosen = false WHERE station_id = %s AND id_tag = ANY (%s)",
        (station_id, list(id_tags)),
    )
    await _tidy(conn, station_id)


async def leave_out_all_but(conn: Conn, station_id: str, id_tags: Sequence[str]) -> None:
    await conn.execute(
        """UPDATE local_list_entries SET is_chosen = false
            WHERE station_id = %s AND is_chosen AND id_tag <> ALL (%s)""",
        (station_id, list(id_tags)),
    )
    await _tidy(conn, station_id)


async def _tidy(conn: Conn, station_id: str) -> None:
    await conn.execute(
        "DELETE FROM local_list_entries WHERE station_id = %s AND NOT is_chosen AND held IS NULL", (station_id,)
    )


async def count_chosen(conn: Conn, station_id: str) -> int:
    cursor = await conn.execute(
        "SELECT count(*) AS n FROM local_list_entries WHERE station_id = %s AND is_chosen", (station_id,)
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["n"])


async def without_card(conn: Conn, id_tags: Sequence[str]) -> list[str]:
    """Those of the tags (upper case) that are no card of ours."""
    cursor = await conn.execute(
        """SELECT tag FROM unnest(%s::text[]) AS u (tag)
            WHERE NOT EXISTS (SELECT FROM id_tags i WHERE i.id_tag_folded = tag) ORDER BY tag""",
        (list(id_tags),),
    )
    return [row["tag"] for row in await cursor.fetchall()]


async def chosen_cards(conn: Conn, station_id: str) -> list[Card]:
    cursor = await conn.execute(
        f"""SELECT {_CARD} FROM local_list_entries e JOIN {_CARDS} ON i.id_tag_folded = e.id_tag
             WHERE e.station_id = %s AND e.is_chosen""",  # noqa: S608 - constant parts
        (station_id,),
    )
    return [Card(**row) for row in await cursor.fetchall()]


async def good_cards(conn: Conn, now: datetime, limit: int) -> list[Card]:
    """Up to ``limit`` cards that may charge."""
    cursor = await conn.execute(
        f"SELECT {_CARD} FROM {_CARDS} WHERE {_GOOD} ORDER BY i.id LIMIT %(limit)s",  # noqa: S608 - constant parts
        {"now": now, "limit": limit},
    )
    return [Card(**row) for row in await cursor.fetchall()]


async def chosen_tags(conn: Conn, station_id: str) -> set[str]:
    cursor = await conn.execute(
        "SELECT id_tag FROM local_list_entries WHERE station_id = %s AND is_chosen", (station_id,)
    )
    return {row["id_tag"] for row in await cursor.fetchall()}


async def held(conn: Conn, station_id: str) -> Content:
    """What the charger holds, as far as it told."""
    cursor = await conn.execute(
        "SELECT id_tag, held FROM local_list_entries WHERE station_id = %s AND held IS NOT NULL", (station_id,)
    )
    return {row["id_tag"]: row["held"] for row in await cursor.fetchall()}


async def set_held(conn: Conn, station_id: str, content: Content, version: int) -> None:
    """The charger holds exactly this now."""
    await conn.execute(
        "UPDATE local_lists SET held_version = %s, version = greatest(version, %s) WHERE station_id = %s",
        (version, version, station_id),
    )
    await conn.execute(
        """UPDATE local_list_entries SET held = NULL
            WHERE station_id = %s AND held IS NOT NULL AND id_tag <> ALL (%s)""",
        (station_id, list(content)),
    )
    await conn.execute(
        """INSERT INTO local_list_entries (station_id, id_tag, held)
           SELECT %s, tag, item FROM unnest(%s::text[], %s::jsonb[]) AS u (tag, item)
               ON CONFLICT (station_id, id_tag) DO UPDATE SET held = excluded.held""",
        (station_id, list(content), [Jsonb(item) for item in content.values()]),
    )
    await _tidy(conn, station_id)


# --- Parts --------------------------------------------------------------------------------------------------------


async def replace_parts(conn: Conn, station_id: str, planned: Sequence[PlannedPart]) -> None:
    await conn.execute("DELETE FROM local_list_parts WHERE station_id = %s", (station_id,))
    for part in planned:
        await conn.execute(
            """INSERT INTO local_list_parts (station_id, list_version, update_type, entries)
               VALUES (%s, %s, %s, %s)""",
            (station_id, part.list_version, part.update_type, Jsonb(part.entries)),
        )
    if planned:
        await conn.execute(
            "UPDATE local_lists SET version = greatest(version, %s) WHERE station_id = %s",
            (planned[-1].list_version, station_id),
        )


async def parts(conn: Conn, station_id: str) -> list[Part]:
    cursor = await conn.execute(
        """SELECT list_version, update_type, entries, state, answer, command_id FROM local_list_parts
            WHERE station_id = %s ORDER BY list_version""",
        (station_id,),
    )
    return [Part(**{**row, "update_type": UpdateType(row["update_type"])}) for row in await cursor.fetchall()]


async def set_part(
    conn: Conn, station_id: str, version: int, state: str, *, answer: str | None = None, command_id: str | None
) -> None:
    await conn.execute(
        """UPDATE local_list_parts SET state = %s, answer = %s, command_id = %s
            WHERE station_id = %s AND list_version = %s""",
        (state, answer, command_id, station_id, version),
    )


# --- Sweep --------------------------------------------------------------------------------------------------------


async def holding_closed_cards(conn: Conn, quiet_since: datetime, now: datetime, after: str, limit: int) -> list[str]:
    """Connected stations whose list lets a card charge that may not any more, and that are not being updated.

    ``quiet_since``: a failed update is tried again only when it is older than this.
    """
    cursor = await conn.execute(
        f"""SELECT DISTINCT l.station_id FROM {_FROM}
              JOIN stations s ON s.id = l.station_id AND s.connected_instance IS NOT NULL
              JOIN local_list_entries e ON e.station_id = l.station_id
             WHERE e.held #>> '{{idTagInfo,status}}' = 'Accepted' AND l.station_id > %(after)s
               AND (l.state NOT IN ('sending', 'verifying') OR ({_UNANSWERED}))
               AND (l.updated_at <= %(quiet)s OR l.state IN ('idle', 'synced'))
               AND NOT EXISTS (SELECT FROM {_CARDS} WHERE i.id_tag_folded = e.id_tag AND {_GOOD})
             ORDER BY l.station_id LIMIT %(limit)s""",  # noqa: S608 - constant parts
        {"quiet": quiet_since, "now": now, "after": after, "limit": limit},
    )
    return [row["station_id"] for row in await cursor.fetchall()]
