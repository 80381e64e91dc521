"""Which keys a Redis command names."""

from typing import Any

import pytest
from redis.exceptions import ResponseError

from evpower.redis_healing import is_wrong_type, keys_of


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        (("GET", "evpower:owner:{a}"), ["evpower:owner:{a}"]),
        (("ZADD", "evpower:{connected}", 1.5, "evpower"), ["evpower:{connected}"]),
        (("BLPOP", b"evpower:inbox:{a}", 4.0), ["evpower:inbox:{a}"]),
        # The arguments of a script are no keys, whatever they look like.
        (("EVAL", "return 1", 1, "evpower:owner:{a}", "evpower:5"), ["evpower:owner:{a}"]),
        (("EVALSHA", "abc", "2", "evpower:a", "evpower:b", "x"), ["evpower:a", "evpower:b"]),
        (("EVAL", "return 1", 0, "evpower:5"), []),
        (("GET", "other:key"), []),
        (("PING",), []),
        (("SET", b"\xff\xfe", "x"), []),
    ],
)
def test_only_the_product_s_keys_are_named(command: tuple[Any, ...], keys: list[str]) -> None:
    assert keys_of(command) == keys


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("WRONGTYPE Operation against a key holding the wrong kind of value", True),
        ("WRONGTYPE Operation against a key holding the wrong kind of value script: 1f, on @user_script:2.", True),
        ("ERR value is not an integer or out of range", False),
        ("NOSCRIPT No matching script", False),
    ],
)
def test_other_errors_are_no_wrong_type(text: str, wrong: bool) -> None:
    assert is_wrong_type(ResponseError(text)) is wrong
