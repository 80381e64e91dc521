"""The product as it is deployed, on one machine: CDK's templates on LocalStack, the containers' part as processes.

API Gateway, Lambda, SQS, EventBridge, SNS, CloudWatch and Secrets Manager are LocalStack's. PostgreSQL, Valkey, the
payment provider, the text message gateway and the push services are what a real deployment has outside, or what
LocalStack has not got. The socket tier runs with the settings and secrets that its container has.
"""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from infra.app import context_of
from infra.environment import Environment, read_environment
from infra.functions import MIGRATE
from infra.local import demo_data, sms_standin
from infra.local.cloud_deploy import CloudDeployer, DeployedStack, read_assembly, synthesise
from infra.local.localstack import LocalStack
from infra.local.processes import LOOPBACK, ROOT, Child, LocalSystemError, accepts_connections, free_port
from infra.local.push_standin.server import PushStandin
from infra.local.queues import LOCAL_CREDENTIALS, REGION
from infra.local.services import Postgres, Valkey
from infra.local.sms_standin import SmsStandin
from infra.local.supervision import Supervisor
from infra.local.system import temporary_directory
from infra.queues import QUEUES
from infra.secrets import CACHE, DATABASE_LOGINS, DATABASE_OWNER, SECRETS, SOCKET_TIER, secrets_of
from infra.settings import SECRET_KEYS, product_settings

STAGE = "live"
_DATABASE = "evpower"
_TIER_QUEUES = ("commands.fifo", "push")  # as infra.stacks.socket_tier
_PAYMENT_SECRETS = {
    "ODENGI_MERCHANT_ID": "local-merchant",
    "ODENGI_PASSWORD": "local-odengi-password",
    "ODENGI_WEBHOOK_SECRET": "local-odengi-webhook-secret",
}
_SETTINGS = {
    "SMS_PROVIDER": "http",
    "ALLOW_UNAUTHENTICATED_STATIONS": "true",
    "METER_SAMPLE_INTERVAL_S": "2",
    "METER_MAX_POWER_KW": "5000",  # simulated cars charge faster than real ones
}


