"""The bank is switched on only with all that it needs, and each payment stays with its provider."""

from typing import Any

import pytest
from pydantic import ValidationError

from evpower.config import Settings
from evpower.payments.deps import other_providers, payment_provider
from evpower.payments.obank import ObankProvider
from evpower.payments.odengi import OdengiProvider
from evpower.payments.paused import PausedProvider

ENABLED: dict[str, Any] = {
    "payment_provider": "OBANK",
    "obank_enabled": True,
    "obank_point": "P",
    "obank_service_id": "1330",
    "obank_cert_path": "client.p12",
    "obank_units_per_som": 100,
}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"obank_point": ""}, "OBANK_POINT"),
        ({"obank_service_id": ""}, "OBANK_SERVICE_ID"),
        ({"obank_cert_path": ""}, "OBANK_CERT_PATH"),
        ({"obank_units_per_som": 0}, "OBANK_UNITS_PER_SOM"),
        ({"obank_units_per_som": 10}, "OBANK_UNITS_PER_SOM"),
        ({"obank_notify_url": "https://api.example/w"}, "OBANK_NOTIFY_SECRET"),
        ({"environment": "production", "auth_token_secret": "s" * 40}, "test system"),
    ],
)
def test_what_is_missing_is_named(changes: dict[str, Any], name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings(**{**ENABLED, **changes})


def test_the_units_of_a_som_have_no_default() -> None:
    del (without := dict(ENABLED))["obank_units_per_som"]
    with pytest.raises(ValidationError, match="100 or 1000"):
        Settings(**without)


def test_the_selected_provider_and_the_other_one() -> None:
    assert isinstance(payment_provider(Settings(**ENABLED)), ObankProvider)
    assert isinstance(payment_provider(Settings(payment_provider="OBANK")), PausedProvider)
    assert other_providers(Settings(**ENABLED)) == {}
    (odengi,) = other_providers(Settings(**ENABLED, odengi_merchant_id="m")).items()
    assert odengi[0] == "ODENGI"
    assert isinstance(odengi[1], OdengiProvider)
    kept = Settings(**{**ENABLED, "payment_provider": "ODENGI"})
    assert isinstance(payment_provider(kept), OdengiProvider)
    assert isinstance(other_providers(kept)["OBANK"], ObankProvider)
    assert other_providers(Settings()) == {}


def test_secrets_are_not_shown() -> None:
    settings = Settings(**ENABLED, obank_cert_password="p12-password", obank_notify_secret="notify-secret-0123")
    provider = payment_provider(settings)
    shown = repr(settings) + repr(vars(provider))
    assert "p12-password" not in shown
    assert "notify-secret-0123" not in shown
