"""System routes S1-S4 (mobile-api.md §4.1)."""

from functions.api.schemas.base import Answer, Omit, ResponseModel


class Health(ResponseModel):
    """S1. ``status`` is ``healthy`` or ``unhealthy``."""

    status: str
    service: str
    version: str
    redis: bool
    database: bool
    connected_stations: int


class Readiness(ResponseModel):
    """S2. ``status`` is ``ready`` or ``not_ready``; ``checks`` names each dependency."""

    status: str
    checks: dict[str, bool]


class Version(Answer):
    """S3."""

    version: str
    git_commit: Omit[str] = None
    build_time: Omit[str] = None


class Root(Answer):
    """S4."""

    service: str
    version: str
    endpoints: list[str]
