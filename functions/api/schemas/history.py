"""Statistics of a client (mobile-api.md §4.9 H3)."""

from functions.api.schemas.base import Answer, Kwh, Number, ResponseModel, Som


class ChargingStats(ResponseModel):
    """Over all sessions but failed ones."""

    total_sessions: int
    total_energy_kwh: Kwh
    total_amount: Som
    average_session_minutes: Number


class ChargingStatsAnswer(Answer):
    """H3."""

    stats: ChargingStats
