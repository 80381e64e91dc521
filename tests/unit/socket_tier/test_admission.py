"""Decisions about one upgrade request (ocpp.md §1)."""

import base64
from http import HTTPStatus

import pytest

from socket_tier import admission
from socket_tier.admission import FailureBackOff, Refusal, TokenBucket, TrustedProxies


@pytest.mark.parametrize(
    ("path", "station"),
    [
        ("/ocpp/CP-1", "CP-1"),
        ("/ws/CP-1", "CP-1"),
        ("/ocpp/CP-1/", "CP-1"),
        ("/ocpp/CP%201", "CP 1"),
        ("/ocpp/%D0%91%D0%B8", "Би"),
        ("/ocpp/a%2Fb", "a/b"),
        ("/ocpp/CP-1?x=1", "CP-1"),
        ("/ocpp/CP-1/more", None),
        ("/ocpp//CP-1", None),
        ("/ocpp/CP-1//", None),
        ("/ocpp/", None),
        ("/ocpp", None),
        ("/", None),
        ("/other/CP-1", None),
        ("/ocpp/%00", None),
        ("/ocpp/%0a", None),
        ("/ocpp/%ff", None),
        ("/ocpp/%20x", None),
        ("/ocpp/" + "x" * 101, None),
    ],
)
def test_the_station_comes_from_the_path(path: str, station: str | None) -> None:
    assert admission.station_reference(path) == station


def test_our_preference_decides_among_the_offered_versions() -> None:
    chosen = admission.choose_subprotocol(["ocpp1.5", "ocpp1.6"], ["ocpp1.6"], allow_missing=False)
    assert chosen == ("ocpp1.6", True)


def test_no_common_version_is_refused_in_plain_words() -> None:
    refusal = admission.choose_subprotocol(["ocpp2.0.1"], ["ocpp1.6"], allow_missing=True)
    assert isinstance(refusal, Refusal)
    assert refusal.status == HTTPStatus.BAD_REQUEST
    assert "ocpp1.6" in refusal.sentence
    assert "ocpp2.0.1" in refusal.sentence


def test_no_subprotocol_is_refused_unless_the_station_may() -> None:
    assert isinstance(admission.choose_subprotocol([], ["ocpp1.6"], allow_missing=False), Refusal)
    assert admission.choose_subprotocol([], ["ocpp1.6"], allow_missing=True) == ("ocpp1.6", False)


def basic(user: str, password: bytes) -> str:
    return "Basic " + base64.b64encode(user.encode() + b":" + password).decode()


def test_the_password_may_be_the_key_as_text_or_the_bytes_behind_it() -> None:
    key = "00112233445566778899aabbccddeeff00112233"
    assert admission.basic_credentials(basic("CP", key.encode())) == ("CP", (key, key.encode().hex()))
    parsed = admission.basic_credentials(basic("CP", bytes.fromhex(key)))
    assert parsed is not None
    assert key in parsed[1]


@pytest.mark.parametrize("header", [None, "", "Bearer abc", "Basic", "Basic !!!", "Basic " + "YWJj"])
def test_anything_else_is_no_credentials(header: str | None) -> None:
    assert admission.basic_credentials(header) is None


def test_a_password_may_contain_colons() -> None:
    parsed = admission.basic_credentials(basic("CP", b"a:b:c"))
    assert parsed is not None
    assert parsed[1][0] == "a:b:c"


def decide(
    *,
    key: str | None = "secret",
    credentials: tuple[str, tuple[str, ...]] | None = None,
    certificate: str | None = None,
    allow: bool = False,
) -> int:
    refusal = admission.authenticate(
        references=frozenset({"id-1", "SERIAL-1"}),
        key_set=key is not None,
        check=lambda password: password == key,
        credentials=credentials,
        certificate_cn=certificate,
        allow_unauthenticated=allow,
    )
    return 0 if refusal is None else int(refusal.status)


def test_who_may_come_in() -> None:
    assert decide(credentials=("id-1", ("secret",))) == 0
    assert decide(credentials=("SERIAL-1", ("nope", "secret"))) == 0
    assert decide(credentials=("other", ("secret",))) == 401
    assert decide(credentials=("id-1", ("wrong",))) == 401
    assert decide() == 401
    assert decide(allow=True) == 401  # a key that is set is asked for, whatever the policy
    assert decide(key=None) == 401
    assert decide(key=None, allow=True) == 0
    assert decide(certificate="SERIAL-1") == 0
    assert decide(certificate="SERIAL-2", credentials=("id-1", ("secret",))) == 401


@pytest.mark.parametrize(
    ("subject", "name"),
    [("CN=CP-1,O=Maker,C=KG", "CP-1"), ("O=Maker, cn = CP-1", "CP-1"), ("/C=KG/CN=CP-1", "CP-1"),
     ("CN=a\\,b,O=x", "a,b"), ("O=Maker", None), ("", None), (None, None), ("OCN=x", None)],
)  # fmt: skip
def test_the_common_name_of_a_certificate(subject: str | None, name: str | None) -> None:
    assert admission.certificate_name(subject) == name


def test_forwarding_headers_count_only_from_our_proxies() -> None:
    proxies = TrustedProxies.parse("10.0.0.0/8, 192.0.2.1")
    assert proxies.client_address("10.1.2.3", "203.0.113.9") == "203.0.113.9"
    assert proxies.client_address("10.1.2.3", "198.51.100.1, 203.0.113.9, 10.9.9.9") == "203.0.113.9"
    assert proxies.client_address("203.0.113.5", "198.51.100.1") == "203.0.113.5"
    assert proxies.client_address("10.1.2.3", None) == "10.1.2.3"
    assert proxies.client_address("10.1.2.3", "nonsense") == "10.1.2.3"
    assert proxies.client_address("10.1.2.3", "10.1.1.1") == "10.1.2.3"
    assert not TrustedProxies.parse("").trusts("10.1.2.3")


def test_a_crowd_is_let_in_at_the_agreed_rate() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    assert [bucket.take(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert bucket.take(100.125)
    assert not bucket.take(100.125)
    assert [bucket.take(200.0) for _ in range(4)] == [True, True, True, False]


def test_repeated_failures_wait_longer_each_time_and_a_success_ends_it() -> None:
    backoff = FailureBackOff(free=2, longest_s=4.0)
    waits = []
    for _ in range(6):
        backoff.fail("CP-1", 100.0)
        waits.append(backoff.wait("CP-1", 100.0))
    assert waits == [0, 0, 1, 2, 4, 4]
    assert backoff.wait("CP-1", 105.0) == 0
    assert backoff.wait("CP-2", 100.0) == 0
    backoff.succeed("CP-1")
    assert backoff.wait("CP-1", 100.0) == 0


def test_the_memory_of_failures_is_bounded() -> None:
    backoff = FailureBackOff(free=0, longest_s=60, max_keys=10)
    for number in range(1000):
        backoff.fail(str(number), 0.0)
    assert sum(backoff.wait(str(number), 0.0) > 0 for number in range(1000)) == 10
