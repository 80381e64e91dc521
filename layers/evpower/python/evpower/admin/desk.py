"""The desk of the staff: cards, messages put aside, sessions for review. Changes go through the charging services."""

from datetime import datetime

from evpower.accounts.models import LedgerEntry
from evpower.admin.desk_models import (
    CardFilter,
    CardRecord,
    QuarantineDetail,
    QuarantineFilter,
    SessionReview,
)
from evpower.admin.failures import OwnAccount
from evpower.admin.models import Page, Scope, Slice, StaffMember
from evpower.admin.repository import cards, quarantine, reviews, sessions
from evpower.charging import service as charging
from evpower.charging.service import SessionAdjustment
from evpower.charging.staff_models import AppliedStop, QuarantinedMessage, ReviewAct, StopToApply
from evpower.db import Conn
from evpower.errors import NotFound, SessionNotFound

_CANDIDATES = 10


# --- Cards --------------------------------------------------------------------------------------------------------


async def card_page(conn: Conn, wanted: CardFilter, part: Slice) -> Page[CardRecord]:
    """RFID cards, newest first. They are the network's, as its clients are."""
    return await cards.page(conn, wanted, part)


async def card(conn: Conn, card_id: int) -> CardRecord:
    """Raises: NotFound."""
    found = await cards.find(conn, card_id)
    if found is None:
        raise NotFound("no such card")
    return found


# --- Messages put aside -------------------------------------------------------------------------------------------


async def quarantine_page(conn: Conn, scope: Scope, wanted: QuarantineFilter, part: Slice) -> Page[QuarantinedMessage]:
    """Messages of the scope's stations, newest first."""
    return await quarantine.page(conn, scope, wanted, part)


async def quarantined(conn: Conn, scope: Scope, message_id: int) -> QuarantineDetail:
    """A message, and the transactions that it may be about.

    Raises:
        NotFound: unknown, or of a station that is not in the scope.
    """
    message = await _message(conn, scope, message_id)
    return QuarantineDetail(message, await quarantine.candidates(conn, message, _CANDIDATES))


async def dismiss(conn: Conn, by: StaffMember, message_id: int, note: str, now: datetime) -> QuarantinedMessage:
    """Put a message away.

    Raises:
        NotFound: unknown, or of a station that is not in the scope.
        AlreadyDecided: it was applied.
    """
    await _message(conn, by.scope, message_id)
    return await charging.dismiss_quarantined(conn, message_id, actor=by.id, note=note, now=now)


async def apply_stop(conn: Conn, by: StaffMember, wish: StopToApply, now: datetime) -> AppliedStop:
    """End a transaction by a StopTransaction that was put aside; see the service.

    Raises:
        NotFound: unknown, or of a station that is not in the scope.
        and what the service raises.
    """
    await _message(conn, by.scope, wish.message_id)
    return await charging.apply_quarantined_stop(conn, wish, now)


async def _message(conn: Conn, scope: Scope, message_id: int) -> QuarantinedMessage:
    found = await quarantine.find(conn, scope, message_id)
    if found is None:
        raise NotFound("no such message")
    return found


# --- Sessions for review ------------------------------------------------------------------------------------------


async def review(conn: Conn, scope: Scope, session_id: str, now: datetime) -> SessionReview:
    """All that explains the bill of a session.

    Raises:
        SessionNotFound: unknown, or at a station that is not in the scope.
    """
    session = await sessions.find(conn, scope, session_id)
    if session is None:
        raise SessionNotFound
    row = await reviews.session_row(conn, session_id)
    return SessionReview(
        session=session,
        needs_review=row["needs_review"],
        reasons=tuple(row["review_reasons"]),
        start_source=row["start_source"],
        id_tag=row["id_tag"],
        meter_start=row["meter_start"],
        meter_current=row["meter_current"],
        meter_candidate=row["meter_candidate"],
        energy_wh=row["energy_wh"],
        reserved=row["reserved_amount"],
        taken=row["taken_amount"],
        written_off=row["written_off_amount"],
        stop_reason=row["stop_reason"],
        stop_initiator=row["stop_initiator"],
        readings=await reviews.readings(conn, session_id, session.created_at, now),
        transactions=await reviews.transactions(conn, session_id),
        settlements=await reviews.settlements(conn, session_id),
        ledger=await reviews.ledger(conn, session_id),
        acts=await reviews.acts(conn, session_id),
    )


async def adjust_session(
    conn: Conn, by: StaffMember, wish: SessionAdjustment, now: datetime
) -> tuple[LedgerEntry, ReviewAct]:
    """Correct what a session cost; see the service.

    Raises:
        SessionNotFound: unknown, or at a station that is not in the scope.
        OwnAccount: who gives money gives it to others.
        and what the service raises.
    """
    session = await sessions.find(conn, by.scope, wish.session_id)
    if session is None:
        raise SessionNotFound
    if session.client_id == by.id:
        raise OwnAccount("the session is your own: ask somebody else")
    return await charging.adjust_session(conn, wish, now)


async def close_review(conn: Conn, by: StaffMember, session_id: str, note: str, now: datetime) -> ReviewAct | None:
    """Take a session off the list; None when it was not on it.

    Raises:
        SessionNotFound: unknown, or at a station that is not in the scope.
    """
    if await sessions.find(conn, by.scope, session_id) is None:
        raise SessionNotFound
    return await charging.close_review(conn, session_id, actor=by.id, note=note, now=now)
