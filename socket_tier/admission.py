"""Who may open a socket: pure decisions about one upgrade request (ocpp.md §1). No I/O.

Every refusal is a plain English sentence with its HTTP status, sent before the upgrade, because that sentence is often
all that an installer in front of a charger gets to see.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

_MAX_ID_CHARS = 100
_PREFIXES = ("ws", "ocpp")
_COMMON_NAME = re.compile(r"(?:^|[,/])\s*CN\s*=\s*((?:\\.|[^,/+])+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An upgrade that is refused: HTTP status, the sentence, seconds after which to come back."""

    status: HTTPStatus
    sentence: str
    retry_after_s: int | None = None


def station_reference(path: str) -> str | None:
    """The station id of ``/ws/{id}`` or ``/ocpp/{id}``; None for any other path.

    A trailing slash and percent-encoding are accepted, further segments are not.
    """
    segments = urlsplit(path).path.split("/")
    if len(segments) == 4 and segments[3] == "":
        segments.pop()
    if len(segments) != 3 or segments[0] != "" or segments[1] not in _PREFIXES:
        return None
    reference = unquote(segments[2], errors="strict") if _decodable(segments[2]) else ""
    if not 0 < len(reference) <= _MAX_ID_CHARS or not reference.isprintable() or reference != reference.strip():
        return None
    return reference


def _decodable(segment: str) -> bool:
    try:
        unquote(segment, errors="strict")
    except UnicodeDecodeError:
        return False
    return True


def choose_subprotocol(
    offered: Sequence[str], supported: Sequence[str], *, allow_missing: bool
) -> tuple[str, bool] | Refusal:
    """The version to speak and whether to name it in the answer, or the refusal."""
    for name in supported:
        if name in offered:
            return name, True
    if not offered and allow_missing:
        return supported[0], False
    spoken = ", ".join(supported)
    if offered:
        return Refusal(
            HTTPStatus.BAD_REQUEST,
            f"This server speaks {spoken}; the charger offered {', '.join(offered)[:200]}.",
        )
    return Refusal(
        HTTPStatus.BAD_REQUEST,
        f"The charger offered no WebSocket subprotocol (Sec-WebSocket-Protocol); this server speaks {spoken}.",
    )


def basic_credentials(header: str | None) -> tuple[str, tuple[str, ...]] | None:
    """User and the possible spellings of the password of an ``Authorization: Basic`` header; None without one.

    The AuthorizationKey of OCPP 1.6 is set as hexadecimal text, and chargers send it back as that text or as the
    bytes it stands for (security whitepaper edition 3, section 2.3), so both are tried.
    """
    if header is None:
        return None
    scheme, _, encoded = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except binascii.Error:
        return None
    if not colon:
        return None
    spellings = [password.hex()]
    with suppress(UnicodeDecodeError):
        spellings.insert(0, password.decode())
    return user.decode(errors="replace"), tuple(spellings)


def certificate_name(subject: str | None) -> str | None:
    """Common name of a client certificate's subject as the load balancer passes it (RFC 2253); None without one."""
    found = _COMMON_NAME.search(subject or "")
    return re.sub(r"\\(.)", r"\1", found.group(1)).strip() or None if found else None


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """Networks whose forwarding headers are believed."""

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "TrustedProxies":
        """Read a comma-separated list of addresses and networks. Raises ValueError for anything else."""
        return cls(tuple(ipaddress.ip_network(item.strip(), strict=False) for item in text.split(",") if item.strip()))

    def trusts(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self.networks)

    def client_address(self, peer: str, forwarded_for: str | None) -> str:
        """The charger's own address: the rightmost hop that is not one of ours."""
        if not forwarded_for or not self.trusts(peer):
            return peer
        for hop in reversed([item.strip() for item in forwarded_for.split(",")]):
            try:
                ipaddress.ip_address(hop)
            except ValueError:
                return peer
            if not self.trusts(hop):
                return hop
        return peer


@dataclass(slots=True)
class TokenBucket:
    """At most ``rate`` admissions a second over time, ``burst`` at once. ``now`` comes from the caller."""

    rate: float
    burst: float
    _tokens: float = field(init=False)
    _at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._tokens = self.burst

    def take(self, now: float) -> bool:
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@dataclass(slots=True)
class FailureBackOff:
    """Growing pause after repeated refusals of one key (an address, or a station at an address).

    The first ``free`` failures cost nothing; then the pause doubles from one second up to ``longest_s``. Memory is
    bounded: the oldest key is forgotten first.
    """

    free: int
    longest_s: float
    max_keys: int = 10_000
    _failures: dict[str, tuple[int, float]] = field(default_factory=dict)

    def wait(self, key: str, now: float) -> float:
        """Seconds that ``key`` still has to wait; 0 when it may try."""
        _, until = self._failures.get(key, (0, 0.0))
        return max(0.0, until - now)

    def fail(self, key: str, now: float) -> None:
        count = self._failures.pop(key, (0, 0.0))[0] + 1
        excess = min(count - self.free, 20)
        pause = min(2.0 ** (excess - 1), self.longest_s) if excess > 0 else 0.0
        self._failures[key] = (count, now + pause)
        if len(self._failures) > self.max_keys:
            del self._failures[next(iter(self._failures))]

    def succeed(self, key: str) -> None:
        self._failures.pop(key, None)


PasswordCheck = Callable[[str], bool]


def authenticate(
    *,
    references: frozenset[str],
    key_set: bool,
    check: PasswordCheck,
    credentials: tuple[str, tuple[str, ...]] | None,
    certificate_cn: str | None,
    allow_unauthenticated: bool,
) -> Refusal | None:
    """Decide whether the caller is the station it says it is.

    Args:
        references: names of the station: its id, its serial number, the spelling used in the path.
        key_set: the station has an AuthorizationKey.
        check: compares one spelling of the password with the stored hash, in constant time.
        credentials: from :func:`basic_credentials`.
        certificate_cn: common name of a client certificate that the trusted proxy verified.
        allow_unauthenticated: stations without a key may come in without one.
    """
    if certificate_cn is not None:
        if certificate_cn in references:
            return None
        return Refusal(HTTPStatus.UNAUTHORIZED, "The client certificate belongs to another station.")
    if not key_set:
        if allow_unauthenticated:
            return None
        return Refusal(
            HTTPStatus.UNAUTHORIZED, "This station has no AuthorizationKey set; stations without one are not let in."
        )
    if credentials is None:
        return Refusal(HTTPStatus.UNAUTHORIZED, "HTTP Basic authentication is required: user = station id.")
    user, spellings = credentials
    # Every spelling is compared, so that the time taken does not tell which one was close.
    matches = [check(spelling) for spelling in spellings]
    if user in references and any(matches):
        return None
    return Refusal(HTTPStatus.UNAUTHORIZED, "Wrong user or password.")
