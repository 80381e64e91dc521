"""The gate in front of the upgrade: limits, authentication, the station's record. Everything it refuses costs little.

Order: is this server open, is there room for this address, which station, does it exist and may it connect, is it who
it says it is, do we share a version. The checks themselves are pure (:mod:`socket_tier.admission`).
"""

import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from evpower.config import Settings
from evpower.logging import get_logger
from evpower.stations.credentials import verify_authorization_key
from evpower.stations.models import AdminStatus, Admission
from socket_tier import admission as rules
from socket_tier.admission import Certificate, Demands, FailureBackOff, Key, Proof, Refusal, TokenBucket, TrustedProxies
from socket_tier.unavailable import is_unavailable

log = get_logger(__name__)

ACCEPTS_PER_SECOND = 500.0
ACCEPT_BURST = 2000.0
# Use case: everybody comes back at once. Each new charger brings six short transactions; who is let in while these
# queue makes those wait who are in, until their messages fail.
MAX_WAITING = 64
MAX_LET_IN = 20_000
_FAILURES = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN})
# Ends of the names of the headers in which load balancers pass a client certificate that they have verified: its
# subject (RFC 2253) and its serial number (hexadecimal). The begin is CLIENT_CERTIFICATE_HEADER.
SUBJECT_SUFFIX = "-Subject"
SERIAL_SUFFIX = "-Serial-Number"


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """What the gate needs of an HTTP request; header names in any case."""

    path: str
    peer: str
    offered: Sequence[str]
    authorization: str | None = None
    forwarded_for: str | None = None
    forwarded_proto: str | None = None
    certificate_subject: str | None = None
    certificate_serial: str | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """An admitted upgrade."""

    admission: Admission
    subprotocol: str
    named: bool  # the chosen subprotocol is named in the answer
    address: str
    proof: Proof


Loader = Callable[[str], Awaitable[Admission | None]]
Peace = Callable[[str], Awaitable[float]]
"""(station id) -> seconds for which its present socket is left in peace; 0: a newcomer takes its place."""
CertificateCheck = Callable[[str, str | None], Awaitable[str | None]]
"""(station id, serial number) -> our objection to that certificate, None when there is none."""


async def _no_objection(_station_id: str, _serial: str | None) -> str | None:
    return None


async def _no_peace(_station_id: str) -> float:
    return 0.0