class CloudSystem:
    """Start with ``async with``, from the main thread of the process. ``localstack`` runs already, and goes on."""

    def __init__(self, localstack: LocalStack, progress: Callable[[str], None] = lambda _line: None) -> None:
        self.localstack = localstack
        self._progress = progress
        self._directory = temporary_directory()
        self.postgres = Postgres(self._directory / "pg", durable=False)
        self.valkey = Valkey(self._directory / "valkey")
        self.sms = SmsStandin()
        self.push = PushStandin(self._directory / "push")
        self.standin_port = free_port()
        self.socket_tier_port = free_port()
        self.stacks: dict[str, DeployedStack] = {}
        self.templates: dict[str, dict[str, Any]] = {}  # by the stack's name
        self.database_url = ""
        self.base_url = ""
        self._supervisor = Supervisor()
        self._stack = contextlib.AsyncExitStack()
        self._clients: dict[str, Any] = {}
        self._context: dict[str, Any] = {}
        self.migrated: dict[str, list[str]] = {}
        self._passwords = {role: secrets.token_hex(16) for role in DATABASE_LOGINS}

    # What a caller talks to

    def client(self, service: str) -> Any:
        """A boto3 client of LocalStack."""
        if service in self._clients:
            return self._clients[service]
        import boto3

        session = boto3.session.Session(
            aws_access_key_id=LOCAL_CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=LOCAL_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
        )
        client = session.client(service, endpoint_url=self.localstack.url)  # type: ignore[call-overload]
        return self._clients.setdefault(service, client)

    @property
    def environment(self) -> Environment:
        """The deployment's own description."""
        return read_environment({**context_of([]), **self._context})

    @property
    def ocpp_url(self) -> str:
        """Prefix of the chargers' endpoint. In AWS CloudFront and the load balancer stand before it."""
        return f"ws://{LOOPBACK}:{self.socket_tier_port}/ocpp"

    def name(self, short: str) -> str:
        """Physical name of a function, queue or alarm."""
        return f"{self.environment.prefix}-{short}"

    def queue_url(self, short: str) -> str:
        return str(self.client("sqs").get_queue_url(QueueName=self.name(short))["QueueUrl"])

    def invoke(self, short: str, event: Mapping[str, Any] | None = None) -> Any:
        """The answer of a function called by its name; raises `LocalSystemError` with the function's error."""
        answer = self.client("lambda").invoke(FunctionName=self.name(short), Payload=json.dumps(dict(event or {})))
        payload = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise LocalSystemError(f"function {short}: {payload}")
        return payload

    def secret(self, short: str) -> dict[str, str]:
        """Members of one secret."""
        text = self.client("secretsmanager").get_secret_value(SecretId=self._secret_name(short))["SecretString"]
        members: dict[str, str] = json.loads(text)
        return members

    def ids(self, kind: str) -> list[str]:
        """Physical ids of all resources of one type."""
        return sorted(physical for stack in self.stacks.values() for physical in stack.ids(kind))

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
        """Start everything; raises `LocalSystemError` or `DeploymentError`. Call :meth:`stop` also then."""
        self._progress("starting PostgreSQL and Valkey")
        self.postgres.launch()
        self.valkey.launch()
        self.valkey.wait_ready()
        self.postgres.wait_ready()
        self.database_url = self.postgres.create_database(_DATABASE)
        await self._start_standins()
        self._context = {"env": "dev", "localstack": "true", "settings": json.dumps(self._settings())}
        self._progress("synthesising")
        assembly = await asyncio.to_thread(synthesise, self._directory / "cdk.out", self._context)
        stacks = read_assembly(assembly)
        deployer = CloudDeployer(self.client, self._progress)
        await asyncio.to_thread(deployer.bootstrap, stacks)
        await asyncio.to_thread(deployer.publish, stacks)
        self.templates = {stack.name: json.loads(stack.template.read_text()) for stack in stacks}
        for stack in stacks:
            deployed = self.stacks[stack.name] = await asyncio.to_thread(deployer.deploy, stack)
            await self._after(deployed)
        demo_data.insert_demo_data(self.database_url)
        await self._start_socket_tier()
        await self._start_chargers()

    async def stop(self) -> None:
        self._supervisor.stopping = True
        await self._supervisor.stop("chargers")
        await self._supervisor.stop_all()
        names, client = self.ids("AWS::Lambda::Function"), self.client("lambda")
        # Their processes hold connections to the stand-ins.
        await asyncio.gather(*(asyncio.to_thread(client.delete_function, FunctionName=name) for name in names))
        await self._stack.aclose()
        self.valkey.stop()
        self.postgres.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    # What an operator does around a deployment

    async def _after(self, stack: DeployedStack) -> None:
        if stack.ids("AWS::SecretsManager::Secret"):
            self._fill_secrets()
        if self.name(MIGRATE.name) in stack.ids("AWS::Lambda::Function"):
            # In AWS a trigger of the stack calls it; the CDK's helper for that is written for node.
            self.migrated = await asyncio.to_thread(self.invoke, MIGRATE.name)
            await self._make_logins()
        if ids := stack.ids("AWS::ApiGateway::RestApi"):
            self.base_url = f"{self.localstack.url}/_aws/execute-api/{ids[0]}/{STAGE}"
            # Functions read it when they start, which the first request makes them do. In AWS it is a plain setting
            # with the deployment's host name.
            webhook = f"{self.base_url}/api/v1/payment/webhook"
            self._put_secret("payments", {**_PAYMENT_SECRETS, "ODENGI_RESULT_URL": webhook})

    def _fill_secrets(self) -> None:
        """What docs/operations/deploy.md has an operator do; the generated ones have their values."""
        values = {**self.push.environment, **_PAYMENT_SECRETS, "SMS_GATEWAY_TOKEN": sms_standin.TOKEN}
        for spec in SECRETS:
            members = {key: values[key] for key in spec.keys if key in values}
            if members and not spec.generated:
                self._put_secret(spec.name, members)
        self._put_secret(CACHE.name, {"REDIS_URL": self.valkey.url})
        self._put_secret(DATABASE_OWNER, {"DATABASE_URL": self.database_url})
        for role, name in DATABASE_LOGINS.items():
            self._put_secret(name, {"DATABASE_URL": self._login_url(role)})

    def _login_url(self, role: str) -> str:
        """A login of its own for each role, as a deployment has, so that the roles' rights are tried as well."""
        return f"postgresql://{role}_login:{self._passwords[role]}@{self.database_url.partition('@')[2]}"

    def _secret_name(self, short: str) -> str:
        return f"evpower/{self.environment.name}/{short}"

    def _put_secret(self, short: str, members: Mapping[str, str]) -> None:
        self.client("secretsmanager").put_secret_value(
            SecretId=self._secret_name(short), SecretString=json.dumps(dict(members))
        )

    async def _make_logins(self) -> None:
        """Where the database is not the deployment's own, an operator makes them (docs/database.md)."""
        from evpower.db.logins import Login, ensure_logins

        logins = [Login(f"{role}_login", password, role) for role, password in self._passwords.items()]
        await ensure_logins(self.database_url, logins)

    # Parts that LocalStack has not got

    def _settings(self) -> dict[str, str]:
        """Plain settings of the deployment, as its operator would write them into cdk.json."""
        push = {name: value for name, value in self.push.environment.items() if name not in SECRET_KEYS}
        return {
            **_SETTINGS,
            **push,
            "ODENGI_API_URL": f"http://{LOOPBACK}:{self.standin_port}/api/json/json.php",
            "SMS_GATEWAY_URL": self.sms.gateway_url,
        }

    async def _start_standins(self) -> None:
        await self.sms.start()
        self._stack.push_async_callback(self.sms.stop)
        await self.push.start()
        self._stack.push_async_callback(self.push.stop)
        argv = [sys.executable, "-m", "infra.local.payment_standin", "--port", str(self.standin_port)]
        argv += ["--merchant-id", _PAYMENT_SECRETS["ODENGI_MERCHANT_ID"]]
        argv += ["--password", _PAYMENT_SECRETS["ODENGI_PASSWORD"]]
        await self._supervisor.start(
            "payment-standin",
            lambda: Child("payment-standin", argv, log=self._directory / "payment-standin.log"),
            lambda: accepts_connections(self.standin_port),
        )

    async def _start_socket_tier(self) -> None:
        role = "evpower_worker"
        own = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment = {
            **own,
            **LOCAL_CREDENTIALS,
            "AWS_ENDPOINT_URL": self.localstack.url,
            **product_settings(self.environment),
            **{queue.setting: self.queue_url(queue.name) for queue in QUEUES if queue.name in _TIER_QUEUES},
            "SECRET_IDS": ",".join(self._secret_name(name) for name in secrets_of(SOCKET_TIER, role)),
            "DATABASE_ROLE": role,
            "SOCKET_TIER_HOST": LOOPBACK,
            "SOCKET_TIER_PORT": str(self.socket_tier_port),
            "INSTANCE_ID": "socket-tier-1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "layers/evpower/python")]),
        }
        await self._supervisor.start(
            "socket-tier",
            lambda: Child(
                "socket-tier",
                [sys.executable, "-m", "socket_tier"],
                log=self._directory / "socket-tier.log",
                env=environment,
            ),
            lambda: _answers(f"http://{LOOPBACK}:{self.socket_tier_port}/readyz"),
            stop_timeout_s=30,
        )

    async def _start_chargers(self) -> None:
        stations = demo_data.SIMULATED_STATIONS
        argv = [sys.executable, "-m", "infra.local.simulator", self.ocpp_url]
        for station in stations:
            argv += ["--station", station]
        argv += ["--time-scale", "60", "--power-kw", "22"]
        await self._supervisor.start(
            "chargers",
            lambda: Child("chargers", argv, log=self._directory / "chargers.log"),
            lambda: demo_data.connected_stations(self.database_url, stations) == len(stations),
        )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - a loopback address of ours
            return int(response.status) == 200
    except (OSError, urllib.error.URLError):
        return False
