"""Phones that sign in: text messages are collected instead of sent."""

import re
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from evpower.clock import FrozenClock
from evpower.notifications.sms import SmsNotSent
from tests.integration.functions.api.conftest import Api

SEND, VERIFY = "/api/v1/auth/send-otp", "/api/v1/auth/verify-otp"
PHONE, STAFF_PHONE = "+996700000077", "+996700000088"


@dataclass
class Outbox:
    """Messages that were accepted; ``failure`` refuses the next ones."""

    messages: list[tuple[str, str]] = field(default_factory=list)
    failure: SmsNotSent | None = None

    async def send(self, phone: str, text: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.messages.append((phone, text))

    def code(self, phone: str = PHONE) -> str:
        """The code of the newest message to the phone."""
        found = re.search(r"\b\d{6}\b", next(text for to, text in reversed(self.messages) if to == phone))
        assert found is not None
        return found[0]


@dataclass
class Phones:
    """The application as somebody without a token sees it."""

    api: Api
    sms: Outbox

    @classmethod
    def of(cls, api: Api) -> "Phones":
        outbox = Outbox()
        api.deps.logins = replace(api.deps.logins, sms=outbox)
        return cls(api, outbox)

    def wait(self, **duration: float) -> None:
        """Let time pass."""
        clock = self.api.deps.clock
        assert isinstance(clock, FrozenClock)
        clock.advance(timedelta(**duration))

    async def ok(self, path: str, body: Any = None) -> dict[str, Any]:
        return await self.api.ok("POST", path, body, client=None)

    async def fails(self, path: str, body: Any, status: int, code: str) -> dict[str, Any]:
        return await self.api.fails("POST", path, body, client=None, status=status, code=code)

    async def code(self, phone: str = PHONE) -> str:
        """Ask for a code and read it."""
        await self.ok(SEND, {"phone": phone})
        return self.sms.code(phone)

    async def login(self, phone: str = PHONE, *, path: str = VERIFY) -> dict[str, Any]:
        """Sign in from the first screen to the last."""
        return await self.ok(path, {"phone": phone, "code": await self.code(phone)})

    async def as_holder(self, token: str, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """Status and body of a request with an own token."""
        headers = {"Authorization": f"Bearer {token}"}
        response = await self.api.call(method, path, body, client=None, headers=headers)
        return response.status_code, response.json()

    async def add_staff(self, staff_id: str = "staff-1", phone: str | None = STAFF_PHONE, **columns: Any) -> str:
        values = {"id": staff_id, "phone": phone, "email": f"{staff_id}@example.com", "name": "Staff", **columns}
        marks = ", ".join(["%s"] * len(values))
        await self.api.sql(f"INSERT INTO users ({', '.join(values)}) VALUES ({marks})", *values.values())
        return staff_id


def wrong(code: str) -> str:
    """Another code."""
    return f"{(int(code) + 1) % 10**6:06d}"
