"""What the driver's phone shows: notifications that came to its push token."""

from __future__ import annotations

import asyncio
import secrets
import time

from infra.local.push_standin.server import Delivery, PushStandin


class Phone:
    """An Android phone with the app on it."""

    def __init__(self, standin: PushStandin) -> None:
        self._standin = standin
        self.push_token = f"demo-phone:{secrets.token_urlsafe(32)}"

    async def wait_ended(self, session_id: str, timeout_s: float = 90.0) -> Delivery:
        """The notification that a session has ended; a lost message to the queue costs a minute, until the sweep.

        Raises:
            TimeoutError: it did not come.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for delivery in self._standin.shown(self.push_token):
                if (delivery.data["type"], delivery.data.get("sessionId")) == ("charging_complete", session_id):
                    return delivery
            await asyncio.sleep(0.2)
        raise TimeoutError(f"no notification about the end of session {session_id} in {timeout_s:.0f} s")
