"""Field reports about the form of messages: JSON that is none, members that are missing, odd or too long."""

from evpower.db import Conn
from tests.integration.field_reports.replay import Bill, Play, Report, cases
from tests.integration.field_reports.steps import (
    eair,
    heartbeats_tell_the_time,
    meter,
    reconnects,
    rows,
    says,
    sends,
    shows,
    staff_set,
    stop,
)

BOOT_1000001 = '[2,"1000001","BootNotification",{"chargePointVendor":"Metron","chargePointModel":"ME3 DYNAMIC OCPP"}]'

REPORTS = (
    Report(
        "boot_with_an_empty_vendor",
        "evcc-io/evcc#32170",
        "A Huawei SCharger boots with chargePointVendor of no letters, and again every 30 s until it is accepted.",
        (
            says(
                "BootNotification",
                {"status": "Accepted"},
                chargePointModel="ACChargePoint",
                chargePointSerialNumber="huawei1",
                chargePointVendor="",
            ),
        ),
        charge=None,
    ),
    Report(
        "boot_with_all_its_members_in_the_model",
        "matth-x/MicroOcpp#427",
        "A firmware puts its nine members, written as JSON, into chargePointModel (20 characters): 252 characters.",
        (
            says(
                "BootNotification",
                {"status": "Accepted"},
                chargePointVendor="My Company Ltd.",
                chargePointModel='{"chargeBoxSerialNumber":"123456678","chargePointModel":"oem","iccid":"not present"}'
                * 3,
            ),
        ),
        charge=None,
    ),
    Report(
        "transaction_id_of_nothing",
        "lbbrhzn/ocpp#2032",
        'Every reading of an AEFA has "transactionId":, with no value, which is no JSON; its times have no zone.',
        (
            sends(
                '[2,"17","MeterValues",{"connectorId":1,"transactionId":,"meterValue":[{"timestamp":"$LOCAL",'
                '"sampledValue":[{"value":"2750","context":"Sample.Periodic","measurand":"Energy.Active.Import.Register",'
                '"unit":"Wh","location":"Outlet"},{"value":"3600","context":"Sample.Periodic","measurand":'
                '"Power.Active.Import","unit":"W","location":"Outlet"}]}]}]',
                answers=[3, "17", {}],
            ),
            shows(energy_wh=1750, power_w=3600),
            stop(2800),
        ),
        bill=Bill(1800, "18.00"),
    ),
    Report(
        "reading_without_values_among_good_ones",
        "lbbrhzn/ocpp#466",
        "A firmware update sends sampledValue of no samples; the refusal made the charger reconnect again and again.",
        (
            says(
                "MeterValues",
                {},
                connectorId=1,
                transactionId="$TX",
                meterValue=[
                    {"timestamp": "$AGO1200", "sampledValue": [eair(1500)]},
                    {"timestamp": "$AGO600", "sampledValue": []},
                    {"timestamp": "$NOW", "sampledValue": [eair(2000)]},
                ],
            ),
            shows(energy_wh=1000),
            stop(2100),
        ),
        bill=Bill(1100, "11.00"),
    ),
    Report(
        "message_without_readings",
        "mobilityhouse/ocpp#210",
        "meterValue is an empty list.",
        (
            says("MeterValues", {}, connectorId=1, transactionId="$TX", meterValue=[]),
            stop(2000),
        ),
        bill=Bill(1000, "10.00"),
    ),
    Report(
        "several_readings_of_numbers",
        "lbbrhzn/ocpp#210, mobilityhouse/ocpp#377",
        "An OpenEVSE collects four readings into one message; their values are numbers.",
        (
            says(
                "MeterValues",
                {},
                connectorId=1,
                transactionId="$TX",
                meterValue=[
                    {"timestamp": f"$AGO{60 * back}", "sampledValue": [{"value": value, "unit": "Wh"}]}
                    for back, value in ((4, 1604.213), (3, 1704.5), (2, 1804), (1, 1904.75))
                ],
            ),
            shows(energy_wh=904.8),
            stop(2000),
        ),
        bill=Bill(1000, "10.00", review=False),
    ),
    Report(
        "blank_before_the_number",
        "evcc-io/evcc#16523",
        "An Enercab pads its numbers with blanks.",
        (
            meter(eair("   1500.0"), {"value": " 9.6", "measurand": "Current.Import", "phase": "L1", "unit": "A"}),
            shows(energy_wh=500, current_a=9.6),
            stop(2000),
        ),
        bill=Bill(1000, "10.00", review=False),
    ),
    Report(
        "frequency_in_hz",
        "lbbrhzn/ocpp#1576",
        "A ChargeAmps Halo measures Frequency in Hz, a unit that the specification does not have.",
        (
            meter({"value": "49.9", "measurand": "Frequency", "unit": "Hz"}, eair(1500)),
            shows(energy_wh=500),
            stop(2000),
        ),
        bill=Bill(1000, "10.00", review=False),
    ),
    Report(
        "context_that_does_not_exist",
        "lbbrhzn/ocpp#361",
        "An Alfen sends its whole history with a context that the specification does not have.",
        (
            meter(eair(1500, context="Sample.Periodic.Interval")),
            shows(energy_wh=500),
            stop(2000),
        ),
        bill=Bill(1000, "10.00", review=False),
    ),
    Report(
        "card_number_with_blanks",
        "matth-x/MicroOcpp#73",
        "A card reader gives its number as pairs with a blank before each.",
        (
            says("Authorize", {"idTagInfo": {"status": "Accepted"}}, idTag=" F6 CA 0C C5"),
            says(
                "StartTransaction",
                {"idTagInfo": {"status": "Accepted"}},
                connectorId=2,
                idTag=" F6 CA 0C C5",
                meterStart=0,
                timestamp="$NOW",
            ),
            rows(1, "SELECT FROM charging_sessions WHERE user_id = 'client-2' AND state = 'charging'"),
        ),
        charge=None,
    ),
    Report(
        "card_number_with_backslashes",
        "mobilityhouse/ocpp#415",
        "A keypad adds backslashes to the card's number; nobody has such a card.",
        (
            sends(
                r'[2,"213","StartTransaction",{"connectorId":2,"idTag":"336699\\\\\\","meterStart":33259490,'
                '"timestamp":"2022-07-28T09:41:15Z"}]',
                answers=[3, "213", {"idTagInfo": {"status": "Invalid"}}],
            ),
        ),
        charge=None,
    ),
    Report(
        "authorize_with_a_connector",
        "evcc-io/evcc#14579",
        "A Hager puts connectorId into Authorize.",
        (says("Authorize", {"idTagInfo": {"status": "Accepted"}}, connectorId=2, idTag="F6 CA 0C C5"),),
        charge=None,
    ),
    Report(
        "offset_of_hours_only",
        "monta-app/ocpp-emulator#5",
        "Times end in +03: right by ISO 8601, wrong by RFC 3339.",
        (
            meter(eair(1900), at="$HOURS"),
            says("StopTransaction", transactionId="$TX", meterStop=2000, timestamp="$HOURS"),
        ),
        bill=Bill(1000, "10.00"),
    ),
    Report(
        "local_time_without_zone",
        "evcc-io/evcc#10399",
        "A Growatt THOR sends its local time without a zone.",
        (
            meter(eair(1900), at="$LOCAL"),
            says("StopTransaction", transactionId="$TX", meterStop=2000, timestamp="$LOCAL"),
        ),
        bill=Bill(1000, "10.00"),
    ),
    Report(
        "data_that_is_an_object",
        "mobilityhouse/ocpp#462, mobilityhouse/ocpp#619",
        "DataTransfer carries JSON as it is (an object, a list) where the specification wants text.",
        (
            says(
                "DataTransfer",
                {"status": "UnknownVendorId"},
                vendorId="StarCharge",
                messageId="CarId",
                data=[{"connectorId": 1, "vin": "1234567ADAD"}],
            ),
        ),
        charge=None,
    ),
    Report(
        "message_type_of_one",
        "mobilityhouse/ocpp#358, steve-community/steve#916",
        "A CALL of message type 1.",
        (
            sends(
                '[1,"6OUouvaV6Mgn15TKolbTXsXlJtU9eo16yAuB","Heartbeat",{}]',
                answers=[4, "6OUouvaV6Mgn15TKolbTXsXlJtU9eo16yAuB", "FormationViolation", ..., ...],
            ),
            says("Heartbeat"),
        ),
        charge=None,
    ),
    Report(
        "pong_as_a_message",
        "mobilityhouse/ocpp#99",
        "A charger answers pings by text messages: pong.",
        (
            sends("pong", answers=[4, "-1", "FormationViolation", ..., ...]),
            says("Heartbeat"),
            stop(2000),
        ),
        bill=Bill(1000, "10.00", review=False),
    ),
    Report(
        "one_message_id_for_every_heartbeat",
        "citrineos/citrineos#212",
        "A charger gives the same message id to all its messages; it sets its clock by the answers to Heartbeat.",
        (heartbeats_tell_the_time(),),
        charge=None,
    ),
    Report(
        "boot_under_one_id_until_it_is_accepted",
        "dallmann-consulting/OCPP.Core#31",
        "A METRON repeats its boot every 10 s, always as message 1000001; meanwhile staff accept the station.",
        (
            staff_set("UPDATE stations SET registration_status = 'pending'"),
            reconnects(),
            sends(BOOT_1000001, answers=[3, "1000001", {"status": "Pending"}]),
            sends(BOOT_1000001, answers=[3, "1000001", {"status": "Pending"}]),
            staff_set("UPDATE stations SET registration_status = 'accepted'"),
            sends(BOOT_1000001, answers=[3, "1000001", {"status": "Accepted"}]),
        ),
        charge=None,
    ),
)


@cases(*REPORTS)
async def test_message(play: Play, report: Report) -> None:
    async def card(conn: Conn) -> None:
        await conn.execute("INSERT INTO id_tags (id_tag, client_id) VALUES ('F6 CA 0C C5', 'client-2')")

    await play.story.db.run(card)
    await play.perform(report)
