"""Which hosts may be called. Pure.

A host is fixed when the deployer named it (a setting); anything else comes from a person, a partner or a charger, and
must be https at an address of the public internet. Otherwise whoever may name a URL makes our functions read what only
they can reach: the metadata service, the database's network, a neighbour's console.
"""

import ipaddress
from collections.abc import Iterable
from typing import TypeAlias
from urllib.parse import urlsplit

Origin: TypeAlias = tuple[str, str, int]
"""Scheme, host (lower case, without brackets) and port."""

_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


def origin_of(url: str) -> Origin | None:
    """Where a URL leads; None for what is no http or https URL, and for one with a user name in it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = (parts.hostname or "").lower()
    if parts.scheme not in _PORTS or not host or not host.isascii() or "@" in parts.netloc:
        return None
    return parts.scheme, host, port or _PORTS[parts.scheme]


def origins_of(urls: Iterable[str]) -> frozenset[Origin]:
    """Where these URLs lead; those that lead nowhere are left out."""
    return frozenset(origin for url in urls if (origin := origin_of(url)) is not None)


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, also when an IPv4 address is wrapped in an IPv6 one."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip.is_site_local or not all(is_public(str(inner)) for inner in _wrapped(ip)):
            return False
        if ip in _NAT64:  # reserved by name, and just as public as what it wraps
            return True
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _wrapped(ip: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """IPv4 addresses that a network on the way may take for the destination (RFC 3056, 4380, 6052, 4291)."""
    found = [ip.sixtofour, *(ip.teredo or ())]
    if ip in _NAT64 or ip in _COMPATIBLE:
        found.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    return [inner for inner in found if inner is not None]
