"""The command table of OCPP 1.6 against the words of the schemas."""

from importlib.resources import files
from typing import Any

import orjson
import pytest

from evpower.commands.models import REPEATABLE_ACTIONS
from socket_tier.dialect import CommandSpec, Dialect, Outcome
from socket_tier.ocpp16.commands import COMMANDS
from socket_tier.ocpp16.routes import DIALECT
from tests.fakes.ocpp16_commands import CASES
from tests.unit.socket_tier.conftest import SCHEMAS


def status_words(action: str) -> set[str]:
    """The words that the answer's schema allows in ``status``."""
    text = files("ocpp.v16").joinpath("schemas", f"{action}Response.json").read_bytes()
    schema: dict[str, Any] = orjson.loads(text)
    status = schema["properties"].get("status")
    if status is None:
        return set()
    if "$ref" in status:
        status = schema["definitions"][status["$ref"].rsplit("/", 1)[1]]
    return set(status["enum"])


def test_the_table_has_all_commands_of_the_specification() -> None:
    assert set(COMMANDS) == set(CASES)
    assert len(COMMANDS) == 26


@pytest.mark.parametrize("action", CASES)
def test_each_word_of_an_answer_means_accepted_or_rejected(action: str) -> None:
    case, spec = CASES[action], COMMANDS[action]
    assert {*case.accepted, *case.rejected} == status_words(action), "a word is judged by nobody"
    assert [spec.outcome({"status": word}) for word in case.accepted] == [Outcome.ACCEPTED] * len(case.accepted)
    assert [spec.outcome({"status": word}) for word in case.rejected] == [Outcome.REJECTED] * len(case.rejected)
    if not case.accepted:
        assert spec.outcome(case.answer) is Outcome.ACCEPTED


@pytest.mark.parametrize("action", [action for action, case in CASES.items() if not case.accepted])
@pytest.mark.parametrize("word", ["Rejected", "NotSupported", "NotImplemented", "Failed"])
def test_a_refusal_where_the_answer_has_no_status_is_one(action: str, word: str) -> None:
    assert COMMANDS[action].outcome({"status": word}) is Outcome.REJECTED
    for harmless in ("Accepted", ["Rejected"], None):
        assert COMMANDS[action].outcome({"status": harmless}) is Outcome.ACCEPTED


def test_only_stops_and_reads_are_written_twice() -> None:
    assert {action for action, case in CASES.items() if case.repeatable} == REPEATABLE_ACTIONS


def test_a_stop_never_waits_long_and_the_longest_patience_is_known() -> None:
    assert DIALECT.patience("RemoteStopTransaction") == 1
    assert DIALECT.patience("InstallCertificate") == DIALECT.patience() == 2
    assert DIALECT.patience("Dance") == 1
    assert Dialect("ocpp1.6", SCHEMAS, {}, {}).patience() == 1
    assert Dialect("ocpp1.6", SCHEMAS, {}, {"Reset": CommandSpec(patience=0.5)}).patience() == 0.5


@pytest.mark.parametrize(
    ("action", "answer", "kept"),
    [
        ("GetInstalledCertificateIds", {"status": "NotFound", "certificateHashData": []}, {"status": "NotFound"}),
        ("GetDiagnostics", {"fileName": "x" * 300}, {"fileName": "x" * 300}),
        ("GetCompositeSchedule", {"status": "Rejected", "scheduleStart": ""}, {"status": "Rejected"}),
    ],
)
def test_what_chargers_answer_carelessly_is_read(action: str, answer: dict[str, Any], kept: dict[str, Any]) -> None:
    checked = SCHEMAS.check_response(action, answer)
    assert (checked.payload, checked.fault) == (kept, None)


def test_an_empty_reading_stays_a_fault() -> None:
    fault = SCHEMAS.check_request("MeterValues", {"connectorId": 1, "meterValue": []}).fault
    assert fault is not None
    assert fault.code == "OccurenceConstraintViolation"
