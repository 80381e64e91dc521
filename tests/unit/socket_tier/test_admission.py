"""Decisions about one upgrade request (ocpp.md §1)."""

import base64
from http import HTTPStatus
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from socket_tier import admission
from socket_tier.admission import (
    Certificate,
    Demands,
    FailureBackOff,
    Key,
    Proof,
    Refusal,
    TokenBucket,
    TrustedProxies,
)


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
        ("/ocpp//CP-1", "CP-1"),
        ("/ws//CP-1/", "CP-1"),
        ("/ocpp///CP-1", "CP-1"),
        ("/ocpp//CP-1/more", None),
        ("/ocpp/CP-1//", "CP-1"),
        ("//ocpp/CP-1", "CP-1"),
        ("ws://central.example:8500/ocpp/CP-1?x=1", "CP-1"),
        ("ws://central.example/ocpp/CP-1/more", None),
        ("/ocpp//", None),
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


@pytest.mark.parametrize(
    "header", [None, "", "Bearer abc", "Basic", "Basic !!!", "Basic " + "YWJj", "Basic Q1A6a2\xe9"]
)
def test_anything_else_is_no_credentials(header: str | None) -> None:
    assert admission.basic_credentials(header) is None


def test_the_padding_of_credentials_may_be_missing() -> None:
    for password in (b"k", b"ke", b"key"):
        padded = basic("CP", password)
        assert admission.basic_credentials(padded.rstrip("=")) == admission.basic_credentials(padded) is not None


def test_a_password_may_contain_colons() -> None:
    parsed = admission.basic_credentials(basic("CP", b"a:b:c"))
    assert parsed is not None
    assert parsed[1][0] == "a:b:c"


def prove(
    *,
    keys: tuple[Key, ...] = (Key("secret"),),
    profile: int = 0,
    credentials: tuple[str, tuple[str, ...]] | None = None,
    certificate: Certificate | None = None,
    secure: bool = False,
    allow: bool = False,
) -> Proof | int:
    demands = Demands(
        references=frozenset({"id-1", "SERIAL-1"}),
        keys=keys,
        has_present_key=any(key.candidate is None for key in keys),
        profile=profile,
        allow_unauthenticated=allow,
    )
    found = admission.authenticate(
        demands,
        lambda stored, password: password == stored,
        credentials=credentials,
        certificate=certificate,
        secure=secure,
    )
    return int(found.status) if isinstance(found, Refusal) else found


def test_who_may_come_in() -> None:
    good = ("id-1", ("secret",))
    assert prove(credentials=good) == Proof(1, Key("secret"))
    assert prove(credentials=good, secure=True) == Proof(2, Key("secret"))
    assert prove(credentials=("SERIAL-1", ("nope", "secret"))) == Proof(1, Key("secret"))
    assert prove(credentials=("other", ("secret",))) == 401
    assert prove(credentials=("id-1", ("wrong",))) == 401
    assert prove() == 401
    assert prove(allow=True) == 401  # a key that is set is asked for, whatever the policy
    assert prove(keys=()) == 401
    assert prove(keys=(), allow=True) == Proof(0)
    assert prove(keys=(), allow=True, profile=1) == 401  # the profile asks for a key, so one must be set


def test_a_certificate_that_the_proxy_verified() -> None:
    ours = Certificate("SERIAL-1", "0a")
    assert prove(certificate=ours, secure=True) == Proof(3, certificate_serial="0a")
    assert prove(certificate=ours) == Proof(1, certificate_serial="0a")
    assert prove(certificate=Certificate("SERIAL-2"), credentials=("id-1", ("secret",))) == 401
    assert prove(certificate=Certificate("SERIAL-1", "0a", "It was revoked."), secure=True) == 401


@pytest.mark.parametrize(
    ("profile", "plain", "tls", "tls_with_certificate"),
    [(0, 1, 2, 3), (1, 1, 2, 3), (2, 403, 2, 3), (3, 403, 401, 3)],
)
def test_each_profile_and_what_satisfies_it(profile: int, plain: int, tls: int, tls_with_certificate: int) -> None:
    good = ("id-1", ("secret",))

    def level(**how: Any) -> int:
        found = prove(profile=profile, credentials=good, **how)
        return found.level if isinstance(found, Proof) else found

    assert level() == plain
    assert level(secure=True) == tls
    assert level(secure=True, certificate=Certificate("id-1")) == tls_with_certificate
    assert prove(profile=3, certificate=Certificate("id-1")) == 403


def test_the_present_key_and_new_ones_open_the_station() -> None:
    keys = (Key("old"), Key("new", "candidate-1"), Key("newer", "candidate-2"))
    for key in keys:
        assert prove(keys=keys, credentials=("id-1", (key.hash,))) == Proof(1, key)
    assert prove(keys=keys, credentials=("id-1", ("older",))) == 401


def test_a_station_that_gets_its_first_key_is_not_locked_out_before_it_used_it() -> None:
    first = (Key("new", "candidate-1"),)
    assert prove(keys=first, allow=True) == Proof(0)
    assert prove(keys=first, allow=True, credentials=("id-1", ("new",))) == Proof(1, first[0])
    assert prove(keys=first) == 401


