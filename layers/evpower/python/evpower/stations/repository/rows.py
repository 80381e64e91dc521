"""Column lists and rows of stations and connectors."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from evpower.stations.models import AdminStatus, Connector, ConnectorStatus, RegistrationStatus, Station

STATION_FIELDS = tuple(field.name for field in fields(Station))
STATION = ", ".join(f"s.{name}" for name in STATION_FIELDS)
CONNECTOR_FIELDS = tuple(field.name for field in fields(Connector))
CONNECTOR = ", ".join(f"c.{name}" for name in CONNECTOR_FIELDS)


def station_of(row: Mapping[str, Any]) -> Station:
    return Station(
        **{
            **row,
            "status": AdminStatus(row["status"]),
            "registration_status": RegistrationStatus(row["registration_status"]),
        }
    )


def connector_of(row: Mapping[str, Any]) -> Connector:
    return Connector(**{**row, "status": ConnectorStatus(row["status"])})
