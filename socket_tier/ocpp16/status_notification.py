"""StatusNotification: a connector's status, or the charger's (connector 0) (OCPP 1.6 section 4.9, ocpp.md §3)."""

from evpower.charging import members
from evpower.db import Conn
from evpower.reservations import service as reservations
from evpower.stations import service as stations
from evpower.stations.models import StatusChange, StatusReport
from socket_tier.charger import Charger
from socket_tier.dialect import Payload
from socket_tier.ocpp16 import values


async def handle(charger: Charger, payload: Payload) -> Payload:
    services = charger.services
    now = services.clock.now()
    report = StatusReport(
        connector=values.connector(payload, lowest=0),
        status=payload["status"],
        epoch=charger.epoch,
        error_code=payload.get("errorCode"),
        info=payload.get("info"),
        vendor_error_code=payload.get("vendorErrorCode"),
        charger_at=members.moment(payload.get("timestamp")),
    )

    async def work(conn: Conn) -> StatusChange:
        change = await stations.record_status(conn, charger.station_id, report, now)
        if change.changed and change.applied:
            await reservations.status_changed(
                conn, charger.station_id, report.connector, change.previous, report.status, now
            )
        return change

    change = await services.database.run(work)
    if change.changed:
        charger.tell_changed()
    return {}
