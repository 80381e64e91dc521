"""Who is put off before anything is looked up."""

from http import HTTPStatus

import pytest

from evpower.config import Settings
from evpower.stations.models import Admission
from socket_tier.gate import MAX_WAITING, Gate, UpgradeRequest


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
