"""Planning of local list updates: whatever is wanted and held, the charger ends up with what is wanted."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evpower.local_list import plan
from evpower.local_list.models import Card, Content, Limits, UpdateType
from infra.local.simulator.local_list import LocalList

NOW = datetime(2026, 6, 1, tzinfo=UTC)
_tags = st.text(alphabet="ABC123", min_size=1, max_size=3)
_words = st.sampled_from(["Accepted", "Blocked", "Expired"])


def _content(words: dict[str, str]) -> Content:
    return {tag: {"idTag": tag.lower(), "idTagInfo": {"status": word}} for tag, word in words.items()}


contents = st.dictionaries(_tags, _words, max_size=12).map(_content)


@given(wanted=contents, held=contents, full=st.booleans(), longest=st.integers(1, 5), version=st.integers(0, 9))
def test_the_charger_ends_up_with_what_is_wanted(
    wanted: Content, held: Content, full: bool, longest: int, version: int
) -> None:
    charger = LocalList(version, {tag.lower(): item["idTagInfo"]["status"] for tag, item in held.items()})
    parts = plan.update(wanted, held, full=full, after_version=version, longest=longest)
    kept = held
    for number, part in enumerate(parts, 1):
        assert part.list_version == version + number
        assert len(part.entries) <= longest
        request = {
            "listVersion": part.list_version,
            "updateType": part.update_type.value,
            "localAuthorizationList": part.entries,
        }
        assert charger.update(request, longest) == "Accepted"
        kept = plan.applied(kept, part.update_type, part.entries)
    assert charger.statuses == {tag.lower(): item["idTagInfo"]["status"] for tag, item in wanted.items()}
    assert kept == wanted
    assert [part.update_type for part in parts].count(UpdateType.FULL) == (1 if full else 0)
    if not full:
        assert bool(parts) is (wanted != held)


def test_tags_that_go_are_sent_first() -> None:
    held, wanted = _content({"A": "Accepted", "B": "Accepted"}), _content({"A": "Blocked", "C": "Accepted"})
    assert [item["idTag"] for item in plan.changes(wanted, held)] == ["b", "a", "c"]
    assert plan.changes(wanted, held)[0] == {"idTag": "b"}


def _card(**values: Any) -> Card:
    base: dict[str, Any] = {
        "id_tag": "Card-1",
        "status": "active",
        "expires_at": None,
        "parent_id_tag": None,
        "is_open": True,
    }
    return Card(**{**base, **values})


def test_what_the_list_says_of_a_card() -> None:
    assert plan.item_of(_card(), NOW) == {"idTag": "Card-1", "idTagInfo": {"status": "Accepted"}}
    assert plan.item_of(_card(status="blocked"), NOW)["idTagInfo"] == {"status": "Blocked"}
    assert plan.item_of(_card(is_open=False), NOW)["idTagInfo"] == {"status": "Blocked"}
    late = _card(expires_at=NOW, parent_id_tag="FLEET")
    info = {"status": "Expired", "expiryDate": "2026-06-01T00:00:00.000Z", "parentIdTag": "FLEET"}
    assert plan.item_of(late, NOW)["idTagInfo"] == info
    assert plan.is_accepted(plan.item_of(late, NOW - timedelta(seconds=1)))


def test_bounds_come_from_the_chargers_configuration() -> None:
    told = {"localauthlistmaxlength": "500", "sendlocallistmaxlength": " 0 ", "localauthlistenabled": "True"}
    assert plan.limits(told) == Limits(500, 0, True)
    assert plan.limits(told).longest_part == 1
    assert plan.limits({"sendlocallistmaxlength": "5000"}).longest_part == 200
    unknown = plan.limits({"localauthlistmaxlength": "many"})
    assert (unknown.longest_list, unknown.longest_part, unknown.enabled_at_charger) == (1000, 20, None)
