"""Keys of a wrong type heal by themselves.

Use case: another program, a test or an operator's hand has left a list where we keep a number. Every command on that
key fails from then on, and to us the server looks as if it were away: for a key without an expiry, for good. What we
keep in Redis can always be missing, so such a key is removed and the command is given once more.
"""

from typing import Any

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import ResponseError

from evpower.logging import get_logger

OURS = "evpower:"
_SCRIPTS = frozenset({"EVAL", "EVALSHA"})

_log = get_logger(__name__)


def keys_of(command: tuple[Any, ...]) -> list[str]:
    """The product's own keys among the arguments of a command."""
    arguments = command[1:]
    if str(command[0]).upper() in _SCRIPTS:
        arguments = command[3 : 3 + int(command[2])]
    texts = [item.decode(errors="replace") if isinstance(item, bytes) else item for item in arguments]
    return [text for text in texts if isinstance(text, str) and text.startswith(OURS)]


def is_wrong_type(error: ResponseError) -> bool:
    """Whether a command, or a command of a script, met a key of another type than it needs."""
    return "WRONGTYPE" in str(error)


class _Healing:
    """Mixed into a client: commands on keys of a wrong type are given again once these keys are gone."""

    async def execute_command(self, *command: Any, **options: Any) -> Any:
        give = super().execute_command  # type: ignore[misc]
        try:
            return await give(*command, **options)
        except ResponseError as error:
            keys = keys_of(command)
            if not keys or not is_wrong_type(error):
                raise
            _log.warning("keys of a wrong type are removed", extra={"keys": keys, "command": str(command[0])})
        for key in keys:  # one by one: a command must keep to one slot of a cluster
            await give("UNLINK", key)
        return await give(*command, **options)


class HealingRedis(_Healing, Redis):  # type: ignore[misc]  # as Redis itself
    """A client of one server."""


class HealingRedisCluster(_Healing, RedisCluster):  # type: ignore[misc]  # as RedisCluster itself
    """A client of a cluster."""
