"""Every route x every kind of caller (mobile-api.md §2, §3, §7.1)."""

import re
from typing import Any

import orjson
import pytest

from infra.local.services import Valkey
from tests.integration.api_network import in_own_loop, network
from tests.integration.contract.expected import ROUTES
from tests.integration.functions.api.conftest import CLIENT, OTHER, Api
from tests.integration.functions.api.staff_world import FIRST, FIRST_STATION, add_session
from tests.integration.matrix.callers import BLOCKED, CALLERS, DELETED, Gate, Request
from tests.integration.matrix.expectations import CASES, Case

Outcome = dict[tuple[str, str, str], tuple[int, str | None, dict[str, Any], str]]


async def _fill(api: Api) -> dict[str, str]:
    """The owner's stopped session and approved payment; both clients charge, so neither can delete its account."""
    await api.add_client(BLOCKED, 100, status="blocked")
    await api.add_client(DELETED, 0, status="deleted")
    await api.sql(
        """INSERT INTO users (id, email, role, admin_id, is_active, phone)
           VALUES ('spare-operator', 'spare@example.com', 'operator', %s, true, '+996700000090')""",
        FIRST,
    )
    session_id = await add_session(api, FIRST_STATION)
    for number, client_id in enumerate((CLIENT, OTHER), 1):
        await add_session(api, FIRST_STATION, client_id=client_id, state="charging", connector_id=number)
    made = await api.ok("POST", "/api/v1/balance/topup-qr", {"amount": 100})
    api.standin.behaviour.callbacks = 0
    api.standin.pay(made["invoice_id"])
    await api.ok("POST", "/api/v1/payment/check-status", {"invoice_id": made["invoice_id"]})
    card = await api.one("INSERT INTO id_tags (id_tag, client_id) VALUES ('CARD-1', %s) RETURNING id", CLIENT)
    # The charger has said that its list is empty: a sync has nothing to ask, for each of its callers.
    await api.sql("INSERT INTO local_lists (station_id, told_version, updated_at) VALUES (%s, 0, now())", FIRST_STATION)
    message = await api.one(
        """INSERT INTO quarantined_messages (station_id, action, reason, payload, fingerprint)
           VALUES (%s, 'StopTransaction', 'unknown transaction id', '{"meterStop": 5}', 'f') RETURNING id""",
        FIRST_STATION,
    )
    return {
        "SESSION": session_id,
        "INVOICE": made["invoice_id"],
        "CARD": str(card),
        "MESSAGE": str(message),
        **await _operations(api),
    }


async def _operations(api: Api) -> dict[str, str]:
    """A command that belongs to a session, a job that has no file, and a firmware file that is not uploaded."""
    now = api.deps.clock.now()
    await api.sql(
        """INSERT INTO station_commands (id, station_id, action, session_id, expires_at, requested_by)
           SELECT 'command-1', station_id, 'RemoteStopTransaction', id, %s, 'test' FROM charging_sessions LIMIT 1""",
        now,
    )
    await api.sql(
        """INSERT INTO station_jobs (id, station_id, kind, location, requested_by, expires_at, created_at, updated_at)
           VALUES ('job-1', %s, 'log', 'https://files.example/', 'test', %s, %s, %s)""",
        FIRST_STATION,
        now,
        now,
        now,
    )
    await api.sql(
        """INSERT INTO firmware_files (id, owner_id, name, version, object_key, size_bytes, sha256, created_by,
                                       created_at, updated_at)
           VALUES ('firmware-1', %s, 'Maker', '1', 'firmware/1', 3, repeat('0', 64), 'test', %s, %s)""",
        FIRST,
        now,
        now,
    )
    return {"COMMAND": "command-1", "JOB": "job-1", "FIRMWARE": "firmware-1"}


def _request(case: Case, known: dict[str, str]) -> Request:
    def real(text: str) -> str:
        for word, value in known.items():
            text = text.replace(word, value)
        return text

    path = re.sub(r"\{(\w+)\}", lambda match: case.fill[match[1]], case.path)
    body = b"" if case.body is None else real(orjson.dumps(case.body).decode()).encode()
    return Request(case.method, real(path + case.query), body)


@pytest.fixture(scope="module")
def outcomes(postgres: str, _template: str, valkey: Valkey) -> Outcome:
    """What every caller got from every route."""

    async def play() -> Outcome:
        found: Outcome = {}
        settings = {"otp_checks_per_address_per_minute": 10_000, "otp_sends_per_address_per_hour": 10_000}
        async with network(postgres, _template, valkey.url, **settings) as api:
            known = await _fill(api)
            gate = Gate(api)
            for case in CASES:
                for caller in CALLERS:
                    request = _request(case, known)
                    answer = await gate.send(request, await gate.headers(caller, request))
                    body = answer.json()
                    code = body.get("error_code") if answer.status_code >= 400 else None
                    found[(case.method, case.path, caller)] = (answer.status_code, code, body, answer.text)
        return found

    return in_own_loop(play)


def test_no_route_is_missing() -> None:
    assert {(case.method, case.path) for case in CASES} == {(method, path) for _, method, path, _ in ROUTES}
    for case in CASES:
        assert set(case.expected) == set(CALLERS), case.path


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method} {case.path}")
def test_who_gets_what(outcomes: Outcome, case: Case) -> None:
    got = {caller: outcomes[(case.method, case.path, caller)][:2] for caller in CALLERS}
    wrong = {caller: got[caller] for caller in CALLERS if got[caller] != case.expected[caller]}
    assert wrong == {}


def test_refusals_are_envelopes_that_say_nothing_of_others(outcomes: Outcome) -> None:
    for (_, path, _), (status, code, body, text) in outcomes.items():
        if status < 400:
            continue
        legacy = not path.startswith("/api/v1/")
        assert body["success"] is False
        assert body["message"] != ""
        assert body["error"] == (code if legacy and path.startswith("/api/") else body["message"])
        assert None not in body.values()
        if status in (401, 403):
            assert CLIENT not in text


# Codes that say nothing by themselves.
_VAGUE = {"invalid_request", "not_found", "state_conflict", "validation_error"}


def test_refusals_of_the_staffs_routes_say_what_is_wrong(outcomes: Outcome) -> None:
    refused = {
        key: body
        for key, (status, code, body, _) in outcomes.items()
        if "/admin/" in key[1] and status >= 400 and code in _VAGUE
    }
    assert len({path for _, path, _ in refused}) > 20
    silent = {key for key, body in refused.items() if not (body.get("reason") or body.get("fields"))}
    assert silent == set()
    assert all("detail" in item for body in refused.values() for item in body.get("fields", []))
