"""The one asynchronous HTTP client of the product. See docs/operations/outgoing.md.

Every request that leaves goes through it (or through its siblings: `aws` for AWS's SDK, `plain` for what a cold start
must send with the standard library alone), so that what holds for one holds for all: hosts of the deployer are fixed,
any other URL is https and public after resolution and is called at the address that was looked at, no redirect is
followed, no proxy or password file of the environment is used, and time and size of an answer are bounded.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from evpower.logging import get_logger
from evpower.outside.addresses import origins_of

if TYPE_CHECKING:
    import ssl

    import httpx

MAX_ANSWER_BYTES = 1024 * 1024
_CONNECT_TIMEOUT_S = 3.0
# Use case: a frozen Lambda sandbox thaws with a connection that the other side closed long ago.
_IDLE_S = 5.0


def authorities(ca_file: str = "") -> "ssl.SSLContext":
    """TLS that trusts the authorities of ``ca_file`` (PEM), or the public ones: the system's and certifi's."""
    import ssl

    context = ssl.create_default_context(cafile=ca_file or None)
    if not ca_file:
        import certifi

        context.load_verify_locations(certifi.where())
    return context


def client(
    *,
    timeout_s: float,
    fixed: Iterable[str] = (),
    given: bool = False,
    tls: "ssl.SSLContext | None" = None,
    http2: bool = False,
    max_answer_bytes: int = MAX_ANSWER_BYTES,
    idle_s: float = _IDLE_S,
) -> "httpx.AsyncClient":
    """A client that a process keeps. ``httpx`` is imported here, at the first request and not at a cold start.

    Args:
        timeout_s: for a whole request, from the resolution of the name to the last byte of the answer.
        fixed: URLs of the deployer; requests to their scheme, host and port are let through as they are.
        given: whether other URLs may be called at all: those must be https and public.
        tls: of what is called; without it the public authorities are trusted.
        idle_s: how long an unused connection is kept.

    Its requests raise ``httpx.UnsupportedProtocol`` or ``httpx.ConnectError`` for a URL that must not be called, and
    ``httpx.DecodingError`` for an answer that is too large.
    """
    import httpx

    from evpower.outside.transport import GuardedTransport

    get_logger("httpx").setLevel("WARNING")  # its line about each request would carry device tokens and endpoints
    transport = GuardedTransport(
        fixed=origins_of(fixed),
        given=given,
        tls=tls or authorities(),
        http2=http2,
        timeout_s=timeout_s,
        max_answer_bytes=max_answer_bytes,
        idle_s=idle_s,
    )
    return httpx.AsyncClient(
        transport=transport,
        timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_TIMEOUT_S, timeout_s)),
        headers={"Accept-Encoding": "identity", "User-Agent": "EvPower"},
        follow_redirects=False,
        trust_env=False,
    )
