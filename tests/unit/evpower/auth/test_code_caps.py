"""Caps on login codes: what strangers can make us pay, and that they keep no client out."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evpower.auth.code_caps import DAY_S, HOUR_S, caps, is_served, prefix_of
from evpower.auth.rate_limit import LocalCounter
from evpower.config import Settings

START = datetime(2026, 3, 11, 0, 0, tzinfo=UTC)
SMALL = Settings(
    otp_sends_per_address_per_hour=4,
    otp_sends_per_prefix_per_hour=6,
    otp_sends_per_prefix_per_day=20,
    otp_sends_per_hour=10,
    otp_sends_per_day=30,
)


@pytest.mark.parametrize(
    ("countries", "served", "refused"),
    [
        ("996", ["+996700000001", "+996312000001"], ["+77010000001", "+447700900001", "+9967", "+99570000001"][:2]),
        (" 996, +7 ", ["+996700000001", "+77010000001"], ["+447700900001", "+8613800000001"]),
        ("1876", ["+18765550100"], ["+12025550100"]),
    ],
)
def test_countries(countries: str, served: list[str], refused: list[str]) -> None:
    settings = Settings(sms_countries=countries)
    assert all(is_served(phone, settings) for phone in served)
    assert not any(is_served(phone, settings) for phone in refused)


def test_kyrgyzstan_alone_by_default() -> None:
    assert Settings().sms_country_codes == ("996",)


@pytest.mark.parametrize("countries", ["", " , ", "KG", "0996", "996;7", "*", "９９６"])
def test_a_list_that_cannot_be_meant_is_refused(countries: str) -> None:
    with pytest.raises(ValidationError, match="SMS_COUNTRIES"):
        Settings(sms_countries=countries)


def test_what_a_code_counts_in() -> None:
    found = caps("+996700123456", "198.51.100.1", SMALL)
    assert prefix_of("+996700123456") == "+996700"
    assert [(cap.kind, cap.limit, cap.for_strangers, cap.window_s) for cap in found] == [
        ("address", 8, 4, HOUR_S),
        ("prefix", 6, 3, HOUR_S),
        ("prefix", 20, 10, DAY_S),
        ("network", 10, 5, HOUR_S),
        ("network", 30, 15, DAY_S),
    ]
    for cap in found:
        everybody, strangers = cap.buckets(is_client=False)
        assert cap.buckets(is_client=True) == (everybody,)
        assert (everybody.limit, strangers.limit) == (cap.limit, cap.for_strangers)
        assert everybody.name != strangers.name


class Sender:
    """The order of evpower.auth.login, over the counter of one process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._counter = LocalCounter()

    def send(self, phone: str, address: str, now: datetime, *, is_client: bool) -> bool:
        found = caps(phone, address, self._settings)
        buckets = [bucket for cap in found for bucket in cap.buckets(is_client=is_client)]
        return all(count.has_room for count in self._counter.hit_all(buckets, now))


requests = st.lists(
    st.tuples(
        st.booleans(),  # a client asks
        st.integers(0, 3),  # range of numbers
        st.integers(0, 5),  # address
        st.sampled_from([0, 0, 0, 5, 60, 700, 3600, 20_000, 86_400]),  # seconds since the last one
    ),
    max_size=150,
)


@given(requests)
def test_no_cap_is_ever_passed(asked: list[tuple[bool, int, int, int]]) -> None:
    sender, now = Sender(SMALL), START
    sent: dict[tuple[str, int, int], list[bool]] = defaultdict(list)
    for is_client, number_range, address, pause in asked:
        now += timedelta(seconds=pause)
        phone = f"+99670{number_range}000001"
        if sender.send(phone, str(address), now, is_client=is_client):
            for cap in caps(phone, str(address), SMALL):
                kind = f"{cap.kind}{cap.of}"
                sent[kind, cap.window_s, int(now.timestamp()) // cap.window_s].append(is_client)
                found = sent[kind, cap.window_s, int(now.timestamp()) // cap.window_s]
                assert len(found) <= cap.limit
                assert found.count(False) <= cap.for_strangers


@given(requests)
def test_strangers_keep_no_client_out(asked: list[tuple[bool, int, int, int]]) -> None:
    """Whatever strangers ask for, clients get all that is kept for them: from any address, in any range."""
    sender, now = Sender(SMALL), START
    for _, number_range, address, pause in asked:
        now += timedelta(seconds=pause)
        sender.send(f"+99670{number_range}000001", str(address), now, is_client=False)
    kept = SMALL.otp_sends_per_prefix_per_hour - caps("+996700000001", "0", SMALL)[1].for_strangers
    for number in range(kept):
        assert sender.send(f"+9967000000{number:02d}", "0", now, is_client=True), number


@given(st.integers(0, 5))
def test_clients_leave_strangers_their_part(clients: int) -> None:
    sender = Sender(SMALL)
    for number in range(clients):
        assert sender.send(f"+99655{number}000001", str(number), START, is_client=True)
    got = [sender.send(f"+99670{n}000001", str(n), START, is_client=False) for n in range(8)]
    assert got == [True] * 5 + [False] * 3


@given(st.integers(0, 2000), st.integers(1, 500))
def test_one_attacker_with_many_numbers_and_addresses(numbers: int, addresses: int) -> None:
    """The product's own figures: he gets half of an hour's codes, and a client gets one."""
    settings = Settings()
    sender = Sender(settings)
    got = sum(
        sender.send(f"+996{700 + number % 90}{number:06d}", f"198.51.100.{number % addresses}", START, is_client=False)
        for number in range(numbers)
    )
    assert got <= settings.otp_sends_per_hour / 2
    assert sender.send("+996700999999", "198.51.100.0", START, is_client=True)


@given(st.integers(1, 5000), st.floats(0, 1))
def test_the_share_of_clients(limit: int, share: float) -> None:
    settings = Settings(otp_sends_per_hour=limit, otp_share_kept_for_clients=share)
    cap = caps("+996700000001", "", settings)[3]
    assert 0 <= cap.for_strangers <= cap.limit == limit
    assert cap.limit - cap.for_strangers >= limit * share
