"""Credentials and certificates of chargers over REST: what is asked for, what is shown, what is never shown."""

from typing import Any

import pytest

from evpower.stations import service as stations
from tests.fakes.station_authority import TestAuthority, csr
from tests.integration.functions.api.conftest import STATION, Api
from tests.integration.functions.api.staff_world import FIRST, FIRST_OPERATOR, SECOND, SECOND_STATION, build

BASE = f"/api/v1/admin/stations/{STATION}"
ROOT = TestAuthority.make()
INSTALL = {"certificate_type": "CentralSystemRootCertificate", "certificate": ROOT.pem}


@pytest.fixture
async def world(api: Api) -> Api:
    await build(api)
    return api


async def accepted(api: Api, method: str, path: str, body: Any = None, **options: Any) -> dict[str, Any]:
    """The data of a 202 answer."""
    answer = await api.call(method, f"{BASE}{path}", body, client=FIRST, **options)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()["data"]
    return found


async def new_keys(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.ok("GET", f"{BASE}/credentials", client=FIRST))["data"]["new_keys"]
    return found


async def test_a_key_is_sent_and_shown_to_nobody(world: Api) -> None:
    data = await accepted(world, "POST", "/credentials/key", {})
    assert set(data) == {"new_key_id", "command"}
    (command,) = world.queue.sent
    assert (command.id, command.action) == (data["command"]["id"], "ChangeConfiguration")
    assert command.payload["key"] == "AuthorizationKey"
    assert set(command.payload["value"]) == {"sealed"}
    (key,) = await new_keys(world)
    assert (key["id"], key["state"], key["created_by"]) == (data["new_key_id"], "waiting", f"staff:{FIRST}")
    await world.fails("POST", f"{BASE}/credentials/key", {}, status=409, code="state_conflict", client=FIRST)
    (row, refusal) = await world.sql("SELECT * FROM audit_logs WHERE operation = 'admin.station_key' ORDER BY id")
    assert row["details"] == {"station_id": STATION, "delivery": "send", "new_key_id": data["new_key_id"],
                              "command_id": command.id}  # fmt: skip
    assert refusal["status"] == 409


async def test_a_key_to_be_typed_in_is_shown_once_and_kept_nowhere(world: Api) -> None:
    body = {"delivery": "by_hand"}
    headers = {"Idempotency-Key": "the-same-request"}
    answers = [
        await world.call("POST", f"{BASE}/credentials/key", body, client=FIRST, headers=headers) for _ in range(2)
    ]
    first, second = (answer.json()["data"]["key"] for answer in answers)
    assert len(first) == 40
    assert first != second  # the answer was not kept, so it could not be repeated
    assert answers[0].headers["cache-control"] == "no-store"
    kept = await world.deps.redis.run(lambda client: client.keys("evpower:idempotency:*"))
    assert kept == []
    for table in ("station_key_candidates", "audit_logs", "station_commands", "stations"):
        rows = await world.sql(f"SELECT row_to_json(t)::text AS text FROM {table} t")
        assert not [row for row in rows if first in row["text"]], table
    assert [key["state"] for key in await new_keys(world)] == ["by_hand", "by_hand"]
    admission = await world.db.run(lambda conn: stations.load_for_admission(conn, STATION))
    assert admission is not None
    assert len(admission.candidate_keys) == 2


async def test_a_key_of_the_factory_is_not_repeated_to_its_sender(world: Api) -> None:
    data = await world.ok("POST", f"{BASE}/credentials/key", {"delivery": "by_hand", "key": "k" * 16}, client=FIRST)
    assert set(data["data"]) == {"new_key_id"}


@pytest.mark.parametrize(
    "body",
    [{"key": "k" * 16}, {"delivery": "by_hand", "key": "k" * 15}, {"delivery": "by_hand", "key": "k" * 41},
     {"delivery": "by_hand", "key": "with spaces in the key"}, {"delivery": "by_hand", "key": 1234567890123456},
     {"delivery": "fax"}],
)  # fmt: skip
async def test_bodies_that_are_refused(world: Api, body: dict[str, Any]) -> None:
    await world.fails("POST", f"{BASE}/credentials/key", body, status=422, code="validation_error", client=FIRST)
    assert await new_keys(world) == []


