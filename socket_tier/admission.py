"""Who may open a socket: pure decisions about one upgrade request (ocpp.md §1). No I/O.

Every refusal is a plain English sentence with its HTTP status, sent before the upgrade, because that sentence is often
all that an installer in front of a charger gets to see.
"""

import base64
import ipaddress
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

_MAX_ID_CHARS = 100
_PREFIXES = ("ws", "ocpp")
_COMMON_NAME = ("CN", "2.5.4.3", "OID.2.5.4.3")
_ATTRIBUTE = re.compile(r'(?:\\.|"(?:\\.|[^"\\])*"|[^,;+\\"])+', re.DOTALL)
_ATTRIBUTE_WITH_SLASH = re.compile(r"(?:\\.|[^/\\])+", re.DOTALL)
_ESCAPES = re.compile(r"((?:\\[0-9A-Fa-f]{2})+)|\\.", re.DOTALL)

_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An upgrade that is refused: HTTP status, the sentence, seconds after which to come back."""

    status: HTTPStatus
    sentence: str
    retry_after_s: int | None = None


def station_reference(path: str) -> str | None:
    """The station id of ``/ws/{id}`` or ``/ocpp/{id}``; None for any other path.

    Percent-encoding and the whole URL in place of the path are accepted, further segments are not. Slashes count once
    and at the end not at all: chargers and test tools put one to three of them and the id after the address that they
    were given, and that often ends with one.
    """
    if not path.startswith("/"):
        path = urlsplit(path).path
    segments = [segment for segment in path.partition("?")[0].split("/") if segment]
    if len(segments) != 2 or segments[0] not in _PREFIXES:
        return None
    reference = unquote(segments[1], errors="strict") if _decodable(segments[1]) else ""
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
    bytes it stands for (security whitepaper edition 3, section 2.3), so both are tried. Padding may be missing.
    """
    if header is None:
        return None
    scheme, _, encoded = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    encoded = encoded.strip()
    try:
        decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:  # no base64, or no ASCII
        return None
    user, colon, password = decoded.partition(b":")
    if not colon:
        return None
    spellings = [password.hex()]
    with suppress(UnicodeDecodeError):
        spellings.insert(0, password.decode())
    return user.decode(errors="replace"), tuple(spellings)


def certificate_name(subject: str | None) -> str | None:
    """Common name of a client certificate's subject as the load balancer passes it: RFC 2253, or with slashes.

    None without one, and with more than one. Use case: a charger may choose its organisation when it asks us to sign;
    an organisation of ``x,CN=another station`` must not make it that station.
    """
    names = [value for name, value in _attributes(subject or "") if name in _COMMON_NAME]
    return (names[0] or None) if len(names) == 1 else None


def _attributes(subject: str) -> list[tuple[str, str]]:
    """Names, in upper case, and values of a subject's attributes; what is escaped or quoted separates nothing."""
    found = []
    for part in (_ATTRIBUTE_WITH_SLASH if subject.startswith("/") else _ATTRIBUTE).findall(subject):
        name, equals, value = part.partition("=")
        if equals:
            found.append((name.strip().upper(), _ESCAPES.sub(_unescaped, value.strip().strip('"')).strip()))
    return found


def _unescaped(escaped: re.Match[str]) -> str:
    """``\\,`` is a comma; ``\\C3\\A9`` are the bytes of a character (RFC 2253 section 2.4)."""
    text = escaped.group()
    if escaped.group(1):
        return bytes.fromhex(text.replace("\\", "")).decode(errors="replace")
    return text[1:]


