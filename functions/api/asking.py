"""Asking a charger for something in the name of staff: hand the command over, and wait for its end if wanted."""

import asyncio
from typing import Annotated

from fastapi import Query

from evpower.commands import service as commands
from evpower.commands.models import Command
from evpower.db import Conn
from functions.api.deps import Deps
from functions.api.staff import StaffCaller

_POLL_S = 0.2
WaitIn = Annotated[int, Query(ge=0, le=20, description="seconds to wait for the charger's answer")]


async def ask(staff: StaffCaller, deps: Deps, command: Command | None, wait_s: float) -> Command | None:
    """After the commit: send the command; it as it is when it has ended, or when time is up.

    A queue that is away loses nothing, the redelivery sweep sends it again. The row is looked at in short
    transactions: none is held while the charger thinks.
    """
    if command is None:
        return None
    await deps.commands.send(command)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + min(wait_s, deps.settings.command_wait_max_s)

    current = command

    async def look(conn: Conn) -> Command:
        return await commands.get(conn, current.id) or current

    while wait_s > 0:
        current = await staff.run(look)
        if current.status.terminal or loop.time() >= deadline:
            break
        await asyncio.sleep(_POLL_S)
    return current