async def test_a_key_can_be_withdrawn_before_its_use(world: Api) -> None:
    made = (await world.ok("POST", f"{BASE}/credentials/key", {"delivery": "by_hand"}, client=FIRST))["data"]
    path = f"{BASE}/credentials/new-keys/{made['new_key_id']}"
    await world.ok("DELETE", path, client=FIRST)
    await world.fails("DELETE", path, status=404, code="not_found", client=FIRST)
    sent = await accepted(world, "POST", "/credentials/key", None)
    path = f"{BASE}/credentials/new-keys/{sent['new_key_id']}"
    await world.fails("DELETE", path, status=409, code="state_conflict", client=FIRST)  # it waits for its charger
    await world.sql("UPDATE station_commands SET status = 'timed_out'")
    assert [key["state"] for key in await new_keys(world)] == ["unknown"]
    await world.fails("DELETE", path, status=409, code="state_conflict", client=FIRST)  # the charger may have it
    await world.ok("DELETE", f"{path}?force=true", client=FIRST)
    assert await new_keys(world) == []


async def test_revoked_keys_open_nothing_and_end_the_connection(world: Api) -> None:
    await world.db.run(lambda conn: stations.set_authorization_key(conn, STATION, "k" * 16))
    await world.ok("POST", f"{BASE}/credentials/key", {"delivery": "by_hand"}, client=FIRST)
    before = await world.one("SELECT connection_epoch FROM stations WHERE id = %s", STATION)
    await world.ok("DELETE", f"{BASE}/credentials/key", client=FIRST)
    (row,) = await world.sql("SELECT * FROM stations WHERE id = %s", STATION)
    assert (row["auth_key_hash"], row["connected_instance"]) == (None, None)
    assert row["connection_epoch"] > before
    assert await new_keys(world) == []


async def test_a_profile_goes_up_only_with_what_it_needs(world: Api) -> None:
    async def refused(profile: int, why: str) -> None:
        answer = await world.fails(
            "PUT", f"{BASE}/credentials/security-profile", {"security_profile": profile}, client=FIRST,
            status=409, code="state_conflict", headers={"Accept-Language": "en"},
        )  # fmt: skip
        assert why in answer["message"]

    path = "/credentials/security-profile"
    await world.fails(
        "PUT", f"{BASE}{path}", {"security_profile": 0}, status=422, code="validation_error", client=FIRST
    )
    await refused(1, "no AuthorizationKey")
    await world.db.run(lambda conn: stations.set_authorization_key(conn, STATION, "k" * 16))
    data = await accepted(world, "PUT", path, {"security_profile": 1})
    assert (data["security_profile"], data["requested_security_profile"]) == (0, 1)
    assert world.queue.sent[-1].payload == {"key": "SecurityProfile", "value": "1"}
    await refused(2, "CentralSystemRootCertificate")
    await world.sql(
        """INSERT INTO installed_certificates (id, station_id, certificate_type, hash_algorithm, issuer_name_hash,
               issuer_key_hash, serial_number, seen_at)
           VALUES ('i', %s, 'CentralSystemRootCertificate', 'SHA256', 'x', 'y', '1', now())""",
        STATION,
    )
    await refused(2, "already waits")
    await world.sql("UPDATE station_commands SET status = 'accepted'")
    await accepted(world, "PUT", path, {"security_profile": 2})
    await world.sql("UPDATE station_commands SET status = 'expired'")
    await refused(3, "no certificate")
    data = (await world.ok("PUT", f"{BASE}{path}", {"security_profile": 3, "delivery": "record"}, client=FIRST))["data"]
    assert (data["security_profile"], data["requested_security_profile"]) == (3, None)
    await refused(2, "only upward")
    await world.ok("PUT", f"{BASE}{path}", {"security_profile": 1, "delivery": "record"}, client=FIRST)
    (row, *_) = await world.sql("SELECT details FROM audit_logs WHERE status = 200 ORDER BY id DESC")
    assert (row["details"]["before"], row["details"]["security_profile"]) == (3, 1)