def _without_port(hop: str) -> str:
    """Some proxies append the client's port, and put IPv6 addresses into brackets then."""
    found = _WITH_PORT.fullmatch(hop)
    return found.group(1) or found.group(2) if found else hop


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
        for item in reversed(forwarded_for.split(",")):
            hop = _without_port(item.strip())
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

    The first ``free`` failures cost nothing; then the pause doubles from one second up to ``longest_s``. A key without
    a failure for ``forget_after_s`` begins anew; what fails during a pause was under way before it and adds nothing.
    Memory is bounded: the oldest key is forgotten first.
    """

    free: int
    longest_s: float
    max_keys: int = 10_000
    forget_after_s: float = 900.0
    _failures: dict[str, tuple[int, float]] = field(default_factory=dict)

    def wait(self, key: str, now: float) -> float:
        """Seconds that ``key`` still has to wait; 0 when it may try."""
        _, until = self._failures.get(key, (0, 0.0))
        return max(0.0, until - now)

    def fail(self, key: str, now: float) -> int:
        """Count a failure of ``key``; how many it has now."""
        count, until = self._failures.get(key, (0, now))
        if until > now:
            return count
        self._failures.pop(key, None)
        count = 1 if now - until > self.forget_after_s else count + 1
        excess = min(count - self.free, 20)
        pause = min(2.0 ** (excess - 1), self.longest_s) if excess > 0 else 0.0
        self._failures[key] = (count, now + pause)
        if len(self._failures) > self.max_keys:
            del self._failures[next(iter(self._failures))]
        return count

    def succeed(self, key: str) -> None:
        self._failures.pop(key, None)


@dataclass(frozen=True, slots=True)
class Key:
    """A password that opens the station. ``candidate``: id of a new key that the charger has not used yet."""

    hash: str
    candidate: str | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """A client certificate that the trusted proxy has verified; ``fault`` is our own objection, as a sentence."""

    common_name: str
    serial: str | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """What an upgrade has proven, as a security profile: 0 nothing, 1 password, 2 the same over TLS, 3 certificate."""

    level: int
    key: Key | None = None
    certificate_serial: str | None = None


@dataclass(frozen=True, slots=True)
class Demands:
    """What a station must prove.

    Attributes:
        references: names of the station: its id, its serial number, the spelling used in the path.
        keys: the present key and new ones; the present one first.
        has_present_key: without one, a station of profile 0 may be let in without a password.
        profile: its security profile.
        allow_unauthenticated: stations of profile 0 without a key may come in without one.
    """

    references: frozenset[str]
    keys: tuple[Key, ...]
    has_present_key: bool
    profile: int
    allow_unauthenticated: bool


PasswordCheck = Callable[[str, str], bool]
"""(stored hash, one spelling of the password) -> equal, in constant time."""
_UNAUTHORIZED = HTTPStatus.UNAUTHORIZED


def is_secure(forwarded_proto: str | None) -> bool:
    """Whether the charger's own connection was TLS, by the X-Forwarded-Proto of a trusted proxy.

    Every hop that the header names must be: an entry that the caller itself put in cannot help it.
    """
    hops = [item.strip().lower() for item in (forwarded_proto or "").split(",")]
    return all(hop in ("https", "wss") for hop in hops)


def authenticate(
    demands: Demands,
    check: PasswordCheck,
    *,
    credentials: tuple[str, tuple[str, ...]] | None,
    certificate: Certificate | None,
    secure: bool,
) -> Proof | Refusal:
    """Decide whether the caller is the station it says it is, and in the way that its security profile demands.

    ``credentials`` from :func:`basic_credentials`; ``secure`` from :func:`is_secure`.
    """
    if demands.profile >= 2 and not secure:
        return Refusal(HTTPStatus.FORBIDDEN, "This station must connect over TLS (wss://).")
    if certificate is not None:
        if certificate.common_name not in demands.references:
            return Refusal(_UNAUTHORIZED, "The client certificate belongs to another station.")
        if certificate.fault is not None:
            return Refusal(_UNAUTHORIZED, certificate.fault)
        return Proof(3 if secure else 1, certificate_serial=certificate.serial)
    if demands.profile >= 3:
        return Refusal(_UNAUTHORIZED, "This station must show its client certificate.")
    return _by_password(demands, check, credentials, 2 if secure else 1)


def _by_password(
    demands: Demands, check: PasswordCheck, credentials: tuple[str, tuple[str, ...]] | None, level: int
) -> Proof | Refusal:
    user, spellings = credentials or ("", ())
    # Every key and spelling is compared, so that the time taken does not tell which one was close.
    matches = [key for key in demands.keys for spelling in spellings if check(key.hash, spelling)]
    if matches and user in demands.references:
        return Proof(level, matches[0])
    if not demands.has_present_key and demands.profile == 0 and demands.allow_unauthenticated:
        return Proof(0)
    if not demands.keys:
        return Refusal(_UNAUTHORIZED, "This station has no AuthorizationKey set; stations without one are not let in.")
    if credentials is None:
        return Refusal(_UNAUTHORIZED, "HTTP Basic authentication is required: user = station id.")
    return Refusal(_UNAUTHORIZED, "Wrong user or password.")
