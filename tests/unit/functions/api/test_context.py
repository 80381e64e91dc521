"""The caller's address: only what our own proxies wrote is believed."""

import pytest

from evpower.client_address import client_address_of


@pytest.mark.parametrize(
    ("forwarded", "peer", "hops", "expected"),
    [
        ("203.0.113.7", "10.0.0.1", 1, "203.0.113.7"),
        ("1.1.1.1, 203.0.113.7", "10.0.0.1", 1, "203.0.113.7"),
        ("1.1.1.1, 203.0.113.7, 10.2.3.4", "10.0.0.1", 2, "203.0.113.7"),
        ("203.0.113.7", "10.0.0.1", 2, "10.0.0.1"),
        ("", "10.0.0.1", 1, "10.0.0.1"),
        ("203.0.113.7", "10.0.0.1", 0, "10.0.0.1"),
        ("not an address", "10.0.0.1", 1, "10.0.0.1"),
        ("2001:DB8::1", "10.0.0.1", 1, "2001:db8::1"),
        ("", None, 1, "unknown"),
    ],
)
def test_the_rightmost_untrusted_hop(forwarded: str, peer: str | None, hops: int, expected: str) -> None:
    assert client_address_of({"x-forwarded-for": forwarded}, peer, hops) == expected
