"""One instance of the socket tier: every part made and wired, started, drained.

Tests start several in one process; ``python -m socket_tier`` starts one.
"""

import asyncio
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

from websockets.frames import CloseCode

from evpower.certificates import service as certificates
from evpower.charging import service as charging
from evpower.clock import Clock, DatabaseClock, SystemClock
from evpower.commands import service as commands
from evpower.config import Settings
from evpower.db import Conn, PooledDatabase
from evpower.errors import StationNotFound
from evpower.ids import new_id
from evpower.logging import get_logger
from evpower.message_log import service as message_log
from evpower.realtime.service import Publisher
from evpower.redis_client import open_redis
from evpower.stations import key_rotation
from evpower.stations import service as stations
from evpower.stations.models import Admission
from socket_tier import metrics
from socket_tier.background import Background, Work
from socket_tier.bounds import answers, answers_anew, within
from socket_tier.charger import Charger
from socket_tier.charger_socket import ChargerSocket
from socket_tier.command_consumer import CommandConsumer
from socket_tier.connection import TRY_AGAIN_LATER, ChargerConnection
from socket_tier.contested import DISPLACED, WITHIN_S, ContestedStations
from socket_tier.dispatcher import Dispatcher
from socket_tier.gate import Gate, Pass
from socket_tier.liveness import Liveness
from socket_tier.location_stream import STREAM_PATHS, LocationStream
from socket_tier.message_log import STOP_PATIENCE_S, MessageLog, StationLog
from socket_tier.meter_flush import MeterFlush
from socket_tier.ocpp16.routes import DIALECT as OCPP16
from socket_tier.registry import INBOX_BLOCK_S, Registry
from socket_tier.server import SocketServer
from socket_tier.services import Services
from socket_tier.signs_of_life import SignsOfLife
from socket_tier.tasks import cancel_all
from socket_tier.tier_socket import TierSocket

log = get_logger(__name__)

DIALECTS = {dialect.subprotocol: dialect for dialect in (OCPP16,)}
SERVICE_RESTART = 1012
READY_AFTER_S = 3.0  # a charger that says nothing after it connected takes commands from then on
STAGGER_S = 8.0
FIRST_SIGN_S = 2.0
DRAIN_S = 10.0
STOP_S = 25.0
"""Every part of a stop together; half a minute after SIGTERM the process is killed."""
LAST_S = 5.0
"""Of these, kept for what comes after the sockets."""
COMMANDS_S = 5.0
AWAY_DRAIN_S = 2.0
"""While PostgreSQL is away nothing that waits for a commit will get one; the chargers keep it."""
OVERSIZED_QUIET = timedelta(hours=6)  # in which staff hear once of a charger whose messages are too large
BLOCKING_TIMEOUT_S = max(INBOX_BLOCK_S, 5.0) + 2  # above the longest blocking read of inbox and subscription


