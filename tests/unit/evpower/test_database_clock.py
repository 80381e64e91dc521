"""The database's time, kept by the monotonic clock: steps of the machine's own clock do not show."""

from datetime import timedelta

from evpower.clock import DatabaseClock, FrozenClock


def test_it_goes_on_from_what_the_database_said() -> None:
    machine, seconds = FrozenClock(), [50.0]
    clock = DatabaseClock(machine, lambda: seconds[0])
    began = machine.now()
    assert clock.now() == began
    database = began + timedelta(seconds=7)
    clock.set(database, 50)
    seconds[0] = 60
    machine.advance(timedelta(hours=-1))
    assert clock.now() == database + timedelta(seconds=10)


def test_what_the_way_to_the_database_explains_does_not_turn_times_round() -> None:
    machine, seconds = FrozenClock(), [0.0]
    clock = DatabaseClock(machine, lambda: seconds[0])
    clock.set(machine.now(), 0)
    seconds[0] = 10
    before = clock.now()
    clock.set(before - timedelta(milliseconds=300), 10)
    assert clock.now() == before
    clock.set(before - timedelta(hours=1), 10)
    assert clock.now() == before - timedelta(hours=1)
