"""Orders sent a short while ago: what is kept, how much of it, and across a snapshot."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.risk.recent import KEPT, RecentOrders, fingerprint
from crowetrade_agents_tests.risk.values import D, order

sent = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from(["ema", "other", "gone"]), st.integers(0, 50)), max_size=40
)


@given(sent, st.integers(1, 4), st.frozensets(st.sampled_from(["ema", "other"])), st.integers(0, 2000))
def test_it_answers_as_the_whole_list_does(
    given_orders: list[tuple[int, str, int]], lots: int, owners: frozenset[str], since: int
) -> None:
    recent, now, everything = RecentOrders(), 0, []
    for quantity, owner, later in given_orders:
        now += later
        recent.add(order(quantity=D(quantity), strategy=owner), now)
        everything.append((quantity, owner, now))
    restored = RecentOrders.from_message(
        journal_pb2.BookedRecentOrders.FromString(recent.to_message().SerializeToString())
    )
    assert restored == recent
    asked = fingerprint(order(quantity=D(lots)))
    expected = any(quantity == lots and owner in owners and at > since for quantity, owner, at in everything)
    assert recent.sent_since(asked, owners, since) == restored.sent_since(asked, owners, since) == expected


def test_memory_is_bounded_and_what_is_forgotten_is_known() -> None:
    recent = RecentOrders()
    for number in range(KEPT + 3):
        recent.add(order(quantity=D(number + 1)), number + 100)
        recent.add(order(quantity=D(9_999_999)), number + 100)
    message = recent.to_message()
    assert len(message.fingerprints) == KEPT
    # Four others had to go: the one that is sent again and again takes a place.
    assert [recent.knows_since(at) for at in (102, 103, 104)] == [False, True, True]
    assert RecentOrders.from_message(message).knows_since(102) is False
    assert message.ByteSize() < 500_000