class SocketTier:
    """One instance. :meth:`start`, then :meth:`stop` within 30 seconds."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = DatabaseClock(clock or SystemClock())
        self.instance_id = settings.instance_id or new_id()
        self.background = Background()
        self.database = PooledDatabase(settings)
        self.database.on_silence = metrics.silent_connections.inc
        self.registry = Registry(
            open_redis(settings),
            open_redis(settings, socket_timeout_s=BLOCKING_TIMEOUT_S),
            self.instance_id,
            background=self.background,
        )
        self.contested = ContestedStations()
        self.registry.on_displaced = self._displaced
        self.dispatcher = Dispatcher(
            self.database,
            self.registry,
            self.clock,
            changed=self._changed,
            call_timeout_s=settings.ocpp_call_timeout_s,
            background=self.background,
        )
        self.publisher = Publisher(settings)
        self.stream = LocationStream(
            settings,
            self.database,
            open_redis(settings, socket_timeout_s=BLOCKING_TIMEOUT_S),
            self.clock,
            background=self.background,
        )
        self.consumer = CommandConsumer(settings, self.registry, self.dispatcher, background=self.background)
        self.flush = MeterFlush(
            self.database, charging.flush_readings, charging.quarantine_readings, background=self.background
        )
        self.messages = (
            MessageLog(self.database, message_log.store, background=self.background) if settings.message_log else None
        )
        self.services = Services(
            database=self.database,
            clock=self.clock,
            settings=settings,
            instance_id=self.instance_id,
            flush=self.flush,
            dispatch=self.dispatcher.submit,
            drain=lambda station_id: self.dispatcher.drain_soon([station_id]),
            changed=self._changed,
        )
        self.gate = Gate(
            settings, list(DIALECTS), self._load, self._check_certificate, self.database.waiting, self._peace
        )
        self.server = SocketServer(
            settings,
            self.gate,
            serve_charger=self._serve_charger,
            serve_stream=self.stream.handle_stream,
            stream_paths=STREAM_PATHS,
            health=self._health,
            ready=self._ready,
            messages=self.messages,
        )
        self._sockets: set[ChargerSocket] = set()
        self.liveness = Liveness(
            lambda: self._sockets,
            self._touch,
            ping_interval_s=settings.ocpp_ping_interval_s,
            offline_after_s=settings.station_offline_after_s,
        )
        self.signs = SignsOfLife(
            self.database, self.instance_id, self.clock if clock is None else None, self.liveness.stores
        )
        self._reporter = metrics.EmfReporter(action for dialect in DIALECTS.values() for action in dialect.routes)
        self._drain_s = DRAIN_S
        self._reports: set[asyncio.Task[None]] = set()
        self.port = 0

    # --- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> int:
        """Open everything and listen; returns the port."""
        await self.database.open()
        await self.signs.write(FIRST_SIGN_S)  # before the first charger, so that the clock is the database's
        self.registry.start()
        self.dispatcher.start()
        self.stream.start()
        if self.messages is not None:
            self.messages.start()
        if self.settings.sqs_commands_queue_url:
            self.consumer.start()
        self.background.start("liveness", self.liveness.run)
        self.background.start("signs", self.signs.run)
        self.background.start("report", self._report_forever)
        self.background.start("watch", self.background.watch)
        self.port = await self.server.start()
        log.info("socket tier listens", extra={"port": self.port, "instance": self.instance_id})
        return self.port

    async def stop(self) -> None:
        """Stop accepting, finish what runs, close every socket with 1012 one after the other, within ``STOP_S``.

        Time is given in parts, so that no one of them, for want of PostgreSQL or of Redis, takes the others' share.
        """
        log.info("socket tier stops", extra={"sockets": len(self._sockets)})
        until = time.monotonic() + STOP_S
        self.server.stop_accepting()
        if not await answers(self.database.ping()):
            self._drain_s = AWAY_DRAIN_S
        consumer = asyncio.ensure_future(self._stop_consumer())
        await within(until, self.stream.stop())
        await within(until, self.dispatcher.stop(min(self._drain_s, COMMANDS_S)))
        sockets = list(self._sockets)
        pause = min(0.05, STAGGER_S / max(len(sockets), 1))
        dismissed = asyncio.gather(*(self._dismiss(socket, index * pause) for index, socket in enumerate(sockets)))
        await within(until - LAST_S, dismissed)
        await within(min(until - LAST_S, time.monotonic() + self._drain_s), self._drained())
        await within(until, self.background.stop("liveness", "signs", "report", "watch"))
        await cancel_all(self._reports)
        if self.messages is not None:
            await within(until - 2, self.messages.stop(min(self._drain_s, STOP_PATIENCE_S)))
        await within(min(until - 2, time.monotonic() + self._drain_s), self.liveness.flush())
        await within(until - 1, self.registry.stop())
        await within(until - 1, self.publisher.close())
        await within(until, consumer)
        # Whoever still waits for the database hears at once that it is over.
        await self.database.close()
        self._reporter.report()
        log.info("socket tier stopped")

    async def _drained(self) -> None:
        await self.server.wait_closed()
        await self.flush.drained()

    async def _stop_consumer(self) -> None:
        if self.settings.sqs_commands_queue_url:
            await self.consumer.stop()

    async def _dismiss(self, socket: ChargerSocket, delay_s: float) -> None:
        """Let one charger's running messages end, then send it to another instance."""
        await asyncio.sleep(delay_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._drain_s):
                await socket.connection.drained()
        with suppress(Exception):
            await socket.close(SERVICE_RESTART, "the server restarts, connect again")

    # --- one charger --------------------------------------------------------------------------------------------

    async def _load(self, reference: str) -> Admission | None:
        return await self.database.run(lambda conn: stations.load_for_admission(conn, reference))

    async def _check_certificate(self, station_id: str, serial: str | None) -> str | None:
        now = self.clock.now()
        return await self.database.run(lambda conn: certificates.objection(conn, station_id, serial, now))

    async def _serve_charger(self, socket: TierSocket, admitted: Pass) -> None:
        station_id = admitted.admission.station_id
        try:
            epoch = await self.database.run(lambda conn: self._claim(conn, admitted))
        except Exception as error:
            log.warning("station not claimed", extra={"station_id": station_id, "error": str(error)})
            await socket.close(TRY_AGAIN_LATER, "cannot register the station at the moment, try again later")
            return
        dialect = DIALECTS[admitted.subprotocol]
        charger = Charger(admitted.admission, epoch, self.services)
        log_of_station = StationLog(self.messages, station_id) if self.messages is not None else None
        connection = ChargerConnection(
            socket, dialect, charger, call_timeout_s=self.settings.ocpp_call_timeout_s, log=log_of_station
        )
        charger.caller = connection
        if log_of_station is not None:
            log_of_station.opened(
                address=admitted.address, protocol=admitted.subprotocol, epoch=epoch, instance=self.instance_id
            )
        await self._run_connection(socket, connection)

    async def _claim(self, conn: Conn, admitted: Pass) -> int:
        """The epoch of a new socket; what its credentials prove is true from the same commit on."""
        admission, proof, now = admitted.admission, admitted.proof, self.clock.now()
        epoch = await stations.claim_connection(
            conn,
            admission.station_id,
            self.instance_id,
            now,
            protocol=admitted.subprotocol,
            security=proof.level,
            credentials_version=admission.credentials_version,
        )
        new_key = (proof.key.candidate, proof.key.hash) if proof.key and proof.key.candidate else None
        if (new_key or admission.requested_security_profile) and not await key_rotation.connected(
            conn, admission.station_id, proven=proof.level, candidate=new_key, now=now
        ):
            raise StationNotFound("its new key was withdrawn meanwhile")
        if proof.certificate_serial is not None:
            await certificates.note_use(conn, admission.station_id, proof.certificate_serial, now)
        return epoch

    async def _run_connection(self, socket: TierSocket, connection: ChargerConnection) -> None:
        watched = ChargerSocket(socket, connection)
        self._sockets.add(watched)
        metrics.connected.inc()
        log.info("station connected", extra={"station_id": connection.station_id, "epoch": connection.epoch})
        timer = asyncio.get_running_loop().call_later(READY_AFTER_S, connection.become_ready)
        try:
            await self.registry.register(connection.station_id, connection)
            await self._changed([connection.station_id])
            socket.attach(connection.receive, connection.alive)
            await socket.wait_closed()
        finally:
            await connection.finish()
            timer.cancel()
            self._sockets.discard(watched)
            metrics.connected.dec()
            log.info(
                "station disconnected",
                extra={"station_id": connection.station_id, "epoch": connection.epoch, "code": socket.close_code},
            )
            if connection.log is not None:
                connection.log.closed(socket.close_code, socket.close_reason, epoch=connection.epoch)
            sent = socket.protocol.close_sent
            if sent is not None and sent.code == CloseCode.MESSAGE_TOO_BIG:
                connection.charger.spawn(self._note_oversized(connection.station_id, socket.oversized))
            await connection.charger.finish_background(self._drain_s)
            await self.registry.unregister(connection)
            await self._release(connection)

    async def _release(self, connection: ChargerConnection) -> None:
        seen = self.clock.now() - timedelta(seconds=max(0.0, time.monotonic() - connection.last_seen))
        try:
            await self.database.run(
                lambda conn: stations.release_connection(conn, connection.station_id, connection.epoch, last_seen=seen)
            )
        except Exception as error:  # the sweep notices the silence
            log.warning("connection not released", extra={"station_id": connection.station_id, "error": str(error)})

    async def _note_oversized(self, station_id: str, size: int) -> None:
        """Use case: the charger sends its message again and again, the socket closes each time, nothing behind it comes
        through, and nobody hears of it.
        """
        limit, now = self.settings.ocpp_max_frame_bytes, self.clock.now()
        log.warning("message too large", extra={"station_id": station_id, "bytes": size or None})
        payload = {"limit_bytes": limit, **({"bytes": size} if size else {})}
        await self.database.run(
            lambda conn: stations.add_event_once(
                conn, station_id, "message_too_large", now, every=OVERSIZED_QUIET, payload=payload
            )
        )

    def _displaced(self, station_id: str) -> None:
        """Use case: two chargers are set up with one id. Each new socket ends the other's, and neither can work."""
        if self.contested.displaced(station_id, time.monotonic()):
            log.warning("sockets of a station displace each other", extra={"station_id": station_id})
            task = asyncio.get_running_loop().create_task(self._report_contested(station_id))
            self._reports.add(task)
            task.add_done_callback(self._reports.discard)

    async def _report_contested(self, station_id: str) -> None:
        payload = {"replaced": DISPLACED, "within_s": WITHIN_S}
        now = self.clock.now()
        try:
            await self.database.run(
                lambda conn: stations.add_event(
                    conn, station_id, "connection_contested", now, payload=payload, severity="warning"
                )
            )
        except Exception as error:
            log.warning("event not stored", extra={"station_id": station_id, "error": str(error)})

    async def _peace(self, station_id: str) -> float:
        """Seconds for which the station's socket is left in peace: only one that answers is worth it."""
        seconds = self.contested.peace(station_id, time.monotonic())
        return seconds if seconds > 0 and await self.registry.holder_answers(station_id) else 0.0

    # --- the app's stream ---------------------------------------------------------------------------------------

    async def _changed(self, station_ids: list[str]) -> None:
        await self.publisher.stations_changed(station_ids)

    # --- upkeep -------------------------------------------------------------------------------------------------

    async def _touch(self, silent_for: dict[str, float]) -> None:
        now = self.clock.now()
        seen = {station: now - timedelta(seconds=max(age, 0.0)) for station, age in silent_for.items()}
        back = await self.database.run(lambda conn: stations.touch(conn, seen, now))
        # Use case: an operator revokes a charger's credentials. Its socket was fenced out, and must not stay open.
        held = self.registry.local_epochs()
        self.registry.drop_stale(await self.database.run(lambda conn: commands.newer_epochs(conn, held)))
        # The sockets of the moment of writing: one that has closed meanwhile must not be noted as open.
        await self.database.run(
            lambda conn: stations.resume_connections(conn, self.registry.local_epochs(), self.instance_id, now)
        )
        if back:
            await self._changed([reference.station_id for reference in back])

    async def _health(self) -> tuple[bool, dict[str, Any]]:
        """Alive, and what it knows without asking anybody.

        Unhealthy is who cannot do its own work although the database would let it: another container could. While
        PostgreSQL is away everybody is as badly off, and a restart would only drop the sockets.
        """
        standing = self.background.in_trouble()
        fine = not standing or not await answers_anew(self.database)
        return fine, {
            "status": "healthy" if fine else "unhealthy",
            "standing": standing,
            "instance": self.instance_id,
            "connected_stations": len(self._sockets),
            "redis": "unavailable" if self.registry.degraded else "ok",
            "draining": self.gate.closed,
        }

    async def _ready(self) -> tuple[bool, dict[str, Any]]:
        """Ready when PostgreSQL answers. Redis away is bearable: local stations are served without it."""
        database = await answers(self.database.ping())
        fine = database and not self.gate.closed
        return fine, {
            "status": "ready" if fine else "not_ready",
            "database": "ok" if database else "unavailable",
            "redis": "unavailable" if self.registry.degraded else "ok",
            "draining": self.gate.closed,
        }

    async def _report_forever(self, work: Work) -> None:
        """Once in each period of the wall clock, so that CloudWatch's sum over a minute is the sum over instances."""
        interval = self.settings.metrics_interval_s
        while True:
            await asyncio.sleep(interval - time.time() % interval)
            async with work.step():
                database = await answers(self.database.ping())
            self._reporter.report(is_database_away=not database, is_redis_away=self.registry.degraded)
