"""A driver's phone: the public HTTP interface and the payment page, nothing else."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urljoin

import httpx

APPROVED = 1
"""``status`` of an approved payment (mobile-api.md §4.6)."""


class ApiError(Exception):
    """An answer outside 2xx."""

    def __init__(self, method: str, path: str, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers = response.headers
        try:
            self.body: dict[str, Any] = response.json()
        except ValueError:
            self.body = {"text": response.text}
        super().__init__(f"{method} {path}: HTTP {self.status} {self.body}")

    @property
    def code(self) -> str | None:
        """The machine code of the error envelope."""
        return self.body.get("error_code")


@dataclass(frozen=True, slots=True)
class Spent:
    """What a finished session cost, as the public status route tells it (kWh, som)."""

    session_id: str
    energy_kwh: float
    cost: float
    rate_per_kwh: float
    session_fee: float


class Driver:
    """One signed-in client. Use as ``async with``; every method raises `ApiError` for a failure."""

    def __init__(self, base_url: str, token: str, *, timeout_s: float = 15.0) -> None:
        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers={"Authorization": f"Bearer {token}", "Accept-Language": "en"},
            timeout=timeout_s,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._http.aclose()

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None, *, key: str | None = None) -> Any:
        """One API call; POSTs carry a fresh Idempotency-Key unless ``key`` is given."""
        headers = {"Idempotency-Key": key or str(uuid.uuid4())} if method != "GET" else {}
        response = await self._http.request(method, path, json=body, headers=headers)
        if response.status_code >= 300:
            raise ApiError(method, path, response)
        return response.json()

    # --- money -----------------------------------------------------------------------------------------------

    async def profile(self) -> dict[str, Any]:
        """Who is signed in."""
        answer: dict[str, Any] = await self.call("GET", "/api/v1/profile")
        return answer

    async def balance(self) -> float:
        """The balance in som."""
        return float((await self.call("GET", "/api/v1/balance/current"))["balance"])

    async def poll_balance(self, expected: float, timeout_s: float = 20.0) -> float:
        """Wait until the balance is what it must become."""

        async def ask() -> dict[str, Any]:
            return {"balance": await self.balance()}

        answer = await self.poll(ask, lambda a: abs(a["balance"] - expected) < 0.005, timeout_s)
        return float(answer["balance"])

    async def history(self) -> list[dict[str, Any]]:
        """Everything that happened to the money, oldest first, top-ups that were never paid included."""
        rows: list[dict[str, Any]] = []
        while True:
            page = await self.call("GET", f"/api/v1/balance/history?limit=100&offset={len(rows)}")
            rows += page["data"]
            if not page["data"] or len(rows) >= page["total"]:
                return list(reversed(rows))

    async def ledger(self) -> list[dict[str, Any]]:
        """The movements of the balance, oldest first."""
        return [row for row in await self.history() if row["balance_after"] is not None]

    async def top_up(self, amount: float) -> dict[str, Any]:
        """Ask for a QR."""
        answer: dict[str, Any] = await self.call("POST", "/api/v1/balance/topup-qr", {"amount": amount})
        return answer

    async def pay(self, top_up: dict[str, Any]) -> None:
        """Open the payment page of a top-up and press its Pay button, as the payer would."""
        async with httpx.AsyncClient(timeout=10, follow_redirects=True, trust_env=False) as browser:
            page = await browser.get(top_up["app_link"])
            page.raise_for_status()
            form = re.search(r'<form method="post" action="([^"]+)"', page.text)
            if form is None:
                raise RuntimeError(f"no Pay button on {top_up['app_link']}")
            (await browser.post(urljoin(str(page.url), form.group(1)))).raise_for_status()

    async def payment_status(self, payment_id: str) -> dict[str, Any]:
        """The app's poll of a top-up."""
        answer: dict[str, Any] = await self.call("GET", f"/api/v1/payment/status/{payment_id}")
        return answer

    async def wait_paid(self, payment_id: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """Poll until the top-up is approved."""
        return await self.poll(lambda: self.payment_status(payment_id), lambda a: a["status"] == APPROVED, timeout_s)

    # --- charging --------------------------------------------------------------------------------------------

    async def station(self, station_id: str) -> dict[str, Any]:
        """Station status by id or serial number."""
        answer: dict[str, Any] = await self.call("GET", f"/api/v1/station/status/{station_id}")
        return answer

    async def start(self, station_id: str, connector: int = 1, **limits: float) -> dict[str, Any]:
        """Start charging; ``limits``: amount_som or energy_kwh."""
        body = {"station_id": station_id, "connector_id": connector, **limits}
        answer: dict[str, Any] = await self.call("POST", "/api/v1/charging/start", body)
        return answer

    async def stop(self, session_id: str) -> dict[str, Any]:
        """Stop charging."""
        answer: dict[str, Any] = await self.call("POST", "/api/v1/charging/stop", {"session_id": session_id})
        return answer

    async def last_session_id(self) -> str:
        """Id of this client's newest session, e.g. after a start whose answer never came."""
        return str((await self.call("GET", "/api/v1/charging/history?limit=1"))["data"][0]["id"])

    async def session(self, session_id: str) -> dict[str, Any]:
        """The nested ``session`` object of the charging status."""
        answer = await self.call("GET", f"/api/v1/charging/status/{session_id}")
        session: dict[str, Any] = answer["session"]
        return session

    async def wait_session(
        self, session_id: str, condition: Callable[[dict[str, Any]], object], timeout_s: float = 60.0
    ) -> dict[str, Any]:
        """Poll a session until ``condition(session)`` holds."""
        return await self.poll(lambda: self.session(session_id), condition, timeout_s)

    async def spent(self, session_id: str) -> Spent:
        """Final figures of a session that has ended."""
        session = await self.session(session_id)
        return Spent(
            session_id,
            session["energy_consumed"],
            session["current_cost"],
            session["rate_per_kwh"],
            session.get("session_fee", 0),
        )

    # --- notifications ---------------------------------------------------------------------------------------

    async def register_phone(self, push_token: str) -> dict[str, Any]:
        """Ask for notifications on an Android phone."""
        body = {"fcm_token": push_token, "platform": "android", "app_version": "1.1.4"}
        answer: dict[str, Any] = await self.call("POST", "/api/v1/devices/register", body)
        return answer

    # --- polling ---------------------------------------------------------------------------------------------

    async def poll(
        self,
        ask: Callable[[], Any],
        condition: Callable[[dict[str, Any]], object],
        timeout_s: float,
        interval_s: float = 1.0,
    ) -> dict[str, Any]:
        """Ask every second until the answer satisfies the condition. Raises TimeoutError with the last answer."""
        deadline = time.monotonic() + timeout_s
        while True:
            answer: dict[str, Any] = await ask()
            if condition(answer):
                return answer
            if time.monotonic() > deadline:
                raise TimeoutError(f"still not so after {timeout_s:.0f} s: {answer}")
            await asyncio.sleep(interval_s)
