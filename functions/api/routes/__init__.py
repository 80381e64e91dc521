"""All route modules, in the order of registration (fixed paths before paths with parameters).

A new module of routes is one file here and one line below. Drivers' modules load when a process starts; those of the
staff, under ``STAFF_PATH``, with its first request of the staff: most processes serve drivers only.
"""

import re
from collections.abc import Iterable
from importlib import import_module

from fastapi import APIRouter

STAFF_PATH = re.compile(r"/api/v1/(admin/|locations/[^/]+/refresh-status$)")

DRIVER_MODULES = (
    "health",
    "auth",
    "profile",
    "balance",
    "charging",
    "payment",
    "cards",
    "mobile_legacy",
    "station",
    "locations",
    "devices",
    "notifications",
    "favorites",
    "history",
)

STAFF_MODULES = (
    "admin",
    "admin_clients",
    "admin_staff",
    "admin_commands",
    "admin_station_detail",
    "admin_messages",
    "admin_jobs",
    "admin_firmware",
    "admin_id_tags",
    "admin_quarantine",
    "admin_reviews",
    "admin_credentials",
    "admin_certificates",
    "admin_reservations",
    "admin_local_list",
    "admin_charging_profiles",
    "admin_composite_schedule",
)

MODULES = DRIVER_MODULES + STAFF_MODULES


def routers(modules: Iterable[str] = MODULES) -> tuple[APIRouter, ...]:
    """The routes of these modules, which are imported."""
    return tuple(import_module(f"{__name__}.{name}").routes for name in modules)
