"""Who is calling, seen through our own proxies. Pure."""

import ipaddress
from collections.abc import Mapping

UNKNOWN = "unknown"


def client_address_of(headers: Mapping[str, str], peer: str | None, trusted_hops: int) -> str:
    """Address of the caller: the entry of X-Forwarded-For that the outermost of our own proxies wrote.

    ``trusted_hops`` proxies of ours append to the header, each the address it was called from, so everything left of
    the last ``trusted_hops`` entries is the caller's own invention. A shorter header did not come through them all:
    then only the peer's address is sure. ``headers`` have lower-case names.
    """
    hops = [hop.strip() for hop in headers.get("x-forwarded-for", "").split(",") if hop.strip()]
    candidate = hops[-trusted_hops] if 0 < trusted_hops <= len(hops) else peer
    try:
        return str(ipaddress.ip_address(candidate or ""))
    except ValueError:
        return peer or UNKNOWN
