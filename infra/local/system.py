"""The whole product on one machine, as an object: services, functions, socket tier, gateway, schedules, chargers.

No product code knows that it runs here: every part is the real one, started as in AWS and told by the environment where
the others are.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from infra.local import demo_data, scratch, station_authority
from infra.local.configuration import LocalOptions, functions, product_environment
from infra.local.demo_data import DemoAccess
from infra.local.file_standin import FileStandin
from infra.local.gateway import Gateway
from infra.local.lambda_pool import LambdaFunction
from infra.local.processes import LOOPBACK, Child, LocalSystemError, accepts_connections, free_port, require_port
from infra.local.push_standin.server import PushStandin
from infra.local.queues import SqsEndpoint, create_queues
from infra.local.runtime_api import Result
from infra.local.scheduler import Scheduler
from infra.local.services import Postgres, Service, SqsServer, Valkey
from infra.local.sms_standin import SmsStandin
from infra.local.sqs_source import SqsSource
from infra.local.supervision import Supervisor
from infra.queues import BATCH_SIZE, QUEUES

_log = logging.getLogger(__name__)
Progress = Callable[[str], None]
_TIER = "socket-tier-"


def _silent(_line: str) -> None:
    """No progress lines."""


class LocalSystem:
    """Start with ``async with`` (or :meth:`start` and :meth:`stop`), from the main thread of the process.

    :attr:`failure` is set to a `LocalSystemError` when a part that cannot be replaced has ended.
    """

    def __init__(self, options: LocalOptions | None = None, progress: Progress = _silent) -> None:
        self.options = options or LocalOptions()
        self._progress = progress
        self.port = self.options.port or free_port()
        tiers = self.options.socket_tiers
        first = self.options.socket_tier_port or free_port()
        self.socket_tier_ports = [first, *(free_port() for _ in range(tiers - 1))]
        self._data = self.options.data or temporary_directory()
        self.logs = self._data / "logs"
        self.functions: dict[str, LambdaFunction] = {}
        self.environment: dict[str, str] = {}
        self.demo: DemoAccess | None = None
        self.database_url = ""
        self.redis_url = ""
        self.sqs: SqsEndpoint | None = None
        self.standin_url = ""
        self.sms = SmsStandin(progress)
        self.push = PushStandin(self._data / "push", progress)
        self.files = FileStandin(self._data / "files")
        self._has_demo = False
        self._services: list[Service] = []
        self._supervisor = Supervisor()
        self._stack = contextlib.AsyncExitStack()  # the stand-ins
        self._gateway: Gateway | None = None
        self._sources: list[SqsSource] = []
        self.scheduler: Scheduler | None = None

    # What a caller talks to

    @property
    def base_url(self) -> str:
        """HTTP address of the gateway."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def ws_url(self) -> str:
        """WebSocket address of the gateway."""
        return f"ws://{LOOPBACK}:{self.port}"

    @property
    def failure(self) -> "asyncio.Future[LocalSystemError]":
        """Done when the system cannot go on."""
        return self._supervisor.failure

    @property
    def processes(self) -> dict[str, list[int]]:
        """Process ids by name: postgres, valkey, sqs, payment-standin, socket-tier-1.., chargers, function names."""
        found = {service.name: [c.pid for c in service.children if c.alive] for service in self._services}
        found |= self._supervisor.pids
        return found | {name: function.pids for name, function in self.functions.items()}

    def kill(self, name: str, signum: int = signal.SIGKILL, index: int = 0) -> int:
        """Signal process ``index`` of ``name`` (default: kill -9) and return its pid.

        What is replaceable (functions, socket tier, stand-in, chargers) comes back by itself.
        """
        pid = self.processes[name][index]
        os.kill(pid, signum)
        return pid

    async def restart(self, name: str) -> None:
        """Stop a supervised process (socket tier, stand-in, chargers) in an orderly way and wait until it is back."""
        await self._supervisor.restart(name)

    async def wait_back(self, name: str, than: int) -> None:
        """Wait until ``name`` runs again and is ready, with another process id than ``than``."""
        await self._supervisor.wait_back(name, than)

    async def run_sweep(self, name: str) -> Result:
        """Run one sweep now, through its Lambda function."""
        assert self.scheduler is not None
        return await self.scheduler.fire(name)

    def describe(self) -> dict[str, Any]:
        """Every address and the demo credentials."""
        described: dict[str, Any] = {
            "api": self.base_url,
            "ocpp": f"{self.ws_url}/ocpp/{{station}}",
            "locations_stream": f"{self.ws_url}/api/v1/locations/stream",
            "socket_tier": [f"http://{LOOPBACK}:{port}" for port in self.socket_tier_ports],
            "payment_standin": self.standin_url,
            "sms_outbox": self.sms.outbox_url,
            "push_standin": self.push.base_url,
            "files": self.files.base_url,
            "database": self.database_url,
            "redis": self.redis_url,
            "sqs": self.sqs.endpoint_url if self.sqs else None,
            "master_key": self.environment.get("MASTER_API_KEY"),
            "logs": str(self.logs),
        }
        if self.demo is not None:
            described["demo"] = {
                "client_id": self.demo.client_id,
                "phone": self.demo.phone,
                "stations": list(self.demo.stations),
            }
        return described

    # Life

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start everything; raises `LocalSystemError` with a sentence for the user. Call :meth:`stop` also then."""
        require_port(self.port, "gateway")
        for port in self.socket_tier_ports:
            require_port(port, "socket tier")
        self.logs.mkdir(parents=True, exist_ok=True)
        await self._start_services()
        await self._migrate()
        await self._start_standin()
        await self._start_product()
        if self.options.chargers and self.demo is not None:
            await self._start_chargers(self.demo)
        self._write_state()

    async def stop(self) -> None:
        """Stop everything in order: chargers, gateway, receivers of queues (socket tier too), functions, services."""
        self._supervisor.stopping = True
        await self._supervisor.stop("chargers")
        if self._gateway is not None:
            await self._gateway.stop()
        # Queues are left when the long polls under way end; side by side that is one wait, not one per queue.
        receivers = [source.stop() for source in self._sources]
        tiers = [self._supervisor.stop(name) for name in self._supervisor.pids if name.startswith(_TIER)]
        await asyncio.gather(*receivers, *tiers, *([self.scheduler.stop()] if self.scheduler else []))
        functions = [function.stop() for function in self.functions.values()]
        await asyncio.gather(*functions, self._stack.aclose(), self._supervisor.stop_all())
        await asyncio.gather(*(asyncio.to_thread(service.stop) for service in self._services))
        self._services.clear()
        if self.options.data is None:
            scratch.remove(self._data)

    async def _start_services(self) -> None:
        """Embedded services, or those that the environment names."""
        self._progress("starting PostgreSQL, Valkey and SQS")
        self.database_url = os.environ.get("DATABASE_URL", "")
        self.redis_url = os.environ.get("REDIS_URL", "")
        endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
        keep = self.options.data is not None
        embedded_database: Postgres | None = None
        if not endpoint:
            server = SqsServer(self._data / "sqs")
            self._launch(server)
            endpoint = server.url
        if not self.redis_url:
            valkey = Valkey(self._data / "valkey", persist=keep)
            self._launch(valkey)
            self.redis_url = valkey.url
        if not self.database_url:
            embedded_database = Postgres(self._data / "pg", durable=self.options.durable, kept=keep)
            self._services.append(embedded_database)
            await asyncio.to_thread(embedded_database.initialise)  # a Ctrl-C need not wait for it
            embedded_database.launch()
        await asyncio.gather(*(asyncio.to_thread(service.wait_ready) for service in self._services))
        for service in self._services:
            for child in service.children:
                self._supervisor.watch_irreplaceable(service.name, child)
        if embedded_database is not None:
            self.database_url = await asyncio.to_thread(embedded_database.create_database, "evpower")
        self.sqs = await asyncio.to_thread(create_queues, endpoint)

    def _launch(self, service: Service) -> None:
        self._services.append(service)  # first: what has been half started is stopped as well
        service.launch()

    async def _migrate(self) -> None:
        from evpower.db.migrate import migrate

        self._progress("applying migrations")
        await migrate(self.database_url)
        if self.options.demo_data and await asyncio.to_thread(demo_data.insert_demo_data, self.database_url):
            self._has_demo = True

    async def _start_standin(self) -> None:
        await self.sms.start()
        self._stack.push_async_callback(self.sms.stop)
        await self.push.start()
        self._stack.push_async_callback(self.push.stop)
        await self.files.start()
        self._stack.push_async_callback(self.files.stop)
        port = self._kept_port("payment_standin")
        self.standin_url = f"http://{LOOPBACK}:{port}"
        argv = [sys.executable, "-m", "infra.local.payment_standin", "--port", str(port)]
        argv += ["--state", str(self._data / "payment-standin.json")]
        await self._supervisor.start(
            "payment-standin",
            lambda: Child("payment-standin", argv, log=self.logs / "payment-standin.log"),
            lambda: accepts_connections(port),
        )

    async def _start_product(self) -> None:
        assert self.sqs is not None
        self._progress("starting the functions and the socket tier")
        self.environment = product_environment(
            self.options,
            port=self.port,
            socket_tier_port=self.socket_tier_ports[0],
            database_url=self.database_url,
            redis_url=self.redis_url,
            sqs=self.sqs,
            provider_url=f"{self.standin_url}/api/json/json.php",
            sms_gateway_url=self.sms.gateway_url,
            push=self.push.environment,
            authority=station_authority.environment(self._data / "authority"),
            files=self.files.environment,
        )
        if self._has_demo:
            self.demo = DemoAccess(
                demo_data.CLIENT_ID,
                demo_data.CLIENT_PHONE,
                demo_data.SIMULATED_STATIONS,
            )
        self.functions = {
            definition.name: LambdaFunction(definition, self.environment, self.logs) for definition in functions()
        }
        starts = [function.start() for function in self.functions.values()]
        starts += [self._start_socket_tier(number, port) for number, port in enumerate(self.socket_tier_ports, 1)]
        await asyncio.gather(*starts)
        await self._start_edge()

    async def _start_socket_tier(self, number: int, port: int) -> None:
        name = f"{_TIER}{number}"
        environment = {
            **self.environment,
            "DATABASE_ROLE": "evpower_worker",
            "SOCKET_TIER_PORT": str(port),
            "INSTANCE_ID": name,
        }
        argv = [sys.executable, "-m", "socket_tier"]
        await self._supervisor.start(
            name,
            lambda: Child(name, argv, log=self.logs / f"{name}.log", env=environment),
            lambda: _answers(f"http://{LOOPBACK}:{port}/readyz"),
            stop_timeout_s=30,
        )

    async def _start_edge(self) -> None:
        assert self.sqs is not None
        self._gateway = Gateway(
            self.port,
            api=self.functions["api"],
            payment_webhook=self.functions["payment_webhook"],
            socket_tier_ports=self.socket_tier_ports,
        )
        await self._gateway.start()
        for queue in QUEUES:
            if queue.function is None:
                continue
            source = SqsSource(self.sqs, queue.name, self.functions[queue.function], batch_size=BATCH_SIZE)
            self._sources.append(source)
            source.start()
        self.scheduler = Scheduler(self.functions["sweeps"], intervals=self.options.schedule_intervals)
        if self.options.schedules:
            self.scheduler.start()

    async def _start_chargers(self, demo: DemoAccess) -> None:
        self._progress("connecting the simulated chargers")
        argv = [sys.executable, "-m", "infra.local.simulator", f"{self.ws_url}/ocpp"]
        for station in demo.stations:
            argv += ["--station", station]
        argv += ["--time-scale", f"{self.options.time_scale:g}", "--power-kw", "22"]
        await self._supervisor.start(
            "chargers",
            lambda: Child("chargers", argv, log=self.logs / "chargers.log"),
            lambda: demo_data.connected_stations(self.database_url, demo.stations) == len(demo.stations),
        )

    def _kept_port(self, name: str) -> int:
        """The port of the last run in the same data directory, so that stored payment links stay valid."""
        with contextlib.suppress(OSError, ValueError, KeyError, LocalSystemError):
            state = json.loads((self._data / "state.json").read_text())
            port = urlsplit(str(state[name])).port
            if port is not None:
                require_port(port, name)
                return port
        return free_port()

    def _write_state(self) -> None:
        (self._data / "state.json").write_text(json.dumps(self.describe(), ensure_ascii=False, indent=1))


def temporary_directory() -> Path:
    """A directory that PostgreSQL's user may pass through when we are root."""
    return scratch.make("evpower")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - a loopback address of ours
            return int(response.status) == 200
    except (OSError, urllib.error.URLError):
        return False
