"""Field reports about commands and configuration: answers in odd forms, keys that may not be set."""

from tests.integration.field_reports.replay import Bill, Charge, Play, Report, cases
from tests.integration.field_reports.steps import (
    asked,
    driver_stops,
    eair,
    ended,
    meter,
    no_command,
    orders,
    rows,
    says,
    stop,
    stored,
)

BOOT = says("BootNotification", {"status": "Accepted"}, chargePointVendor="v", chargePointModel="m")


def key(name: str, value: object, readonly: bool = False) -> dict[str, object]:
    return {"key": name, "value": value, "readonly": readonly}


def configuration(*keys: dict[str, object], **members: object) -> dict[str, object]:
    return {"configurationKey": [*keys], **members}


HEALTHY = (key("HeartbeatInterval", "300"), key("MeterValueSampleInterval", "60"))

REPORTS = (
    Report(
        "values_that_are_no_texts",
        "mobilityhouse/ocpp#582",
        "A Scame gives its values as numbers and booleans.",
        (
            BOOT,
            asked(
                "GetConfiguration",
                configuration(
                    key("HeartbeatInterval", 300), key("MeterValueSampleInterval", 60), key("LocalPreAuthorize", True)
                ),
            ),
            ended("GetConfiguration", "accepted"),
            stored("HeartbeatInterval", "300"),
            stored("LocalPreAuthorize", "true"),
        ),
        charge=None,
    ),
    Report(
        "answer_cut_off",
        "lbbrhzn/ocpp#442",
        "A Grizzl-E answers GetConfiguration by JSON that ends too early.",
        (
            BOOT,
            asked("GetConfiguration", '[3,"$ID",{"configurationKey":[]'),
            ended("GetConfiguration"),
        ),
        charge=None,
    ),
    Report(
        "refused_in_the_answer",
        "evcc-io/evcc#19026",
        'An EM2GO answers GetConfiguration by {"status":"NotImplemented"}.',
        (
            BOOT,
            asked("GetConfiguration", {"status": "NotImplemented"}),
            ended("GetConfiguration", "rejected"),
            rows(0, "SELECT FROM ocpp_configuration"),
        ),
        charge=None,
    ),
    Report(
        "answers_what_nobody_asked",
        "solidstudiosh/ocpp-virtual-charge-point#65",
        "Asked for two keys, a charger answers with four others and no unknown ones.",
        (
            orders("GetConfiguration", key=["NumberOfConnectors", "ConnectorSwitch3to1PhaseSupported"]),
            asked("GetConfiguration", configuration(key("GetConfigurationMaxKeys", "99", True), unknownKey=[])),
            ended("GetConfiguration", "accepted"),
            stored("GetConfigurationMaxKeys", "99"),
        ),
        charge=None,
    ),
    Report(
        "read_only_measurands",
        "evcc-io/evcc#6807, lbbrhzn/ocpp#1036",
        "MeterValuesSampledData of a go-e is read-only: setting it was refused, and made a Wattpilot reboot.",
        (
            BOOT,
            asked(
                "GetConfiguration",
                configuration(*HEALTHY, key("MeterValuesSampledData", "Voltage,Current.Import", True)),
            ),
            no_command(),
        ),
        charge=None,
    ),
    Report(
        "no_more_measurands_than_it_takes",
        "lbbrhzn/ocpp#1487",
        "A Growatt Thor takes five measurands and accepts more: its memory is corrupted from then on.",
        (
            BOOT,
            asked(
                "GetConfiguration",
                configuration(
                    *HEALTHY,
                    key("MeterValuesSampledData", "Current.Import,Current.Offered,Voltage,SoC,Temperature"),
                    key("MeterValuesSampledDataMaxLength", "5", True),
                ),
            ),
            asked(
                "ChangeConfiguration",
                {"status": "Accepted"},
                key="MeterValuesSampledData",
                value="Current.Import,Current.Offered,Voltage,Energy.Active.Import.Register,Power.Active.Import",
            ),
            no_command(),
        ),
        charge=None,
    ),
    Report(
        "keys_in_another_spelling",
        "evcc-io/evcc#18215",
        "A wallbox has ConnectionTimeout, and no MeterValuesSampledData at all.",
        (
            BOOT,
            asked("GetConfiguration", configuration(*HEALTHY, key("ConnectionTimeout", "60"), key("QrCode", "6072"))),
            no_command(),
            stored("ConnectionTimeout", "60"),
        ),
        charge=None,
    ),
    Report(
        "value_for_after_the_reboot",
        "lbbrhzn/ocpp#1015",
        "An Etrel answers RebootRequired: the new value is not in force yet.",
        (
            BOOT,
            asked("GetConfiguration", configuration(*HEALTHY, key("MeterValuesSampledData", "Temperature"))),
            asked("ChangeConfiguration", {"status": "RebootRequired"}, key="MeterValuesSampledData"),
            ended("ChangeConfiguration", "accepted"),
            stored("MeterValuesSampledData", "Temperature"),
        ),
        charge=None,
    ),
    Report(
        "password_among_the_keys",
        "lbbrhzn/ocpp#899",
        "A Grizzl-E shows StationPassword to whoever reads its configuration.",
        (
            BOOT,
            asked("GetConfiguration", configuration(*HEALTHY, key("StationPassword", "open-sesame"))),
            ended("GetConfiguration", "accepted"),
            stored("StationPassword", "***"),
            rows(0, "SELECT FROM station_commands WHERE response::text LIKE '%%sesame%%'"),
        ),
        charge=None,
    ),
    Report(
        "error_with_details_that_are_text",
        "steve-community/steve#45",
        "A CALLERROR whose details are a text, and one without details.",
        (
            orders("ClearCache"),
            asked("ClearCache", '[4,"$ID","InternalError","no such table","SQL [insert into"]'),
            ended("ClearCache", "failed"),
            orders("ClearCache"),
            asked("ClearCache", '[4,"$ID","NotSupported",""]'),
            ended("ClearCache", "failed"),
            orders("ClearCache"),
            asked("ClearCache", '[4,"$ID","NotImplemented"]'),
            ended("ClearCache", "failed"),
        ),
        charge=None,
    ),
    Report(
        "flood_of_uploading",
        "EVerest/EVerest#536",
        "DiagnosticsStatusNotification Uploading comes without end.",
        (
            *(says("DiagnosticsStatusNotification", {}, status="Uploading") for _ in range(40)),
            meter(eair(1500)),
            stop(2000),
            rows(1, "SELECT FROM station_events WHERE type = 'diagnostics_status'"),
        ),
        bill=Bill(1000, "10.00", review=False),
    ),
    Report(
        "stop_rejected_and_no_stop_transaction",
        "lbbrhzn/ocpp#1491",
        "RemoteStop is answered Rejected, and no StopTransaction comes.",
        (
            meter(eair(2500)),
            driver_stops("Rejected"),
        ),
        charge=Charge(),
        bill=Bill(1500, "15.00"),
    ),
)


@cases(*REPORTS)
async def test_configuration(play: Play, report: Report) -> None:
    await play.perform(report)