class Gate:
    """Decides about upgrades and counts the sockets of each address."""

    def __init__(
        self,
        settings: Settings,
        supported: Sequence[str],
        load: Loader,
        check_certificate: CertificateCheck = _no_objection,
        waiting: Callable[[], int] = lambda: 0,
        peace: Peace = _no_peace,
    ) -> None:
        self._settings = settings
        self._supported = supported
        self._load = load
        self._check_certificate = check_certificate
        self._waiting = waiting
        self._peace = peace
        self._proxies = TrustedProxies.parse(settings.trusted_proxies)
        self._bucket = TokenBucket(ACCEPTS_PER_SECOND, ACCEPT_BURST)
        # A charger with a wrong key slows down only itself, not its neighbours behind the same router: however often it
        # comes, it counts once for the address. An address that tries many stations slows down as a whole, but for
        # stations that have been let in from there.
        self._station_failures = FailureBackOff(free=5, longest_s=30.0)
        self._address_failures = FailureBackOff(free=30, longest_s=60.0)
        self._let_in: dict[str, None] = {}
        self._per_address: Counter[str] = Counter()
        self.open_sockets = 0
        self.closed = False

    def enter(self, address: str) -> None:
        """Count a socket; :meth:`leave` must follow."""
        self._per_address[address] += 1
        self.open_sockets += 1

    def leave(self, address: str) -> None:
        self._per_address[address] -= 1
        self.open_sockets -= 1
        if self._per_address[address] <= 0:
            del self._per_address[address]

    def address_of(self, peer: str, forwarded_for: str | None) -> str:
        """The caller's own address behind our proxies."""
        return self._proxies.client_address(peer, forwarded_for)

    def room_for(self, address: str) -> Refusal | None:
        """Refusal while the server is closed or full, or the address has too many sockets or comes too fast."""
        if self.closed:
            return _busy("The server is restarting; connect again in a moment.", 2)
        if self.open_sockets >= self._settings.ocpp_max_connections:
            return _busy("The server is full; connect again later.", 10)
        if self._per_address[address] >= self._settings.ocpp_max_connections_per_address:
            return _busy("Too many connections from this address; connect again later.", 30)
        if self._waiting() > MAX_WAITING:
            return _busy("Too many chargers wait for the database; connect again shortly.", 2)
        if not self._bucket.take(time.monotonic()):
            return _busy("Too many chargers connect at this moment; connect again shortly.", 1)
        return None

    async def admit(self, request: UpgradeRequest) -> Pass | Refusal:
        """Decide about a charger's upgrade request. An admitted one is counted: :meth:`leave` must follow its end."""
        address = self.address_of(request.peer, request.forwarded_for)
        refusal = self.room_for(address)
        if refusal is not None:
            return refusal
        # Counted from here on, not from the end of the look-up: or a crowd would be let in while the first is judged.
        self.enter(address)
        verdict: Pass | Refusal | None = None
        try:
            verdict = await self._judge(request, address)
        finally:
            if not isinstance(verdict, Pass):
                self.leave(address)
        return verdict

    async def _judge(self, request: UpgradeRequest, address: str) -> Pass | Refusal:
        reference = rules.station_reference(request.path)
        if reference is None:
            return Refusal(HTTPStatus.NOT_FOUND, "Chargers connect at /ocpp/{station id} or /ws/{station id}.")
        now = time.monotonic()
        pair = f"{address} {reference}"
        wait = self._station_failures.wait(pair, now)
        if pair not in self._let_in:
            wait = max(wait, self._address_failures.wait(address, now))
        if wait > 0:
            return _busy("Too many refused attempts; try again later.", int(wait) + 1, jitter=0)
        verdict = await self._decide(request, reference, address)
        if isinstance(verdict, Pass):
            self._station_failures.succeed(pair)
            self._remember(pair)
        elif verdict.status in _FAILURES and self._station_failures.fail(pair, now) == 1:
            self._address_failures.fail(address, now)
        return verdict

    def _remember(self, pair: str) -> None:
        self._let_in.pop(pair, None)
        self._let_in[pair] = None
        if len(self._let_in) > MAX_LET_IN:
            del self._let_in[next(iter(self._let_in))]

    async def _decide(self, request: UpgradeRequest, reference: str, address: str) -> Pass | Refusal:
        try:
            station = await self._load(reference)
            if station is None:
                return Refusal(HTTPStatus.NOT_FOUND, "This station is not known here.")
            if station.status is AdminStatus.INACTIVE:
                return Refusal(HTTPStatus.FORBIDDEN, "This station is switched off by its operator.")
            proof = await self._prove(request, station, reference)
        except Exception as error:
            if not is_unavailable(error):
                raise
            log.warning("no upgrade: the database is away", extra={"error": str(error)})
            return _busy("The server cannot look up stations at the moment; connect again shortly.", 5)
        if isinstance(proof, Refusal):
            return proof
        chosen = rules.choose_subprotocol(
            request.offered, self._supported, allow_missing=station.allow_missing_subprotocol
        )
        if isinstance(chosen, Refusal):
            return chosen
        peace = await self._peace(station.station_id)
        if peace > 0:
            # Use case: after a reset the charger dials twice, and each of its sockets ends the other.
            return _busy("Another connection of this station is in use; connect again later.", int(peace) + 1, jitter=0)
        return Pass(station, chosen[0], chosen[1], address, proof)

    async def _prove(self, request: UpgradeRequest, station: Admission, reference: str) -> Proof | Refusal:
        demands = Demands(
            references=frozenset({station.station_id, station.serial_number, reference}),
            keys=tuple(_keys(station)),
            has_present_key=station.auth_key_hash is not None,
            profile=station.security_profile,
            allow_unauthenticated=self._settings.allow_unauthenticated_stations,
        )
        trusted = self._proxies.trusts(request.peer)
        return rules.authenticate(
            demands,
            verify_authorization_key,
            credentials=rules.basic_credentials(request.authorization),
            certificate=await self._certificate(request, station, demands) if trusted else None,
            secure=trusted and rules.is_secure(request.forwarded_proto),
        )

    async def _certificate(self, request: UpgradeRequest, station: Admission, demands: Demands) -> Certificate | None:
        name = rules.certificate_name(request.certificate_subject) if self._settings.client_certificate_header else None
        if name is None:
            return None
        serial, fault = request.certificate_serial, None
        if name in demands.references:
            fault = await self._check_certificate(station.station_id, serial)
        return Certificate(name, serial, fault)


def _keys(station: Admission) -> Iterator[Key]:
    if station.auth_key_hash is not None:
        yield Key(station.auth_key_hash)
    for candidate in station.candidate_keys:
        yield Key(candidate.hash, candidate.id)


def _busy(sentence: str, seconds: int, *, jitter: int = 5) -> Refusal:
    """503 with a spread Retry-After, so that a crowd does not come back all at once."""
    return Refusal(
        HTTPStatus.SERVICE_UNAVAILABLE,
        sentence,
        seconds + random.randint(0, jitter),  # noqa: S311 - spread, not a secret
    )
