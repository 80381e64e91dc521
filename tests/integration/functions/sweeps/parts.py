"""Ports of the sweeps that remember instead of sending."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from evpower.clock import Clock
from evpower.commands.models import Command
from evpower.commands.queue import CommandMessage
from evpower.config import Settings
from evpower.db import Database
from evpower.realtime.service import Publisher
from evpower.stations.models import StationRef
from functions.sweeps.deps import SweepDeps, build_deps
from tests.fakes.file_store import MemoryFileStore


@dataclass
class Commands:
    sent: list[str] = field(default_factory=list)

    async def send(self, command: Command | CommandMessage) -> None:
        assert isinstance(command, Command)
        self.sent.append(f"{command.action} {command.session_id}")

    async def send_all(self, commands: Iterable[Command | CommandMessage]) -> None:
        for command in commands:
            await self.send(command)


class Live(Publisher):
    def __init__(self) -> None:
        super().__init__(Settings())
        self.changed: list[str] = []

    async def stations_changed(self, stations: Iterable[str | StationRef]) -> None:
        self.changed += [item if isinstance(item, str) else item.station_id for item in stations]


def sweep_deps(
    make_settings: Callable[..., Settings], database: Database, clock: Clock, **settings: object
) -> tuple[SweepDeps, Commands, Live]:
    commands, live = Commands(), Live()
    deps = build_deps(make_settings(**settings), database=database, clock=clock)
    return replace(deps, commands=commands, publisher=live, files=MemoryFileStore(clock)), commands, live
