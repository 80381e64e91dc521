"""Signing requests and certificates: what is read from them, and what is refused."""

import base64
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from evpower.certificates import x509 as reading
from evpower.certificates.models import HashData
from evpower.certificates.x509 import NotUsable
from infra.local.simulator import certificates as simulator
from tests.fakes.station_authority import TestAuthority, csr, pem

NAMES = frozenset({"id-1", "SN-1"})
NOW = datetime.now(UTC)


def test_a_good_request() -> None:
    for common in NAMES:
        facts = reading.read_csr(csr(common, organisation="Operator"), NAMES)
        assert (facts.common_name, facts.organisation) == (common, "Operator")
    same = csr("SN-1")
    assert reading.read_csr(same, NAMES).fingerprint == reading.read_csr(same, NAMES).fingerprint
    assert reading.read_csr(csr("SN-1"), NAMES).fingerprint != reading.read_csr(same, NAMES).fingerprint


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())])
def test_keys_that_load_balancers_take(key: Any) -> None:
    assert reading.read_csr(csr("SN-1", key=key), NAMES)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (csr("SN-2"), "SN-2, not for this station"),
        (csr("sn-1"), "not for this station"),
        (csr(None), "nobody"),
        (csr("SN-1", key=rsa.generate_private_key(65537, 1024)), "2048 to 8192 bits, not 1024"),
        (csr("SN-1", key=ec.generate_private_key(ec.SECP192R1())), "curve"),
        (csr("SN-1", key=ed25519.Ed25519PrivateKey.generate(), algorithm=None), "neither RSA nor"),
        (csr("SN-1", algorithm=hashes.SHA224), "SHA-256 or better"),
        ("", "cannot be read"),
        ("-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n", "cannot be read"),
        (TestAuthority.make().pem, "cannot be read"),
        ("x" * 5501, "longer than 5500"),
    ],
)
def test_requests_that_must_not_be_signed(text: str, why: str) -> None:
    with pytest.raises(NotUsable, match=why):
        reading.read_csr(text, NAMES)


def test_the_organisation_counts_where_one_is_configured() -> None:
    assert reading.read_csr(csr("SN-1", organisation="Ours"), NAMES, "Ours").organisation == "Ours"
    for organisation in (None, "Theirs"):
        with pytest.raises(NotUsable, match="CpoName"):
            reading.read_csr(csr("SN-1", organisation=organisation), NAMES, "Ours")


def test_a_request_that_was_changed_after_it_was_signed() -> None:
    lines = csr("SN-1").splitlines()
    data = bytearray(base64.b64decode("".join(lines[1:-1])))
    at = data.index(b"SN-1")
    data[at : at + 4] = b"id-1"
    changed = "\n".join([lines[0], base64.b64encode(data).decode(), lines[-1]])
    with pytest.raises(NotUsable, match="own key"):
        reading.read_csr(changed, NAMES)


def test_a_request_of_an_unknown_version() -> None:
    lines = csr("SN-1").splitlines()
    data = bytearray(base64.b64decode("".join(lines[1:-1])))
    at = data.index(b"\x02\x01\x00")  # INTEGER 0, the only version that there is (RFC 2986)
    data[at + 2] = 7
    with pytest.raises(NotUsable, match="read"):
        reading.read_csr("\n".join([lines[0], base64.b64encode(data).decode(), lines[-1]]), NAMES)


@given(st.binary(max_size=300), st.integers(0, 60))
def test_damaged_requests_never_crash(noise: bytes, at: int) -> None:
    lines = csr("SN-1").splitlines()
    data = bytearray(base64.b64decode("".join(lines[1:-1])))
    data[at : at + len(noise)] = noise
    damaged = "\n".join([lines[0], base64.b64encode(data).decode(), lines[-1]])
    with suppress(NotUsable):
        assert reading.read_csr(damaged, NAMES).common_name in NAMES


def test_roots_that_may_be_installed() -> None:
    root = TestAuthority.make()
    facts = reading.read_root(root.pem, NOW)
    assert facts.subject == "CN=Test Root"
    assert facts.serial_number == f"{root.certificate.serial_number:x}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "exactly one"),
        ("no certificate", "exactly one"),
        (TestAuthority.make().pem * 2, "exactly one"),
        (TestAuthority.make(ca=False).pem, "not an authority's"),
        (TestAuthority.make(days=0.01).pem, "not valid now"),
        (TestAuthority.make(begins=NOW + timedelta(days=1)).pem, "not valid now"),
        (csr("SN-1"), "exactly one"),
        ("x" * 5501, "longer"),
    ],
)
def test_roots_that_must_not_be_installed(text: str, why: str) -> None:
    with pytest.raises(NotUsable, match=why):
        reading.read_root(text, NOW)


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
def test_a_root_is_named_as_chargers_name_it(algorithm: str) -> None:
    root = TestAuthority.make().certificate
    told = simulator.hash_data(root, algorithm)
    assert reading.hash_data(root, algorithm).message() == told
    loud = {**told, **{name: told[name].upper() for name in ("issuerNameHash", "issuerKeyHash")}}
    loud["serialNumber"] = "00" + told["serialNumber"].upper()
    assert HashData.from_message(loud).message() == loud  # it gets its own spelling back
    assert HashData.from_message(loud).names_the_same(reading.hash_data(root, algorithm))
    other = reading.hash_data(TestAuthority.make().certificate, algorithm)
    assert not HashData.from_message(loud).names_the_same(other)


@pytest.mark.parametrize(
    ("text", "serial"), [("0A", "a"), ("00:ab:CD", "abcd"), ("0x1F", "1f"), (" 7 ", "7"), ("0", "0"), ("", "0")]
)
def test_serial_numbers_in_any_spelling(text: str, serial: str) -> None:
    assert reading.serial_text(text) == serial


def test_certificates_of_a_chain_in_their_order() -> None:
    root = TestAuthority.make()
    below = TestAuthority.make("Below", below=root)
    assert reading.certificates(pem(below.certificate) + root.pem) == [below.certificate, root.certificate]
    assert reading.certificates("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----") == []
