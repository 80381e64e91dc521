"""What a push says, in ``ru``, ``ky`` and ``en``. Pure."""

from collections.abc import Mapping
from typing import Any

from evpower.errors import LANGUAGES
from evpower.notifications.models import OutboxItem, Push

TTL_S = 6 * 3600
"""A phone that was off longer than that has nothing of the news."""

# event -> language -> title, text; members are those of the payload
_TEXTS: dict[str, dict[str, tuple[str, str]]] = {
    "charging_started": {
        "ru": ("Зарядка началась", "Разъём {connector_id}."),
        "ky": ("Кубаттоо башталды", "{connector_id}-туташтыргыч."),
        "en": ("Charging has started", "Connector {connector_id}."),
    },
    "charging_completed": {
        "ru": ("Зарядка завершена", "{energy_kwh} кВт·ч, {amount} сом."),
        "ky": ("Кубаттоо аяктады", "{energy_kwh} кВт·саат, {amount} сом."),
        "en": ("Charging is complete", "{energy_kwh} kWh, {amount} som."),
    },
    "charging_error": {
        "ru": ("Зарядка не началась", "Зарезервированные деньги возвращены на баланс."),
        "ky": ("Кубаттоо башталган жок", "Кармалган акча балансыңызга кайтарылды."),
        "en": ("Charging did not start", "The reserved money is back on your balance."),
    },
    "low_balance_warning": {
        "ru": ("Баланс заканчивается", "На балансе {balance} сом. Пополните его, чтобы заряжаться дальше."),
        "ky": ("Баланс түгөнүп баратат", "Балансыңызда {balance} сом калды. Толуктап коюңуз."),
        "en": ("Your balance is low", "{balance} som are left. Top up to go on charging."),
    },
    "payment_confirmed": {
        "ru": ("Баланс пополнен", "Зачислено {amount} сом. На балансе {new_balance} сом."),
        "ky": ("Баланс толукталды", "{amount} сом түштү. Балансыңызда {new_balance} сом."),
        "en": ("Payment received", "{amount} som were added. The balance is {new_balance} som."),
    },
    "new_session": {
        "ru": ("Новая зарядка", "Станция {serial_number}."),
        "ky": ("Жаңы кубаттоо", "{serial_number} станциясы."),
        "en": ("New session", "Station {serial_number}."),
    },
    "session_completed": {
        "ru": ("Зарядка на станции завершена", "Станция {serial_number}: {energy_kwh} кВт·ч, {amount} сом."),
        "ky": ("Станцияда кубаттоо аяктады", "{serial_number} станциясы: {energy_kwh} кВт·саат, {amount} сом."),
        "en": ("Session completed", "Station {serial_number}: {energy_kwh} kWh, {amount} som."),
    },
    "station_offline": {
        "ru": ("Станция не на связи", "Станция {serial_number} молчит с {offline_since}."),
        "ky": ("Станция байланышта эмес", "{serial_number} станциясы {offline_since} баштап унчукпайт."),
        "en": ("Station offline", "Station {serial_number} has been silent since {offline_since}."),
    },
    "test": {
        "ru": ("Проверка уведомлений", "Уведомления работают."),
        "ky": ("Билдирмелерди текшерүү", "Билдирмелер иштеп жатат."),
        "en": ("Test notification", "Notifications work."),
    },
}
EVENTS = frozenset(_TEXTS)
# The app's tap handler knows this one word (mobile-api.md §6.3); every other type is its event's name.
_TYPES = {"charging_completed": "charging_complete"}


class _Members(dict[str, Any]):
    """Members for a text; one that an old row does not have leaves a gap instead of a crash."""

    def __missing__(self, _name: str) -> str:
        return "…"


def render(item: OutboxItem, language: str) -> Push:
    """The message of an outbox row.

    Raises:
        KeyError: no such event.
    """
    texts = _TEXTS[item.event]
    title, body = texts[language if language in LANGUAGES else LANGUAGES[0]]
    return Push(
        title=title,
        body=body.format_map(_Members(item.payload)),
        data=data(item.event, item.payload),
        collapse_id=f"evp-{item.id}",
        ttl_s=TTL_S,
    )


def data(event: str, payload: Mapping[str, Any]) -> dict[str, str]:
    """Data members: strings only; the session under both of its names (mobile-api.md §6.3)."""
    members = {name: str(value) for name, value in payload.items() if value is not None}
    if "session_id" in members:
        members["sessionId"] = members["session_id"]
    return {**members, "type": _TYPES.get(event, event), "event": event}
