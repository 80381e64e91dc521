"""A setting that a charger does not keep is tried a few times and then left."""

from hypothesis import given
from hypothesis import strategies as st

from evpower.stations.disputes import MAX_ATTEMPTS, Dispute, Step, next_step


def play(shown: list[tuple[str, str, bool]]) -> list[Step]:
    """Steps at boots that show (value, wanted, readonly); what is kept in between is as the service keeps it."""
    known: Dispute | None = None
    steps = []
    for value, wanted, readonly in shown:
        if value == wanted:
            known = None
            continue
        step = next_step(known, wanted, readonly=readonly)
        attempts = known.attempts if known is not None and known.wanted == wanted else 0
        if step is not Step.LEAVE:
            known = Dispute(wanted, attempts + (step is Step.SET), given_up=step is Step.GIVE_UP)
        steps.append(step)
    return steps


def test_it_reverts_at_every_boot() -> None:
    steps = play([("60", "10", False)] * 10)
    assert steps == [Step.SET] * MAX_ATTEMPTS + [Step.GIVE_UP] + [Step.LEAVE] * (9 - MAX_ATTEMPTS)


def test_a_read_only_key_is_never_set_and_reported_once() -> None:
    assert play([("60", "10", True)] * 3) == [Step.GIVE_UP, Step.LEAVE, Step.LEAVE]


def test_another_wish_is_another_matter() -> None:
    steps = play([("60", "10", False)] * 5 + [("60", "30", False)])
    assert steps[-2:] == [Step.LEAVE, Step.SET]


def test_what_was_kept_once_may_be_set_again() -> None:
    assert play([("60", "10", False), ("10", "10", False)] * 20) == [Step.SET] * 20


boots = st.lists(st.tuples(st.sampled_from(["10", "60"]), st.just("10"), st.booleans()), max_size=40)


@given(shown=boots)
def test_never_more_than_a_few_attempts_without_a_success(shown: list[tuple[str, str, bool]]) -> None:
    in_a_row = reports = 0
    for boot in range(1, len(shown) + 1):
        if shown[boot - 1][0] == "10":
            in_a_row = reports = 0
            continue
        last = play(shown[:boot])[-1]
        in_a_row += last is Step.SET
        reports += last is Step.GIVE_UP
        assert in_a_row <= MAX_ATTEMPTS
        assert reports <= 1
