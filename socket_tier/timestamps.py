"""Date-times of chargers: read leniently, written strictly (OCPP 1.6 section 3.2, RFC 3339)."""

from datetime import UTC, datetime

from evpower.clock import iso_z


def parse_time(text: str) -> datetime | None:
    """Read a charger's date-time; None when it cannot be understood.

    Offsets, missing milliseconds and a space instead of ``T`` are read; a time without zone counts as UTC, which is
    what the specification asks chargers to send. Whether the moment is plausible is not judged here: clocks lie.
    """
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


__all__ = ["iso_z", "parse_time"]
