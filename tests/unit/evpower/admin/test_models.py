"""What the staff's edit form means, and how rows are shown."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from evpower.admin.models import SessionRecord, StationChange, StationConnector, StationRecord
from evpower.admin.passwords import hash_password

NOW = datetime(2026, 3, 11, 6, 0, tzinfo=UTC)


def station(status: str) -> StationRecord:
    return StationRecord(
        id="st-1",
        serial_number="SN-1",
        model=None,
        manufacturer=None,
        location_id=None,
        location_name=None,
        location_address=None,
        status=status,
        power_capacity=None,
        price_per_kwh=None,
        session_fee=None,
        currency="KGS",
        connectors_count=0,
        last_heartbeat_at=None,
        firmware_version=None,
        created_at=NOW,
        updated_at=NOW,
    )


@pytest.mark.parametrize(
    ("before", "status", "is_available", "after"),
    [
        ("active", None, None, "active"),
        ("active", None, True, "active"),
        ("active", None, False, "maintenance"),
        ("maintenance", None, True, "active"),
        ("maintenance", None, False, "maintenance"),
        ("inactive", None, True, "active"),
        ("inactive", None, False, "inactive"),
        # The form sends both; the one that differs from what was shown is meant.
        ("active", "active", True, "active"),
        ("active", "active", False, "maintenance"),
        ("active", "maintenance", True, "maintenance"),
        ("active", "inactive", True, "inactive"),
        ("maintenance", "maintenance", True, "active"),
        ("maintenance", "active", False, "active"),
        # Both differ: status decides.
        ("active", "inactive", False, "inactive"),
        ("maintenance", "inactive", True, "inactive"),
    ],
)
def test_status_after_an_edit(before: str, status: str | None, is_available: bool | None, after: str) -> None:
    assert StationChange(status, is_available).status_after(station(before)) == after


@pytest.mark.parametrize(
    ("status", "ocpp_status", "label"),
    [
        ("available", "Available", "Available"),
        ("available", "Preparing", "Available"),
        ("occupied", "Charging", "Charging"),
        ("occupied", "SuspendedEV", "Occupied"),
        ("occupied", "Available", "Occupied"),  # held by a session that waits for its car
        ("faulted", "Faulted", "Faulted"),
        ("unavailable", "Unavailable", "Unavailable"),
    ],
)
def test_connector_labels(status: str, ocpp_status: str, label: str) -> None:
    assert StationConnector(1, 1, None, None, status, ocpp_status, None).label == label


@pytest.mark.parametrize(
    ("started", "stopped", "minutes"),
    [
        (None, None, None),
        (timedelta(minutes=-10), None, Decimal("10.0")),
        (timedelta(minutes=-10), timedelta(seconds=-87), Decimal("8.6")),
        (timedelta(minutes=1), None, Decimal(0)),  # a charger's clock is ahead
    ],
)
def test_minutes_of_a_session(started: timedelta | None, stopped: timedelta | None, minutes: Decimal | None) -> None:
    record = SessionRecord(
        id="s",
        station_id="st-1",
        station_name="SN-1",
        location_name=None,
        location_address=None,
        client_id="c",
        client_email=None,
        client_phone=None,
        status="started",
        energy_kwh=Decimal(0),
        amount=Decimal(0),
        limit_type="none",
        limit_value=Decimal(0),
        charging_started_at=None if started is None else NOW + started,
        start_time=NOW,
        stop_time=None if stopped is None else NOW + stopped,
        created_at=NOW,
    )
    assert record.minutes(NOW) == minutes


def test_equal_passwords_have_different_hashes() -> None:
    assert hash_password("correct horse") != hash_password("correct horse")
