"""The bank's stand-in with certificates of this run, and the settings that reach it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.local.obank_standin.server import ObankStandin
from tests.fakes.certificates import Authority

PASSWORD = "test-p12-password"
NOTIFY_SECRET = "test-notify-secret-0123456789"


@dataclass(frozen=True, slots=True)
class Bank:
    """A running stand-in and its authority."""

    standin: ObankStandin
    authority: Authority
    settings: dict[str, object]


@asynccontextmanager
async def bank(folder: Path, units_per_som: int = 100) -> AsyncIterator[Bank]:
    """The stand-in, reachable with ``Bank.settings`` (OBANK selected and enabled)."""
    authority = Authority.create(folder / "authority", "Test authority")
    certificate, key = authority.server()
    async with ObankStandin(certificate, key, authority.file) as standin:
        settings: dict[str, object] = {
            "payment_provider": "OBANK",
            "obank_enabled": True,
            "obank_api_url": standin.api_url,
            "obank_point": standin.point,
            "obank_service_id": "1330",
            "obank_cert_path": str(authority.client(PASSWORD)),
            "obank_cert_password": PASSWORD,
            "obank_ca_path": str(authority.file),
            "obank_timeout_s": 5.0,
            "obank_units_per_som": units_per_som,
            "obank_notify_url": "https://api.example/api/v1/payment/webhook",
            "obank_notify_secret": NOTIFY_SECRET,
            "obank_redirect_url": "https://app.example/paid",
        }
        yield Bank(standin, authority, settings)
