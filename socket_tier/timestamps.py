"""Date-times of chargers: read leniently, written strictly (OCPP 1.6 section 3.2, RFC 3339)."""

from datetime import UTC, datetime

from evpower.clock import iso_z

# Use case: a clock at the end of time ("9999-12-31T23:59:59Z"). A database in Bishkek's time zone shows that moment
# in the year 10000, which Python has not; the session that carries it could never be read again.
_FIRST = datetime(1, 1, 3, tzinfo=UTC)
_LAST = datetime(9999, 12, 29, tzinfo=UTC)


def parse_time(text: str) -> datetime | None:
    """Read a charger's date-time; None when it cannot be understood.

    Offsets, missing milliseconds and a space instead of ``T`` are read; a time without zone counts as UTC, which is
    what the specification asks chargers to send. Whether the moment is plausible is not judged here: clocks lie.
    """
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return min(max(moment, _FIRST), _LAST)


__all__ = ["iso_z", "parse_time"]
