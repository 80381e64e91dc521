"""The life of a charge: boot, plug, charge, stop, commands."""

import base64
from datetime import datetime
from typing import Any

from cryptography import x509

from infra.local.simulator import ChargePoint, Faults, Vehicle

from .conftest import Central


def point_of(central: Central, **options: Any) -> ChargePoint:
    options = {"time_scale": 3600.0, "sample_interval_s": 0.02, **options}
    return ChargePoint(central.url, "CP-1", **options)


def statuses(central: Central, connector: int) -> list[str]:
    return [p["status"] for p in central.of("StatusNotification") if p["connectorId"] == connector]


def power_samples(central: Central) -> set[float]:
    samples = [v for p in central.of("MeterValues") for v in p["meterValue"][0]["sampledValue"]]
    return {float(v["value"]) for v in samples if v["measurand"] == "Power.Active.Import"}


async def test_boots_then_tells_every_status(central: Central) -> None:
    async with point_of(central, password="secret") as point:
        await point.wait_online()
        assert central.order() == ["BootNotification", *["StatusNotification"] * 3]
        assert point.configuration.number("HeartbeatInterval") == 300
    assert central.authorizations == ["Basic " + base64.b64encode(b"CP-1:secret").decode()]


async def test_a_remote_start_plugs_in_charges_and_a_remote_stop_ends_it(central: Central) -> None:
    async with point_of(central, meter_wh=1000, vehicle=Vehicle(1e6)) as point:
        await point.wait_online()
        answer = await central.call("RemoteStartTransaction", {"connectorId": 1, "idTag": "TAG"})
        assert answer == [3, "c1", {"status": "Accepted"}]
        await point.wait_for(lambda: len(central.of("MeterValues")) >= 3)
        assert (await central.call("RemoteStopTransaction", {"transactionId": 99}))[2] == {"status": "Rejected"}
        assert (await central.call("RemoteStopTransaction", {"transactionId": 1}))[2] == {"status": "Accepted"}
        await point.wait_for(lambda: point.transactions[0].confirmed and not len(point.link.outbox))
        start, stop = central.of("StartTransaction")[0], central.of("StopTransaction")[0]
    assert start["meterStart"] == 1000
    assert stop["reason"] == "Remote"
    seconds = (datetime.fromisoformat(stop["timestamp"]) - datetime.fromisoformat(start["timestamp"])).total_seconds()
    # Energy, power and timestamps agree: 22 kW x 3600 for as long as the charger says that it charged.
    assert abs((stop["meterStop"] - 1000) - 22_000 * seconds) <= 50
    assert power_samples(central) == {22_000.0 * 3600}
    assert statuses(central, 1) == ["Available", "Preparing", "Charging", "Finishing", "Available"]


async def test_meter_values_carry_all_measurands_or_those_configured(central: Central) -> None:
    async with point_of(central) as point:
        await point.wait_online()
        await point.start_with_tag(1, "CARD")
        await point.wait_for(lambda: central.of("MeterValues"))
        names = [v["measurand"] for v in central.of("MeterValues")[0]["meterValue"][0]["sampledValue"]]
        assert names.count("Current.Import") == 3
        assert {"Energy.Active.Import.Register", "Power.Active.Import", "Voltage", "SoC", "Temperature"} <= set(names)
        change = {"key": "MeterValuesSampledData", "value": "Energy.Active.Import.Register,SoC"}
        assert (await central.call("ChangeConfiguration", change))[2] == {"status": "Accepted"}
        seen = len(central.of("MeterValues"))
        await point.wait_for(lambda: len(central.of("MeterValues")) > seen + 1)
        last = central.of("MeterValues")[-1]["meterValue"][0]["sampledValue"]
        assert [v["measurand"] for v in last] == ["Energy.Active.Import.Register", "SoC"]


async def test_a_full_car_suspends_and_stays_until_it_is_unplugged(central: Central) -> None:
    async with point_of(central, auto_plug=False, vehicle=Vehicle(10, 0.9)) as point:
        await point.wait_online()
        point.plug(1)
        await point.start_with_tag(1, "CARD")
        await point.wait_for(lambda: "SuspendedEV" in statuses(central, 1))
        point.unplug(1)
        await point.wait_for(lambda: statuses(central, 1)[-1] == "Available")
        assert central.of("StopTransaction")[0]["reason"] == "EVDisconnected"
    assert statuses(central, 1) == [
        "Available", "Preparing", "Charging", "SuspendedEV", "Finishing", "Available",
    ]  # fmt: skip


async def test_remote_start_waits_for_the_plug_and_gives_up(central: Central) -> None:
    async with point_of(central, auto_plug=False) as point:
        await point.wait_online()
        await central.call("ChangeConfiguration", {"key": "ConnectionTimeOut", "value": "1"})
        await central.call("RemoteStartTransaction", {"connectorId": 1, "idTag": "A"})
        busy = await central.call("RemoteStartTransaction", {"connectorId": 1, "idTag": "B"}, "c2")
        assert busy[2] == {"status": "Rejected"}
        await point.wait_for(lambda: point.outlets[1].waiting_tag is None)
        assert central.of("StartTransaction") == []
        await central.call("RemoteStartTransaction", {"connectorId": 1, "idTag": "C"}, "c3")
        point.plug(1)
        await point.wait_for(lambda: central.of("StartTransaction"))
        assert central.of("StartTransaction")[0]["idTag"] == "C"