@pytest.mark.parametrize(
    ("header", "secure"),
    [("https", True), ("wss", True), ("HTTPS, https", True), ("http", False), ("ws", False), (None, False), ("", False),
     ("https,http", False), ("http,https", False), ("https,", False)],
)  # fmt: skip
def test_every_hop_must_be_tls(header: str | None, secure: bool) -> None:
    assert admission.is_secure(header) is secure


@pytest.mark.parametrize(
    ("subject", "name"),
    [("CN=CP-1,O=Maker,C=KG", "CP-1"), ("O=Maker, cn = CP-1", "CP-1"), ("/C=KG/CN=CP-1", "CP-1"),
     ("CN=a\\,b,O=x", "a,b"), ("O=Maker", None), ("", None), (None, None), ("OCN=x", None),
     ("O=a+CN=CP-1", "CP-1"), ("2.5.4.3=CP-1,O=a", "CP-1"), ('CN="a, b",O=x', "a, b"), ("CN=\\C3\\A9\\2C1", "\u00e9,1"),
     ("CN=CP-1,CN=CP-2", None), ("/O=a/CN=CP-2/CN=CP-1", None), ("O=a\\", None), ("CN=", None)],
)  # fmt: skip
def test_the_common_name_of_a_certificate(subject: str | None, name: str | None) -> None:
    assert admission.certificate_name(subject) == name


@pytest.mark.parametrize("organisation", ["x,CN=victim", "x/CN=victim", "x+CN=victim", '"x",CN=victim', "x;CN=victim\\",
                                          "x\nCN=victim", "#x,CN=victim", "CN=victim", "\\,CN=victim"])  # fmt: skip
def test_an_organisation_makes_nobody_another_station(organisation: str) -> None:
    """The charger chooses it in its signing request; this is the order in which our authority writes the subject."""
    common = x509.NameAttribute(NameOID.COMMON_NAME, "CP-1")
    subject = x509.Name([common, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)])
    assert admission.certificate_name(subject.rfc4514_string()) == "CP-1"


def test_forwarding_headers_count_only_from_our_proxies() -> None:
    proxies = TrustedProxies.parse("10.0.0.0/8, 192.0.2.1")
    assert proxies.client_address("10.1.2.3", "203.0.113.9") == "203.0.113.9"
    assert proxies.client_address("10.1.2.3", "198.51.100.1, 203.0.113.9, 10.9.9.9") == "203.0.113.9"
    assert proxies.client_address("203.0.113.5", "198.51.100.1") == "203.0.113.5"
    assert proxies.client_address("10.1.2.3", None) == "10.1.2.3"
    assert proxies.client_address("10.1.2.3", "nonsense") == "10.1.2.3"
    assert proxies.client_address("10.1.2.3", "10.1.1.1") == "10.1.2.3"
    assert not TrustedProxies.parse("").trusts("10.1.2.3")


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        ("203.0.113.9:50123", "203.0.113.9"),
        ("[2001:db8::9]:50123", "2001:db8::9"),
        ("[2001:db8::9]", "2001:db8::9"),
        ("2001:db8::9", "2001:db8::9"),
        ("203.0.113.9:", "10.1.2.3"),
        ("[203.0.113.9", "10.1.2.3"),
    ],
)
def test_a_forwarding_header_may_name_the_port(hop: str, address: str) -> None:
    assert TrustedProxies.parse("10.0.0.0/8").client_address("10.1.2.3", f"198.51.100.1, {hop}") == address


def test_a_crowd_is_let_in_at_the_agreed_rate() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    assert [bucket.take(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert bucket.take(100.125)
    assert not bucket.take(100.125)
    assert [bucket.take(200.0) for _ in range(4)] == [True, True, True, False]


def test_repeated_failures_wait_longer_each_time_and_a_success_ends_it() -> None:
    backoff = FailureBackOff(free=2, longest_s=4.0)
    waits = []
    now = 100.0
    for count in range(1, 7):
        assert backoff.fail("CP-1", now) == count
        waits.append(backoff.wait("CP-1", now))
        now += waits[-1]
    assert waits == [0, 0, 1, 2, 4, 4]
    assert backoff.wait("CP-1", now) == 0
    assert [backoff.fail("CP-1", now) for _ in range(3)] == [7, 7, 7], "what was under way together counts once"
    assert backoff.wait("CP-2", now) == 0
    backoff.succeed("CP-1")
    assert backoff.wait("CP-1", now) == 0
    assert backoff.fail("CP-1", now) == 1


def test_the_memory_of_failures_is_bounded() -> None:
    backoff = FailureBackOff(free=0, longest_s=60, max_keys=10)
    for number in range(1000):
        backoff.fail(str(number), 0.0)
    assert sum(backoff.wait(str(number), 0.0) > 0 for number in range(1000)) == 10


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 5), st.sampled_from(["", "?a=/ws/b"]))
def test_slashes_count_once(before: int, between: int, after: int, query: str) -> None:
    path = f"{'/' * before}ocpp{'/' * between}CP%2F1{'/' * after}{query}"
    assert admission.station_reference(path) == "CP/1"
