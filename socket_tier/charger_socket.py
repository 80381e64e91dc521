"""A charger's connection as the loops of an instance see it."""

from socket_tier.connection import ChargerConnection
from socket_tier.tier_socket import TierSocket


class ChargerSocket:
    """A charger's connection as :mod:`socket_tier.liveness` sees it."""

    __slots__ = ("answers_pings", "connection", "last_ping", "socket")

    def __init__(self, socket: TierSocket, connection: ChargerConnection) -> None:
        self.socket = socket
        self.connection = connection
        self.answers_pings = connection.charger.admission.answers_pings
        self.last_ping = 0.0

    @property
    def station_id(self) -> str:
        return self.connection.station_id

    @property
    def last_seen(self) -> float:
        return self.connection.last_seen

    async def ping(self) -> None:
        await self.socket.ping()

    async def close(self, code: int, reason: str) -> None:
        await self.connection.close(code, reason)