async def test_a_blocked_card_is_stopped_and_a_refused_one_never_starts(central: Central) -> None:
    central.answers["StartTransaction"] = lambda _: [3, {"transactionId": 7, "idTagInfo": {"status": "Blocked"}}]
    async with point_of(central) as point:
        await point.wait_online()
        await point.start_with_tag(1, "CARD")
        await point.wait_for(lambda: central.of("StopTransaction"))
        assert central.of("StopTransaction")[0]["reason"] == "DeAuthorized"
        central.answers["Authorize"] = lambda _: [3, {"idTagInfo": {"status": "Invalid"}}]
        assert await point.start_with_tag(2, "CARD") is None


async def test_commands_are_answered_as_the_specification_says(central: Central) -> None:
    async with point_of(central) as point:
        await point.wait_online()
        read = (await central.call("GetConfiguration", {"key": ["HeartbeatInterval", "Nonsense"]}))[2]
        assert read["unknownKey"] == ["Nonsense"]
        assert read["configurationKey"] == [{"key": "HeartbeatInterval", "readonly": False, "value": "300"}]
        everything = (await central.call("GetConfiguration", {}))[2]
        assert "unknownKey" not in everything
        assert {"key": "NumberOfConnectors", "readonly": True, "value": "2"} in everything["configurationKey"]
        cases = [
            ("ChangeConfiguration", {"key": "NumberOfConnectors", "value": "3"}, "Rejected"),
            ("ChangeConfiguration", {"key": "Nonsense", "value": "3"}, "NotSupported"),
            ("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "soon"}, "Rejected"),
            ("UnlockConnector", {"connectorId": 1}, "Unlocked"),
            ("UnlockConnector", {"connectorId": 9}, "NotSupported"),
            ("TriggerMessage", {"requestedMessage": "FirmwareStatusNotification"}, "Accepted"),
            ("ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"}, "Accepted"),
            ("TriggerMessage", {"requestedMessage": "MeterValues", "connectorId": 9}, "Rejected"),
            ("TriggerMessage", {"requestedMessage": "MeterValues", "connectorId": 1}, "Accepted"),
            ("ChangeAvailability", {"connectorId": 2, "type": "Inoperative"}, "Accepted"),
            ("RemoteStartTransaction", {"connectorId": 2, "idTag": "T"}, "Rejected"),
            ("ClearCache", {}, "Accepted"),
        ]
        for action, payload, status in cases:
            assert (await central.call(action, payload))[2] == {"status": status}, (action, payload)
        point.faults.unsupported = frozenset({"GetLocalListVersion"})
        error = await central.call("GetLocalListVersion", {})
        assert error[:3] == [4, "c1", "NotImplemented"]
        await point.wait_for(lambda: central.of("MeterValues") and statuses(central, 2)[-1] == "Unavailable")
        assert central.of("FirmwareStatusNotification") == [{"status": "Idle"}]


async def test_a_new_key_is_used_from_the_next_connection_on(central: Central) -> None:
    async with point_of(central, password="the old AuthorizationKey") as point:
        await point.wait_online()
        for key, answer in (("short", "Rejected"), ("the new AuthorizationKey", "Accepted")):
            change = {"key": "AuthorizationKey", "value": key}
            assert (await central.call("ChangeConfiguration", change))[2] == {"status": answer}
        await point.wait_for(lambda: len(central.authorizations) == 2 and point.link.is_online)
        point.faults.key_change = "RebootRequired"
        change = {"key": "AuthorizationKey", "value": "the newest AuthorizationKey"}
        assert (await central.call("ChangeConfiguration", change))[2] == {"status": "RebootRequired"}
        assert (await central.call("Reset", {"type": "Soft"}))[2] == {"status": "Accepted"}
        await point.wait_for(lambda: len(central.authorizations) == 3)
    used = [base64.b64decode(str(header).split()[1]).decode().partition(":")[2] for header in central.authorizations]
    assert used == ["the old AuthorizationKey", "the new AuthorizationKey", "the newest AuthorizationKey"]


async def test_a_certificate_is_asked_for_with_a_new_key(central: Central) -> None:
    async with point_of(central) as point:
        await point.wait_online()
        trigger = {"requestedMessage": "SignChargePointCertificate"}
        assert (await central.call("ExtendedTriggerMessage", trigger))[2] == {"status": "Accepted"}
        await point.wait_for(lambda: central.of("SignCertificate"))
        csr = x509.load_pem_x509_csr(central.of("SignCertificate")[0]["csr"].encode())
        assert csr.is_signature_valid
        assert csr.subject.rfc4514_string() == f"CN={point.station_id}"


async def test_a_soft_reset_ends_the_transaction_and_boots_again(central: Central) -> None:
    async with point_of(central, faults=Faults(boot_on_reconnect=False)) as point:
        await point.wait_online()
        await point.start_with_tag(1, "CARD")
        await point.wait_for(lambda: point.transactions[0].answered)
        assert (await central.call("Reset", {"type": "Soft"}))[2] == {"status": "Accepted"}
        await point.wait_for(lambda: point.link.record.boots == 2)
        assert central.of("StopTransaction")[0]["reason"] == "SoftReset"
        assert len(central.sockets) == 2


async def test_every_acknowledged_message_is_recorded(central: Central) -> None:
    async with point_of(central) as point:
        await point.wait_online()
        await point.start_with_tag(1, "CARD")
        await point.wait_for(lambda: point.transactions[0].answered)
        point.stop_locally(1)
        await point.wait_for(lambda: point.transactions[0].confirmed)
        assert [(a.action, a.payload) for a in point.acknowledged] == [(n, p) for n, p, _ in central.calls]
        assert point.acknowledged_of("StartTransaction")[0].answer["transactionId"] == 1
