"""Field reports about transactions: ids that are missing, wrong or huge, starts and stops that come twice or never."""

from evpower.charging.models import SessionState
from tests.integration.field_reports.replay import Bill, Charge, Play, Report, cases
from tests.integration.field_reports.steps import (
    asked,
    driver_starts,
    driver_stops,
    eair,
    meter,
    reconnects,
    rows,
    says,
    sends,
    shows,
    status,
    stop,
    sweeps,
)

LONGEST = 9223372036854775807  # 2^63 - 1
CHARGING = SessionState.CHARGING
START = '[2,"%s","StartTransaction",{"connectorId":1,"idTag":"$TAG","meterStart":1000,"timestamp":"$BEGAN"}]'
STOP = '[2,"%s","StopTransaction",{"meterStop":2000,"timestamp":"$NOW","transactionId":%s}]'

REPORTS = (
    Report(
        "id_overflows_in_the_middle_of_a_charge",
        "lorenzodonini/ocpp-go#188",
        "An Alfen begins with a good id; in mid-charge its readings and its stop name 2^63 - 1.",
        (
            meter(eair(1500)),
            meter(eair(1900), transactionId=LONGEST),
            shows(energy_wh=900),
            meter(eair(2990), transactionId=LONGEST),
            asked("RemoteStopTransaction", {"status": "Rejected"}, transactionId="$TX"),
            stop(3000, transactionId=LONGEST, idTag="$TAG"),
        ),
        charge=Charge(limit_kwh="2"),
        bill=Bill(2000, "20.00"),
        wrong="unbound, no stop at the limit: an id that nobody gave out is none, also after good ones",
    ),
    Report(
        "queue_of_years_with_an_id_that_is_none",
        "steve-community/steve#740",
        "An Alfen replays messages of transaction 2^63 - 1; a refusal is repeated for ever and blocks what is behind.",
        (
            sends(
                f'[2,"72","MeterValues",{{"connectorId":1,"transactionId":{LONGEST},"meterValue":[{{"timestamp":'
                '"2022-01-17T11:58:29Z","sampledValue":[{"value":"0.505","context":"Transaction.Begin","unit":"kWh"}]}]}]',
                answers=[3, "72", {}],
            ),
            sends(
                f'[2,"73","StopTransaction",{{"transactionId":{LONGEST},"meterStop":505,"timestamp":'
                '"2022-01-16T11:44:46Z"}]',
                answers=[3, "73", {}],
            ),
            meter(eair(1500)),
            stop(1500),
        ),
        bill=Bill(500, "5.00", review=False),
    ),
    Report(
        "readings_of_a_local_id",
        "lbbrhzn/ocpp#1000",
        "An Etrel INCH has the id, and its readings and its stop name a local one: -16.",
        (
            meter(eair(1500), transactionId=-16),
            shows(energy_wh=500),
            meter(eair(2990), transactionId=-16),
            asked("RemoteStopTransaction", {"status": "Accepted"}, transactionId="$TX"),
            stop(3000, transactionId=-16, idTag="$TAG", reason="Remote"),
            sweeps(50),
        ),
        charge=Charge(limit_kwh="2"),
        bill=Bill(2000, "20.00"),
    ),
    Report(
        "some_readings_name_zero",
        "mobilityhouse/ocpp#478",
        "Of the readings of one charge some name the transaction and some name 0, at random.",
        (
            meter(eair(1400)),
            meter(eair(1800), transactionId=0),
            shows(energy_wh=800),
            meter(eair(2000)),
            meter(eair(2990), transactionId=0),
            asked("RemoteStopTransaction", {"status": "Accepted"}, transactionId="$TX"),
            stop(3000),
        ),
        charge=Charge(limit_kwh="2"),
        bill=Bill(2000, "20.00"),
        wrong="unbound: 0 and -1 are no names of another transaction",
    ),
    Report(
        "everything_names_zero",
        "mikuso/ocpp-rpc#82",
        "A charger has the id, rejects RemoteStop with it, and ends with transactionId 0 when it is unplugged.",
        (
            meter(eair(3000), transactionId=0, at="$AGO600"),
            stop(4000, transactionId=0, reason="EVDisconnected"),
            driver_stops("Rejected"),
        ),
        bill=Bill(3000, "30.00"),
        wrong="20.00: the stop that was set aside is used when the driver stops and the charger rejects",
    ),
    Report(
        "started_offline_stopped_online",
        "EVerest/libocpp#495",
        "A start told late is followed by a stop with transactionId -1 and the card.",
        (
            meter(eair(1500), transactionId=-1),
            stop(2000, transactionId=-1, idTag="$TAG", reason="Local"),
            sweeps(4),
        ),
        charge=Charge(meter_start=971),
        bill=Bill(1029, "10.29"),
    ),
    Report(
        "stops_at_once_without_a_name_and_charges_on",
        "goecharger/go-eCharger-API-v2#106",
        "A go-e answers its own start by a stop of -1, older than the start and without a card, and charges later.",
        (
            stop(8016, transactionId=-1, timestamp="$AGO4200"),
            shows(state=CHARGING),
            meter(eair(8516)),
            stop(9016),
        ),
        charge=Charge(meter_start=8016),
        bill=Bill(1000, "10.00"),
    ),
    Report(
        "one_start_four_times_without_waiting",
        "matth-x/MicroOcpp#50",
        "The start is sent four times with one message id before its first answer; the stop once with id -1.",
        (
            driver_starts(Charge()),
            sends(START % "531531536", times=4, answers=[3, "531531536", {"idTagInfo": {"status": "Accepted"}}]),
            rows(1, "SELECT FROM ocpp_transactions"),
            meter(eair(1500)),
            sends(STOP % ("531531539", "$TX"), answers=[3, "531531539", {}]),
            sends(STOP % ("531531539", "-1"), answers=[3, "531531539", {}]),
        ),
        charge=None,
        bill=Bill(1000, "10.00", review=False),
    ),
    Report(
        "one_start_under_two_message_ids",
        "matth-x/MicroOcpp#237",
        "The same start comes twice at once; the answer ConcurrentTx to the second one ended the charge.",
        (
            driver_starts(Charge()),
            sends(START % "1000005", answers=[3, "1000005", {"idTagInfo": {"status": "Accepted"}}]),
            sends(
                START % "1000006", answers=[3, "1000006", {"transactionId": "$TX", "idTagInfo": {"status": "Accepted"}}]
            ),
            meter(eair(1500)),
            stop(2000),
        ),
        charge=None,
        bill=Bill(1000, "10.00", review=False),
    ),
    Report(
        "reservation_of_minus_one",
        "matth-x/MicroOcpp#154",
        "A start names reservationId -1 where there is no reservation.",
        (
            driver_starts(Charge()),
            says(
                "StartTransaction",
                {"idTagInfo": {"status": "Accepted"}},
                connectorId=1,
                idTag="$TAG",
                meterStart=1000,
                timestamp="$AGO3600",
                reservationId=-1,
            ),
            stop(2000),
        ),
        charge=None,
        bill=Bill(1000, "10.00", review=False),
    ),
    Report(
        "reservation_of_null",
        "dallmann-consulting/OCPP.Core#76",
        "A start names reservationId null.",
        (
            driver_starts(Charge()),
            says(
                "StartTransaction",
                {"idTagInfo": {"status": "Accepted"}},
                connectorId=1,
                idTag="$TAG",
                meterStart=1000,
                timestamp="$AGO3600",
                reservationId=None,
            ),
            stop(2000),
        ),
        charge=None,
        bill=Bill(1000, "10.00", review=False),
    ),
    Report(
        "stop_of_a_transaction_that_never_was",
        "dallmann-consulting/OCPP.Core#35",
        "A stop of an id that nobody gave out ended the newest transaction.",
        (
            meter(eair(1500)),
            stop(1500, transactionId=424242),
            shows(state=CHARGING),
            meter(eair(2500)),
            stop(3000),
        ),
        bill=Bill(2000, "20.00"),
    ),
    Report(
        "stop_after_days_again_at_every_connect",
        "evcc-io/evcc#13990",
        "An Enercab repeats the stop of an old transaction at every connect.",
        (
            meter(eair(1500)),
            *(
                step
                for _ in range(3)
                for step in (
                    reconnects(),
                    says(
                        "StopTransaction",
                        {},
                        transactionId=77,
                        meterStop=900,
                        timestamp="2024-05-18T06:20:00Z",
                        reason="EVDisconnected",
                    ),
                )
            ),
            rows(1, "SELECT FROM quarantined_messages"),
            shows(state=CHARGING),
            stop(2000),
        ),
        bill=Bill(1000, "10.00"),
    ),
    Report(
        "stopped_by_the_car_without_a_card",
        "dallmann-consulting/OCPP.Core#47",
        "A stop by the car or by loss of power names no card.",
        (
            meter(eair(1500)),
            stop(2500, reason="PowerLoss"),
        ),
        bill=Bill(1500, "15.00", review=False),
    ),
    Report(
        "power_loss_forgets_the_register",
        "matth-x/MicroOcpp#174",
        "After a loss of power the charger boots and ends the transaction with meterStop 0.",
        (
            meter(eair(3500), at="$AGO600"),
            reconnects(broken=True),
            says("BootNotification", {"status": "Accepted"}, chargePointVendor="v", chargePointModel="m"),
            stop(0, reason="PowerLoss"),
        ),
        bill=Bill(2500, "25.00"),
    ),
    Report(
        "finishing_before_its_stop",
        "EVerest/libocpp#1000",
        "StatusNotification Finishing comes before the StopTransaction.",
        (
            status("Charging"),
            meter(eair(1500)),
            status("Finishing"),
            shows(state=CHARGING),
            stop(2500, reason="Local"),
            status("Available"),
        ),
        bill=Bill(1500, "15.00", review=False),
    ),
)


@cases(*REPORTS)
async def test_transaction(play: Play, report: Report) -> None:
    await play.perform(report)
