"""Which addresses are public, and where a URL leads."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.outside.addresses import is_public, origin_of, origins_of

PRIVATE = [
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10", "0.0.0.0/8",
    "192.0.2.0/24", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
]  # fmt: skip
NETWORKS = [ipaddress.IPv4Network(text) for text in PRIVATE]


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::6810:84e5", "64:ff9b::808:808",
                                     "::ffff:8.8.8.8"])  # fmt: skip
def test_the_public_internet(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1",
     "::1", "::", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fec0::1", "ff02::1", "::ffff:127.0.0.1",
     "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::169.254.169.254", "2002:7f00:1::1", "2002:a9fe:a9fe::",
     "2001:db8::1", "", "localhost", "1.2.3", "0x7f.1"],
)  # fmt: skip
def test_everything_else(address: str) -> None:
    assert not is_public(address)


@given(st.sampled_from(NETWORKS).flatmap(lambda net: st.ip_addresses(network=net)))
def test_no_wrapping_makes_a_private_address_public(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    wrapped = [
        ipaddress.IPv6Address(0xFFFF << 32 | number),  # IPv4-mapped
        ipaddress.IPv6Address(number),  # IPv4-compatible
        ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) | number),  # NAT64
        ipaddress.IPv6Address(0x2002 << 112 | number << 80),  # 6to4
        ipaddress.IPv6Address(0x20010000 << 96 | number << 64),  # Teredo's server
    ]
    assert not any(is_public(str(each)) for each in (address, *wrapped))


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Push.Example/x?y#z", ("https", "push.example", 443)),
        ("http://127.0.0.1:9100", ("http", "127.0.0.1", 9100)),
        ("https://[::1]:8443/", ("https", "::1", 8443)),
        ("", None),
        ("push.example", None),
        ("//push.example/x", None),
        ("ftp://push.example/x", None),
        ("file:///etc/passwd", None),
        ("https://user@push.example/", None),
        ("https://push.example:x/", None),
        ("https://push.example:99999/", None),
        ("https://[::1/", None),
    ],
)
def test_where_a_url_leads(url: str, origin: object) -> None:
    assert origin_of(url) == origin
    assert origins_of([url, ""]) == (frozenset() if origin is None else {origin})
