"""Field reports about meters: units, phases, registers that restart, jump, stand still or lie."""

from tests.integration.field_reports.replay import Bill, Charge, Play, Report, cases
from tests.integration.field_reports.steps import (
    asked,
    eair,
    meter,
    says,
    shows,
    status,
    stop,
    sweeps,
    watts,
)

PERIODIC = {"context": "Sample.Periodic"}
TRIGGER = {"context": "Trigger"}

REPORTS = (
    Report(
        "register_tagged_with_the_neutral",
        "evcc-io/evcc#27206",
        "A zappi sends its only energy register with phase N.",
        (
            meter(eair(8077, phase="N")),
            shows(energy_wh=77),
            meter(eair(8990, phase="N")),
            asked("RemoteStopTransaction", {"status": "Accepted"}, transactionId="$TX"),
            stop(9000),
        ),
        charge=Charge(meter_start=8000, limit_kwh="1"),
        bill=Bill(1000, "10.00"),
    ),
    Report(
        "register_tagged_with_one_phase",
        "lbbrhzn/ocpp#1943, evcc-io/evcc#19351",
        "A charger on one phase tags its register, which is the total, with L1.",
        (
            meter(eair(21505.0, phase="L1"), watts(3680, phase="L1")),
            meter(eair(22505.0, phase="L1"), watts(3680, phase="L1")),
            shows(energy_wh=1000, power_w=3680),
            stop(22700),
        ),
        charge=Charge(meter_start=21505),
        bill=Bill(1195, "11.95", review=False),
    ),
    Report(
        "phases_beside_a_total_that_is_not_their_sum",
        "evcc-io/evcc#32078",
        "Registers of L1 to L3 (785727, 797088, 2709592) come before a total that is 2 Wh more: 4292409.",
        (
            meter(
                eair(785727, phase="L1", **TRIGGER),
                eair(797088, phase="L2", **TRIGGER),
                eair(2709592, phase="L3", **TRIGGER),
                eair(4292409, **TRIGGER),
            ),
            shows(energy_wh=2409),
            stop(4292909),
        ),
        charge=Charge(meter_start=4290000),
        bill=Bill(2909, "29.09", review=False),
    ),
    Report(
        "power_of_three_phases_in_kw",
        "evcc-io/evcc#16966",
        "Power comes as L1-N 3.45, L2-N 0.00, L3-N 0.00 kW at location Body, the register as a total in Wh.",
        (
            meter(
                {
                    "value": "222.50",
                    "measurand": "Voltage",
                    "phase": "L1-N",
                    "location": "Body",
                    "unit": "V",
                    **TRIGGER,
                },
                watts("3.45", phase="L1-N", location="Body", unit="kW"),
                eair(2331855, location="Body", **TRIGGER),
                watts("0.00", phase="L2-N", location="Body", unit="kW"),
                watts("0.00", phase="L3-N", location="Body", unit="kW"),
            ),
            shows(energy_wh=855, power_w=3450),
            stop(2332000),
        ),
        charge=Charge(meter_start=2331000),
        bill=Bill(1000, "10.00", review=False),
    ),
    Report(
        "register_with_a_unit_of_power",
        "matth-x/MicroOcpp#318",
        "The register is sent with unit kW and phase L1.",
        (
            meter(eair(33, unit="kW", phase="L1", location="Body")),
            shows(energy_wh=0),
            stop(4000),
        ),
        bill=Bill(3000, "30.00"),
    ),
    Report(
        "register_drops_to_zero_for_one_reading",
        "lbbrhzn/ocpp#1756",
        "Every few days the register of a Wallbox is 0 for one reading and then again what it was, 16 MWh.",
        (
            meter(eair("16000500.0", **PERIODIC)),
            meter(eair("0.0", **PERIODIC)),
            meter(eair("16001000.0", **PERIODIC)),
            shows(energy_wh=1000),
            stop(16001500),
        ),
        charge=Charge(meter_start=16000000),
        bill=Bill(1500, "15.00"),
    ),
    Report(
        "register_restarts_twice",
        "evcc-io/evcc#4997",
        "The register restarts at 0 in the middle of the charge, without a reboot, at odd times.",
        (
            meter(eair(7969), at="$AGO1800"),
            meter(eair(7988), at="$AGO1780"),
            meter(eair(12), at="$AGO1760"),
            meter(eair(512), at="$AGO1200"),
            meter(eair(0), at="$AGO1180"),
            meter(eair(400), at="$AGO600"),
            stop(450),
        ),
        charge=Charge(meter_start=7000),
        bill=Bill(1950, "19.50"),
    ),
    Report(
        "begin_is_a_placeholder",
        "citrineos/citrineos-core#1060",
        "A charger that rebooted with the cable in begins at register 0, and then shows its odometer: 909948, 910031.",
        (
            meter(eair(0, context="Transaction.Begin"), at="$AGO3600"),
            meter(eair(909948, **PERIODIC), at="$AGO1800"),
            meter(eair(910031, **PERIODIC), at="$AGO600"),
            stop(910031),
        ),
        charge=Charge(meter_start=0),
        bill=Bill(83, "0.83"),
    ),
    Report(
        "stop_repeats_the_start",
        "steve-community/steve#1264",
        "A Fronius Wattpilot ends every transaction with the register of its begin, although its readings rose.",
        (
            meter(eair(502000), at="$AGO1800"),
            meter(eair(505000), at="$AGO60"),
            shows(energy_wh=5000),
            stop(500000),
        ),
        charge=Charge(meter_start=500000),
        bill=Bill(5000, "50.00", review=True),
    ),
    Report(
        "session_counter_and_lifetime_readings",
        "matth-x/MicroOcpp#66",
        "meterStart is 0 and meterStop counts the session, while the readings show the meter's lifetime.",
        (
            meter(eair(18099), at="$AGO3500"),
            meter(eair(18599), at="$AGO1800"),
            meter(eair(19099), at="$AGO60"),
            stop(1000),
        ),
        charge=Charge(meter_start=0),
        bill=Bill(1000, "10.00"),
    ),
    Report(
        "meter_still_rises_after_the_stop",
        "lbbrhzn/ocpp#1069",
        "After meterStop 2259988 the next reading, without a transaction, is 2259992.1.",
        (
            meter(eair("2259900.0")),
            stop(2259988, idTag="$TAG", transactionData=[], reason="Local"),
            meter(eair("2259992.1"), transactionId=None),
            sweeps(minutes=15),
        ),
        charge=Charge(meter_start=2255000),
        bill=Bill(4988, "49.88"),
    ),
    Report(
        "names_the_last_transaction_for_ever",
        "evcc-io/evcc#14673",
        "An EN+ charger goes on sending the id of the transaction that has ended, until it is switched off.",
        (
            meter(eair("1100.0"), watts(0), at="$AGO3000"),
            stop(1100, timestamp="$AGO2400"),
            *(meter(eair(f"{1100 + more}.0"), watts(0), at=f"$AGO{1800 - more}") for more in (0, 150, 700)),
            shows(energy_wh=100),
            sweeps(minutes=15),
        ),
        bill=Bill(100, "1.00"),
    ),
    Report(
        "exported_power_in_wh",
        "lbbrhzn/ocpp#1617",
        "A Teison sends every measurand in a message of its own, and Power.Active.Export with unit Wh.",
        (
            meter({"value": "0.0", "measurand": "Power.Active.Export", "unit": "Wh", "location": "Outlet", **PERIODIC}),
            meter({"value": "900.0", "measurand": "Energy.Active.Export.Register", "unit": "Wh", **PERIODIC}),
            meter(eair("1500.0", location="Outlet", **PERIODIC)),
            shows(energy_wh=500),
            stop(1700),
        ),
        bill=Bill(700, "7.00", review=False),
    ),
    Report(
        "value_without_unit_with_fourteen_decimals",
        "lbbrhzn/ocpp#1989",
        "An Autel sends power as the number 500.37957763671875 without a unit: W, not kW.",
        (
            meter(
                {"value": 1250.10009765625, "measurand": "Energy.Active.Import.Register", **PERIODIC},
                {"value": 500.37957763671875, "measurand": "Power.Active.Import", **PERIODIC},
                {"value": 2.1050000190734863, "measurand": "Current.Import", "phase": "L1", **PERIODIC},
            ),
            shows(energy_wh=250.1, power_w=500.4),
            stop(1300),
        ),
        bill=Bill(300, "3.00", review=False),
    ),
    Report(
        "register_of_the_whole_station",
        "lbbrhzn/ocpp#1742",
        "Clock-aligned readings of connector 0, without a transaction, come between those of the charge.",
        (
            meter(eair("1500.0", **PERIODIC)),
            meter(eair("165544.5", context="Sample.Clock"), connector=0, transactionId=None),
            meter(eair("1600.0", context="Sample.Clock"), transactionId=None),
            shows(energy_wh=500),
            stop(2000),
        ),
        bill=Bill(1000, "10.00", review=False),
    ),
    Report(
        "closing_data_in_kwh_with_binary_noise",
        "road-labs/chargestation-one#61",
        "The stop has members of another message and transactionData of 1.6250000000000002 kWh.",
        (
            says(
                "StopTransaction",
                connectorId=1,
                idTag="$TAG",
                meterStop=1625,
                timestamp="$NOW",
                disconnectReason="EVDisconnected",
                transactionId="$TX",
                transactionData=[
                    {
                        "sampledValue": [eair("1.6250000000000002", unit="kWh", location="Outlet", **PERIODIC)],
                        "timestamp": "$NOW",
                    }
                ],
            ),
        ),
        charge=Charge(meter_start=0),
        bill=Bill(1625, "16.25", review=False),
    ),
    Report(
        "connector_faulted_while_it_charges",
        "matth-x/MicroOcpp#203",
        "The charger reports Faulted (InternalError) in the middle of a charge and charges on.",
        (
            status("Charging"),
            meter(eair(1500)),
            status("Faulted", errorCode="InternalError"),
            meter(eair(2500)),
            shows(energy_wh=1500),
            stop(3000),
        ),
        bill=Bill(2000, "20.00", review=False),
    ),
)


@cases(*REPORTS)
async def test_meter(play: Play, report: Report) -> None:
    await play.perform(report)
