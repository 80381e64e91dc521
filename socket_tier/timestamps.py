"""Date-times of chargers: read leniently, written strictly (OCPP 1.6 section 3.2, RFC 3339)."""

from evpower.clock import iso_z, parse_time

__all__ = ["iso_z", "parse_time"]
