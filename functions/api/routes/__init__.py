"""All route modules, in the order of registration (fixed paths before paths with parameters).

A new module of routes is one file here and one line below.
"""

from fastapi import APIRouter

from functions.api.routes import (
    admin,
    admin_certificates,
    admin_clients,
    admin_commands,
    admin_credentials,
    admin_firmware,
    admin_id_tags,
    admin_jobs,
    admin_quarantine,
    admin_reviews,
    admin_staff,
    admin_station_detail,
    auth,
    balance,
    cards,
    charging,
    devices,
    favorites,
    health,
    history,
    locations,
    mobile_legacy,
    notifications,
    payment,
    profile,
    station,
)

ROUTERS: tuple[APIRouter, ...] = (
    health.routes,
    auth.routes,
    profile.routes,
    balance.routes,
    charging.routes,
    payment.routes,
    cards.routes,
    mobile_legacy.routes,
    station.routes,
    locations.routes,
    devices.routes,
    notifications.routes,
    favorites.routes,
    history.routes,
    admin.routes,
    admin_clients.routes,
    admin_staff.routes,
    admin_commands.routes,
    admin_station_detail.routes,
    admin_jobs.routes,
    admin_firmware.routes,
    admin_id_tags.routes,
    admin_quarantine.routes,
    admin_reviews.routes,
    admin_credentials.routes,
    admin_certificates.routes,
)
