"""Queue messages of commands: encoding, and message groups that SQS accepts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpower.commands.queue import CommandMessage, UnreadableMessage, group_id

SQS_GROUP = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}")


@given(
    st.text(min_size=1), st.text(min_size=1), st.integers(min_value=1, max_value=10**6), st.none() | st.text(min_size=1)
)
def test_a_message_survives_the_queue(command: str, station: str, attempt: int, correlation: str | None) -> None:
    try:
        (command + station + (correlation or "")).encode()
    except UnicodeEncodeError:
        return  # lone surrogates exist in no id of ours
    message = CommandMessage(command, station, attempt, correlation)
    assert CommandMessage.decode(message.encode()) == message


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "null",
        "[]",
        "7",
        "{}",
        '{"command_id": "c", "station_id": "s"}',
        '{"command_id": 1, "station_id": "s", "attempt": 1}',
        '{"command_id": "c", "station_id": "s", "attempt": "1"}',
    ],
)
def test_anything_else_is_refused(body: str) -> None:
    with pytest.raises(UnreadableMessage):
        CommandMessage.decode(body)


@given(st.text(max_size=300))
def test_every_station_has_a_message_group(station: str) -> None:
    try:
        station.encode()
    except UnicodeEncodeError:
        return
    assert SQS_GROUP.fullmatch(group_id(station))


def test_groups_of_stations_differ() -> None:
    assert group_id("ST-1") == "ST-1"
    assert group_id("станция 1") != group_id("станция 2")
    assert group_id("x" * 200) != group_id("x" * 201)
