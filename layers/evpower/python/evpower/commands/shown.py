"""Commands as people may see them: secrets masked, links without what makes them work. Pure."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

MASK = "***"

# Names of configuration keys whose value opens something. `GetConfigurationMaxKeys` is none of them.
_SECRET_KEY = re.compile(r"authorizationkey|passw(or)?d|passphrase|secret|token|privatekey|psk|api.?key|pin(code)?$")
_LINKS = frozenset({"location", "remoteLocation"})


def is_secret_key(key: str) -> bool:
    """Whether the value of this configuration key must not be shown."""
    return _SECRET_KEY.search(key.lower()) is not None


def shown_link(link: str) -> str:
    """Scheme, host and path of a link: who reads it can neither upload nor download with it."""
    try:
        parts = urlsplit(link)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return MASK
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def shown(value: Mapping[str, Any]) -> dict[str, Any]:
    """A command's payload, or a charger's answer, for operators and the audit log."""
    found = {name: _shown(name, item) for name, item in value.items()}
    key = value.get("key")
    if isinstance(key, str) and "value" in value and value["value"] is not None and is_secret_key(key):
        found["value"] = MASK
    return found


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return shown(value)
    if isinstance(value, list):
        return [_shown(name, item) for item in value]
    if isinstance(value, str) and name in _LINKS:
        return shown_link(value)
    return value