async def test_a_profile_that_nobody_could_satisfy_is_not_recorded(world: Api) -> None:
    body = {"security_profile": 2, "delivery": "record"}
    path = f"{BASE}/credentials/security-profile"
    await world.fails("PUT", path, body, status=409, code="state_conflict", client=FIRST)
    await world.ok("POST", f"{BASE}/credentials/key", {"delivery": "by_hand"}, client=FIRST)
    await world.ok("PUT", path, body, client=FIRST)


@pytest.mark.parametrize(
    "certificate",
    [csr("x"), ROOT.pem * 2, TestAuthority.make(ca=False).pem, TestAuthority.make(days=0.01).pem, "x" * 5501, "",
     ROOT.settings["ca_key"], ROOT.pem + ROOT.settings["ca_key"]],
    ids=["request", "two", "no authority", "expired", "too long", "empty", "key", "with its key"],
)  # fmt: skip
async def test_what_is_not_sent_into_a_charger(world: Api, certificate: str) -> None:
    body = {**INSTALL, "certificate": certificate}
    answer = await world.fails("POST", f"{BASE}/certificates", body, status=422, code="validation_error", client=FIRST)
    assert answer["fields"][0]["field"] == "certificate"
    assert world.queue.sent == []
    assert "PRIVATE" not in str(await world.sql("SELECT details FROM audit_logs"))


async def test_commands_about_certificates_are_ordinary_commands(world: Api) -> None:
    data = await accepted(world, "POST", "/certificates", INSTALL)
    assert data["connected"] is True
    await accepted(world, "POST", "/certificates/refresh")
    await accepted(world, "POST", "/certificates/renew")
    actions = [command.action for command in world.queue.sent]
    assert actions == ["InstallCertificate", *["GetInstalledCertificateIds"] * 2, "ExtendedTriggerMessage"]
    audited = await world.sql("SELECT operation FROM audit_logs ORDER BY id")
    assert [row["operation"] for row in audited] == [
        "admin.certificate_install", "admin.certificates_refresh", "admin.certificate_renew",
    ]  # fmt: skip


async def test_operators_look_and_ask_but_change_nothing(world: Api) -> None:
    for path in ("/credentials", "/certificates"):
        await world.ok("GET", BASE + path, client=FIRST_OPERATOR)
    assert (await world.call("POST", f"{BASE}/certificates/refresh", client=FIRST_OPERATOR)).status_code == 202
    for method, path, body in (
        ("POST", "/credentials/key", {}),
        ("DELETE", "/credentials/key", None),
        ("DELETE", "/credentials/new-keys/x", None),
        ("PUT", "/credentials/security-profile", {"security_profile": 1}),
        ("POST", "/certificates", INSTALL),
        ("POST", "/certificates/renew", None),
        ("DELETE", "/certificates/x", None),
        ("POST", "/certificates/x/revoke", None),
    ):
        await world.fails(method, BASE + path, body, status=403, code="forbidden", client=FIRST_OPERATOR)
        foreign = f"/api/v1/admin/stations/{SECOND_STATION}{path}"
        await world.fails(method, foreign, body, status=404, code="station_not_found", client=FIRST)
        await world.fails(method, BASE + path, body, status=404, code="station_not_found", client=SECOND)


async def test_a_certificate_of_another_station_is_not_there(world: Api) -> None:
    await world.sql(
        """INSERT INTO station_certificates (id, station_id, state, csr, csr_fingerprint, chain, requested_at)
           VALUES ('theirs', %s, 'accepted', '', '', 'pem', now())""",
        SECOND_STATION,
    )
    await world.fails("POST", f"{BASE}/certificates/theirs/revoke", status=404, code="not_found", client=FIRST)
    await world.ok("POST", f"/api/v1/admin/stations/{SECOND_STATION}/certificates/theirs/revoke", client=SECOND)
    assert await world.one("SELECT revoked_by FROM station_certificates") == f"staff:{SECOND}"
