"""Sessions that need somebody to look at them: corrections by staff, each with its trace."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from evpower.accounts import adjustment
from evpower.accounts.adjustment import Adjustment
from evpower.accounts.models import LedgerEntry
from evpower.charging.repository import reviews
from evpower.charging.service.common import lock_with_client
from evpower.charging.staff_models import ReviewAct
from evpower.db import Conn
from evpower.errors import IdempotencyConflict, StateConflict


class SessionRuns(
    StateConflict,
    spec={
        "texts": {
            "ru": "Зарядка ещё идёт: исправить её можно после окончания.",
            "ky": "Кубаттоо дагы эле жүрүп жатат: аны бүткөндөн кийин оңдоого болот.",
            "en": "The session still runs: it can be corrected once it has ended.",
        }
    },
):
    """Its own settlement comes first."""


@dataclass(frozen=True, slots=True)
class SessionAdjustment:
    """A wish to add ``amount`` signed som to the balance of a session's client. ``actor`` and ``key`` name it."""

    session_id: str
    amount: Decimal
    reason: str
    actor: str
    key: str


async def adjust_session(conn: Conn, wish: SessionAdjustment, now: datetime) -> tuple[LedgerEntry, ReviewAct]:
    """Correct what a session cost by a manual adjustment of its client's balance, once per actor and key.

    The session's bill stays what its meter says: the ledger entry is the client's, and the act links the two.

    Raises:
        SessionNotFound: no such session.
        SessionRuns: it has not ended.
        IdempotencyConflict: the key was used for something else.
        InvalidAmount, MaximumAmountExceeded, ClientDeleted, InsufficientBalance: as :func:`adjustment.adjust`.
    """
    client, session = await lock_with_client(conn, wish.session_id)
    if session.state.live:
        raise SessionRuns("the session still runs: stop it, then correct it", state=session.state.value)
    entry = await adjustment.adjust(conn, Adjustment(client.id, wish.amount, wish.reason, wish.actor, wish.key))
    if not entry.created:
        earlier = await reviews.by_ledger_entry(conn, entry.id)
        # Use case: the key of an adjustment of another session of this client, or of the client itself.
        if earlier is None or earlier.session_id != session.id:
            raise IdempotencyConflict
        return entry, earlier
    act = await reviews.insert(
        conn,
        session.id,
        action="adjust",
        actor=wish.actor,
        note=wish.reason,
        amount=entry.amount,
        ledger_id=entry.id,
        now=now,
    )
    return entry, act


async def close_review(conn: Conn, session_id: str, *, actor: str, note: str, now: datetime) -> ReviewAct | None:
    """Take a session off the list; None when it was not on it. New doubts put it there again.

    Raises:
        SessionNotFound: no such session.
    """
    _client, session = await lock_with_client(conn, session_id)
    if not session.needs_review:
        return None
    await reviews.unmark(conn, session_id, now)
    return await reviews.insert(conn, session_id, action="close", actor=actor, note=note, now=now)
