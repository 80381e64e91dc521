"""The stand-in's server: FCM HTTP v1 with its token endpoint, APNs and a browser push service.

It checks what the real services check (tokens, signatures, protocol version, headers, encryption) and refuses with
their words.
"""

import asyncio
import contextlib
import os
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from evpower.notifications import web_crypto
from infra.local.processes import LOOPBACK, accepts_connections, free_port
from infra.local.push_standin import checks
from infra.local.push_standin.checks import Fault
from infra.local.push_standin.credentials import PushCredentials, credentials


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that a phone or browser would now show; ``address`` is the token or the endpoint's last part."""

    channel: str
    address: str
    title: str
    body: str
    data: dict[str, str]
    collapse_id: str
    protocol: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a test wants the stand-in to answer instead of its own judgement."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    after_taking: bool = False  # the message is delivered, only the answer is this

    def response(self) -> Response:
        if self.body is None:
            return Response(status_code=self.status, headers=self.headers)
        return JSONResponse(self.body, self.status, self.headers)


@dataclass(slots=True)
class _Browser:
    key: ec.EllipticCurvePrivateKey
    auth: bytes


class PushStandin:
    """In-process server; ``async with PushStandin(folder) as standin`` takes a free loopback port.

    ``folder`` keeps its keys and certificates; ``show`` gets a line for each notification.
    """

    credentials: PushCredentials
    _stop: asyncio.Event

    def __init__(self, folder: Path, show: Callable[[str], None] = lambda _line: None) -> None:
        self.deliveries: list[Delivery] = []
        self.requests: list[tuple[str, str]] = []  # method and path
        self.faults: list[Fault] = []
        self.access_token_life_s = 3600
        self._answers: dict[str, deque[Answer]] = {}
        self._browsers: dict[str, _Browser] = {}
        self._tokens: dict[str, float] = {}
        self._folder, self._show = folder, show
        self._port = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def base_url(self) -> str:
        return f"https://{LOOPBACK}:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The product's settings that send its pushes here."""
        return self.credentials.environment(self.base_url)

    async def start(self) -> None:
        """Listen; after a :meth:`stop` on the same port again."""
        self.credentials = await asyncio.to_thread(credentials, self._folder)
        self._port = self._port or free_port()
        self._stop = asyncio.Event()
        config = Config()
        config.bind = [f"{LOOPBACK}:{self._port}"]
        config.certfile = str(self.credentials.certificate_file)
        config.keyfile = str(self.credentials.key_file)
        config.accesslog = None
        config.errorlog = None
        config.graceful_timeout = 1
        config.keep_alive_timeout = 600  # the real services keep connections, too
        self._task = asyncio.create_task(serve(self._application(), config, shutdown_trigger=self._stop.wait))
        deadline = time.monotonic() + 15
        while not await asyncio.to_thread(accepts_connections, self._port):
            if self._task.done() or time.monotonic() > deadline:
                raise RuntimeError(f"the push stand-in does not listen on port {self._port}")
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        if self._task is not None:
            self._stop.set()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # What tests use ------------------------------------------------------------------------------------------

    def answer(self, address: str, *answers: Answer) -> None:
        """The next messages to ``address`` (or the next requests for an access token: ``token``) end so."""
        self._answers.setdefault(address, deque()).extend(answers)

    def browser(self) -> dict[str, Any]:
        """A browser subscribes: what its PushSubscription says."""
        name, key, auth = secrets.token_urlsafe(12), ec.generate_private_key(ec.SECP256R1()), os.urandom(16)
        self._browsers[name] = _Browser(key, auth)
        keys = {"p256dh": web_crypto.encode(web_crypto.point(key.public_key())), "auth": web_crypto.encode(auth)}
        return {"endpoint": f"{self.base_url}/wp/{name}", "keys": keys}

    def shown(self, address: str) -> list[Delivery]:
        """What the phone or browser shows: of messages with one collapse id the last."""
        found = [delivery for delivery in self.deliveries if delivery.address == address]
        return list({delivery.collapse_id: delivery for delivery in found}.values())

    # The services --------------------------------------------------------------------------------------------

    def _application(self) -> Any:
        return Starlette(
            routes=[
                Route("/token", self._token, methods=["POST"]),
                Route("/v1/projects/{project}/messages:send", self._fcm, methods=["POST"]),
                Route("/3/device/{token}", self._apns, methods=["POST"]),
                Route("/wp/{name}", self._web_push, methods=["POST"]),
                Route("/deliveries", self._list),
            ]
        )

    def _refuse(self, fault: Fault) -> Response:
        self.faults.append(fault)
        return JSONResponse(fault.body, fault.status)

    def _planned(self, address: str) -> Answer | None:
        waiting = self._answers.get(address)
        return waiting.popleft() if waiting else None

    async def _token(self, request: Request) -> Response:
        self.requests.append(("POST", request.url.path))
        body = (await request.body()).decode()
        if planned := self._planned("token"):
            return planned.response()
        try:
            checks.assertion(body, self.credentials, f"{self.base_url}/token")
        except Fault as fault:
            return self._refuse(fault)
        token = f"local-{secrets.token_urlsafe(24)}"
        self._tokens[token] = time.time() + self.access_token_life_s
        answer = {"access_token": token, "expires_in": self.access_token_life_s, "token_type": "Bearer"}
        return JSONResponse(answer)

    async def _fcm(self, request: Request) -> Response:
        self.requests.append(("POST", request.url.path))
        try:
            live = [token for token, until in self._tokens.items() if until > time.time()]
            message = checks.fcm(request, orjson.loads(await request.body()), live)
        except Fault as fault:
            return self._refuse(fault)
        notification = message["notification"]
        delivery = Delivery(
            "fcm",
            message["token"],
            notification["title"],
            notification["body"],
            message["data"],
            message["android"]["notification"]["tag"],
            str(request.scope["http_version"]),
        )
        return self._take(delivery, JSONResponse({"name": f"projects/x/messages/{len(self.deliveries)}"}))

    async def _apns(self, request: Request) -> Response:
        self.requests.append(("POST", request.url.path))
        body = await request.body()
        try:
            payload = checks.apns(request, body, self.credentials)
        except Fault as fault:
            return self._refuse(fault)
        alert = payload.pop("aps")["alert"]
        delivery = Delivery(
            "apns",
            request.path_params["token"],
            alert["title"],
            alert["body"],
            payload,
            request.headers["apns-collapse-id"],
            str(request.scope["http_version"]),
        )
        return self._take(delivery, Response(status_code=200, headers={"apns-id": request.headers.get("apns-id", "")}))

    async def _web_push(self, request: Request) -> Response:
        self.requests.append(("POST", request.url.path))
        name, body = request.path_params["name"], await request.body()
        try:
            checks.vapid(request, body, self.credentials, self.base_url)
            browser = self._browsers.get(name)
            if browser is None:
                raise Fault(410, "subscription is over")
            plain = orjson.loads(checks.decrypted(body, browser.key, browser.auth))
        except Fault as fault:
            return self._refuse(fault)
        delivery = Delivery(
            "web_push",
            name,
            plain["title"],
            plain["body"],
            plain["data"],
            request.headers["topic"],
            str(request.scope["http_version"]),
        )
        return self._take(delivery, Response(status_code=201))

    def _take(self, delivery: Delivery, usual: Response) -> Response:
        """Deliver, unless a test has planned another end."""
        planned = self._planned(delivery.address)
        if planned is None or planned.after_taking:
            self.deliveries.append(delivery)
            self._show(f"push by {delivery.channel} to {delivery.address[:16]}: {delivery.title} | {delivery.body}")
        return planned.response() if planned else usual

    async def _list(self, request: Request) -> Response:
        """What phones and browsers show, oldest first; ``?address=`` one of them."""
        address = request.query_params.get("address")
        found = self.shown(address) if address else self.deliveries
        return JSONResponse([asdict(delivery) for delivery in found])
