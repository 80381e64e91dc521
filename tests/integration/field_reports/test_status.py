"""Field reports about StatusNotification: words, times and orders."""

from tests.integration.field_reports.replay import Charge, Play, Report, cases
from tests.integration.field_reports.steps import (
    connector_is,
    driver_starts,
    eair,
    meter,
    says,
    status,
    stop,
)

REPORTS = (
    Report(
        "time_of_year_one",
        "lorenzodonini/ocpp-go#20",
        "A status without a time is sent with 0001-01-01T00:00:00Z.",
        (status("Charging", timestamp="0001-01-01T00:00:00Z"), connector_is("Charging")),
        charge=None,
    ),
    Report(
        "clock_of_1970_after_the_boot",
        "matth-x/MicroOcpp#311",
        "The first states after a boot have times of 1970, although the boot was answered with the time.",
        (
            status("Preparing", timestamp="$NOW"),
            status("Available", timestamp="1970-01-01T00:00:00.740Z"),
            connector_is("Available"),
        ),
        charge=None,
    ),
    Report(
        "local_time_called_utc",
        "steve-community/steve#136",
        "The first state after a boot is two hours ahead (local time with Z); the next one is right.",
        (
            status("Faulted", timestamp="2099-05-10T16:05:33Z", info="Status Update", vendorId="Chago"),
            status("Available", timestamp="$NOW", info="Status Update", vendorId="Chago"),
            connector_is("Available"),
        ),
        charge=None,
    ),
    Report(
        "error_code_of_its_own",
        "lbbrhzn/ocpp#1248",
        "A Legrand reports errorCode Error, which does not exist.",
        (
            status("Faulted", connector=0, errorCode="Error"),
            status("Faulted", errorCode="Error"),
            connector_is("Faulted"),
        ),
        charge=None,
    ),
    Report(
        "words_for_nothing",
        "foxriver76/ioBroker.ocpp#21",
        'An ABB sends info "null", vendorErrorCode "0x0000" and no time.',
        (status("SuspendedEVSE", info="null", vendorErrorCode="0x0000"), connector_is("SuspendedEVSE")),
        charge=None,
    ),
    Report(
        "started_again_without_unplugging",
        "EVerest/EVerest#2699, mobilityhouse/ocpp#425, evcc-io/evcc#33020",
        "The charge has ended, the cable stays in (Finishing), and its driver wants to go on.",
        (
            meter(eair(2000)),
            stop(2500),
            status("Finishing"),
            driver_starts(Charge()),
            says(
                "StartTransaction",
                {"idTagInfo": {"status": "Accepted"}},
                connectorId=1,
                idTag="$TAG",
                meterStart=2500,
                timestamp="$NOW",
            ),
        ),
    ),
)


@cases(*REPORTS)
async def test_status(play: Play, report: Report) -> None:
    await play.perform(report)
