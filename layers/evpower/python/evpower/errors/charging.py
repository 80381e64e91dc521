"""Stations, connectors, sessions and the money to start one."""

from evpower.errors.base import Declared, error


class StationNotFound(
    Declared,
    spec=error("station_not_found", 404, "Станция не найдена.", "Станция табылган жок.", "Station not found."),
):
    """Unknown or inactive station."""


class StationMaintenance(
    Declared,
    spec=error(
        "station_maintenance", 409, "Станция на обслуживании.", "Станция тейлөөдө.", "The station is under maintenance."
    ),
):
    """Administrative status ``maintenance``."""


class StationOffline(
    Declared,
    spec=error("station_offline", 409, "Станция не на связи.", "Станция байланышта эмес.", "The station is offline."),
):
    """Not seen for longer than STATION_OFFLINE_AFTER_S."""


class StationUnavailable(
    Declared,
    spec=error(
        "station_unavailable", 409, "Станция недоступна.", "Станция жеткиликсиз.", "The station is unavailable."
    ),
):
    """The station does not take charging sessions now (not admitted, or connector 0 unavailable)."""


class ConnectorNotFound(
    Declared,
    spec=error("connector_not_found", 404, "Разъём не найден.", "Туташтыргыч табылган жок.", "Connector not found."),
):
    """The station has no such connector number."""


class ConnectorOccupied(
    Declared,
    spec=error("connector_occupied", 409, "Разъём занят.", "Туташтыргыч бош эмес.", "The connector is occupied."),
):
    """Another session, or the charger says so."""


class ConnectorFaulted(
    Declared,
    spec=error("connector_faulted", 409, "Разъём неисправен.", "Туташтыргыч бузук.", "The connector is faulted."),
):
    """The charger reported Faulted."""


class ConnectorUnavailable(
    Declared,
    spec=error(
        "connector_unavailable", 409, "Разъём недоступен.", "Туташтыргыч жеткиликсиз.", "The connector is unavailable."
    ),
):
    """The charger reported Unavailable."""


class SessionNotFound(
    Declared,
    spec=error("session_not_found", 404, "Сессия не найдена.", "Сессия табылган жок.", "Session not found."),
):
    """No such session."""


class SessionAlreadyActive(
    Declared,
    spec=error(
        "session_already_active",
        409,
        "У вас уже есть активная зарядка.",
        "Сизде активдүү кубаттоо бар.",
        "You already have an active charging session.",
    ),
):
    """One live session per client."""


class InsufficientBalance(
    Declared,
    spec=error(
        "insufficient_balance",
        402,
        "Недостаточно средств на балансе.",
        "Баланста каражат жетишсиз.",
        "Not enough money on the balance.",
    ),
):
    """``details``: current_balance, required_amount (som)."""


class ChargingLimitExceeded(
    Declared,
    spec=error(
        "charging_limit_exceeded",
        422,
        "Превышен предел зарядки.",
        "Кубаттоо чегинен ашты.",
        "The charging limit is too high.",
    ),
):
    """Energy or amount limit above what the contract allows."""
