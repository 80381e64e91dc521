"""Who is put off before anything is looked up, and for how long after refusals."""

import base64
from http import HTTPStatus
from types import SimpleNamespace

import pytest

from evpower.config import Settings
from evpower.stations.credentials import hash_authorization_key
from evpower.stations.models import Admission
from socket_tier import gate as gate_module
from socket_tier.admission import Refusal
from socket_tier.gate import MAX_WAITING, Gate, Pass, UpgradeRequest
from tests.unit.socket_tier.conftest import admission

KEY = "00112233445566778899aabbccddeeff00112233"
ROUTER = "192.0.2.1"


async def _nobody(_reference: str) -> Admission | None:
    return None


@pytest.mark.parametrize(
    ("waiting", "status"), [(0, HTTPStatus.NOT_FOUND), (MAX_WAITING + 1, HTTPStatus.SERVICE_UNAVAILABLE)]
)
async def test_while_many_wait_for_the_database_nobody_else_is_let_in(waiting: int, status: HTTPStatus) -> None:
    """Use case: the storm after an outage."""
    gate = Gate(Settings.model_validate({"environment": "test"}), ["ocpp1.6"], _nobody, waiting=lambda: waiting)
    verdict = await gate.admit(UpgradeRequest("/ocpp/station-1", "192.0.2.1", ["ocpp1.6"]))
    assert getattr(verdict, "status", None) is status
    assert (getattr(verdict, "retry_after_s", None) is not None) is (status is HTTPStatus.SERVICE_UNAVAILABLE)


class Door:
    """A gate with a clock of the test's own, in front of stations ``good-...`` that all have :data:`KEY`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(gate_module, "time", SimpleNamespace(monotonic=lambda: self.now))
        settings = Settings.model_validate({"environment": "test", "allow_unauthenticated_stations": False})
        self._gate = Gate(settings, ["ocpp1.6"], self._load)
        self._hash = hash_authorization_key(KEY)

    async def _load(self, reference: str) -> Admission | None:
        if not reference.startswith("good-"):
            return None
        return admission(station_id=reference, serial_number=reference, auth_key_hash=self._hash)

    async def knock(self, station: str, key: str = KEY, address: str = ROUTER) -> int:
        """Status that the charger gets."""
        credentials = base64.b64encode(f"{station}:{key}".encode()).decode()
        request = UpgradeRequest(f"/ocpp/{station}", address, ["ocpp1.6"], authorization=f"Basic {credentials}")
        verdict = await self._gate.admit(request)
        if isinstance(verdict, Pass):
            self._gate.leave(address)
            return 101
        assert isinstance(verdict, Refusal)
        return int(verdict.status)


async def test_a_charger_with_a_wrong_key_slows_down_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use case: one of many behind a router has a wrong key and comes every ten seconds for a day."""
    door = Door(monkeypatch)
    seen = set()
    for turn in range(8640):
        seen.add(await door.knock("good-1", "wrong-wrong-wrong"))
        if turn % 100 == 99:
            assert await door.knock(f"good-{turn}") == 101, f"after {turn + 1} failures of a neighbour"
        door.now += 10
    assert seen == {401, 503}


async def test_an_address_that_tries_many_stations_is_slowed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(monkeypatch)
    assert await door.knock("good-1") == 101
    tried = [await door.knock(f"nobody-{number}") for number in range(40)]
    assert tried[:30] == [404] * 30
    assert tried[-1] == 503
    assert await door.knock("good-2") == 503
    assert await door.knock("good-1") == 101, "it has been let in from there before"
    assert await door.knock("good-2", address="192.0.2.2") == 101
    door.now += 61
    assert await door.knock("good-2") == 101


async def test_failures_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(monkeypatch)
    for number in range(100):
        assert await door.knock(f"nobody-{number}") == 404
        assert await door.knock(f"good-{number}") == 101, f"after {number + 1} failures, one in 16 minutes"
        door.now += 960
