"""Pauses after refusals and the sizes that are learned from them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain.orders import Side
from crowetrade_agents.roles.refusals import MAX_GROW_AFTER, MAX_PAUSE_NS, MIN_PAUSE_NS, PASSING, Refusals

from ..messages import EUR, EUR_B, EUR_USD, EUR_USD_B, OTHER_VENUE, SECOND_NS, VENUE

BUY, SELL = Side.BUY, Side.SELL
BIG = Decimal(50_000)


def refuse(refusals: Refusals, reason: str = "NoLimitInForce", now_ns: int = 0, quantity: Decimal = BIG) -> bool:
    return refusals.refused(EUR_USD, BUY, quantity, reason, now_ns)


def waits(refusals: Refusals, now_ns: int, quantity: Decimal = BIG) -> bool:
    return refusals.must_wait(EUR, BUY, quantity, now_ns)


def test_the_pause_doubles_from_one_second_to_a_minute() -> None:
    refusals, now_ns = Refusals(slice_to_limits=False), 0
    for seconds in (1, 2, 4, 8, 16, 32, 60, 60):
        assert not waits(refusals, now_ns)
        assert refuse(refusals, now_ns=now_ns)
        assert waits(refusals, now_ns + seconds * SECOND_NS - 1)
        now_ns += seconds * SECOND_NS
    assert not waits(refusals, now_ns)


def test_a_reason_that_passes_waits_a_quarter_second_to_two() -> None:
    refusals, now_ns = Refusals(slice_to_limits=False), 0
    for quarters, reported in ((1, False), (2, False), (4, False), (8, True), (8, True)):
        assert refuse(refusals, "VenueRateLimit", now_ns) == reported
        assert waits(refusals, now_ns + quarters * SECOND_NS // 4 - 1)
        now_ns += quarters * SECOND_NS // 4
        assert not waits(refusals, now_ns)
    assert not refusals.any_lasting


@pytest.mark.parametrize(
    ("reason", "first_pause_ns"),
    [(str(reason), SECOND_NS // 4) for reason in sorted(PASSING)]
    + [
        (reason, SECOND_NS)
        for reason in (
            "MaxOrderQuantity", "MaxOrderNotional", "MaxPositionQuantity", "NoLimitInForce", "UnknownLimit",
            "CloseOnly", "NotSupportedByVenue", "InvalidPrice", "StrategySuspended", "VenueHalted",
            "AReasonOfLaterVersions", "",
        )
    ],
)  # fmt: skip
def test_which_reasons_pass_by_themselves(reason: str, first_pause_ns: int) -> None:
    refusals = Refusals(slice_to_limits=False)
    refuse(refusals, reason)
    assert waits(refusals, first_pause_ns - 1)
    assert not waits(refusals, first_pause_ns)


def test_a_lasting_reason_after_a_passing_one_begins_with_its_own_pause() -> None:
    refusals = Refusals(slice_to_limits=False)
    refuse(refusals, "VenueRateLimit")
    refuse(refusals, "MaxOrderQuantity", SECOND_NS)
    assert waits(refusals, SECOND_NS + MIN_PAUSE_NS - 1)
    assert not waits(refusals, SECOND_NS + MIN_PAUSE_NS)


@pytest.mark.parametrize(
    ("reason", "ends"), [("MaxOrderQuantity", True), ("MaxPositionQuantity", True), ("NoLimitInForce", False)]
)
def test_a_smaller_order_does_not_wait_where_the_reason_is_a_size(reason: str, ends: bool) -> None:
    refusals = Refusals(slice_to_limits=False)
    refuse(refusals, reason)
    refuse(refusals, reason, quantity=Decimal(20_000))
    assert waits(refusals, 1, Decimal(20_000))
    assert waits(refusals, 1, Decimal(19_000)) != ends


@pytest.mark.parametrize("end", ["accepted", "filled", "configuration"])
def test_what_ends_a_pause(end: str) -> None:
    refusals = Refusals(slice_to_limits=False)
    refuse(refusals)
    refusals.refused(EUR_USD_B, BUY, BIG, "NoLimitInForce", 0)
    refusals.refused(EUR_USD, SELL, BIG, "NoLimitInForce", 0)
    if end == "accepted":
        refusals.accepted(EUR_USD, BUY, BIG)
    elif end == "filled":
        refusals.filled(EUR)
    else:
        refusals.configuration_changed(VENUE)
    assert not waits(refusals, 1)
    # Of the other side only the acceptance says nothing, and of another instrument none does.
    assert refusals.must_wait(EUR, SELL, BIG, 1) == (end == "accepted")
    assert refusals.must_wait(EUR_B, BUY, BIG, 1)
    assert refusals.any_lasting


def trade(refusals: Refusals, limit: int, wanted: int, orders: int, reason: str = "MaxOrderQuantity") -> list[int]:
    """Quantities sent while the limit lets `limit` pass; each is answered at once, no time goes by."""
    sent = []
    for _ in range(orders):
        cap = refusals.cap(EUR)
        quantity = Decimal(wanted) if cap is None else min(Decimal(wanted), cap)
        if refusals.must_wait(EUR, BUY, quantity, 0):
            break
        sent.append(int(quantity))
        if quantity > limit:
            refusals.refused(EUR_USD, BUY, quantity, reason, 0)
        else:
            refusals.accepted(EUR_USD, BUY, quantity)
    return sent


@pytest.mark.parametrize("reason", ["MaxOrderQuantity", "MaxOrderNotional"])
def test_a_slice_is_halved_until_it_passes_and_then_kept(reason: str) -> None:
    assert trade(Refusals(slice_to_limits=True), 10_000, 50_000, 8, reason) == [50_000, 25_000, 12_000, *[6000] * 5]


def test_a_larger_slice_is_tried_more_and_more_rarely() -> None:
    sent = trade(Refusals(slice_to_limits=True), 7000, 50_000, 3000)
    refused = [index for index, quantity in enumerate(sent) if quantity > 7000]
    # 50000, 25000 and 12000 at once; 6000 grows to 7000; 8000 is tried after 20, 40, 80, ... further orders.
    assert [sent[index] for index in refused] == [50_000, 25_000, 12_000, *[8000] * (len(refused) - 3)]
    assert len(refused) < 12
    assert sent[-1] == 7000


def test_a_limit_that_was_raised_is_found_again() -> None:
    refusals = Refusals(slice_to_limits=True)
    trade(refusals, 7000, 50_000, 100)
    assert trade(refusals, 10**9, 50_000, 4000)[-1] == 50_000


def test_another_configuration_forgets_the_size() -> None:
    refusals = Refusals(slice_to_limits=True)
    trade(refusals, 7000, 50_000, 10)
    refusals.configuration_changed(OTHER_VENUE)
    assert refusals.cap(EUR) == 6000
    refusals.configuration_changed(VENUE)
    assert refusals.cap(EUR) is None


@pytest.mark.parametrize(
    ("slices", "limit", "reason"),
    [(True, 999, "MaxOrderQuantity"), (True, 10_000, "MaxPositionQuantity"), (False, 10_000, "MaxOrderQuantity")],
    ids=["no lot passes", "not for the order's size", "not asked for"],
)
def test_what_cannot_be_sliced_waits(slices: bool, limit: int, reason: str) -> None:
    refusals = Refusals(slice_to_limits=slices)
    sent = trade(refusals, limit, 50_000, 100, reason)
    assert len(sent) < 8
    assert waits(refusals, 1)
    assert refusals.cap(EUR) is None


@given(limit=st.integers(1000, 10**6), wanted=st.integers(1, 2000), orders=st.integers(1, 600))
def test_slices_are_whole_lots_deterministic_and_seldom_refused(limit: int, wanted: int, orders: int) -> None:
    first = trade(Refusals(slice_to_limits=True), limit, wanted * 1000, orders)
    assert first == trade(Refusals(slice_to_limits=True), limit, wanted * 1000, orders)
    assert all(quantity % 1000 == 0 and quantity >= 1000 for quantity in first)
    # Halving takes at most 11 steps from 2,000,000 to 1,000; growing fails after 20, 40, 80, ... orders.
    assert sum(quantity > limit for quantity in first) <= 11 + 6
    assert MAX_GROW_AFTER > 600


@given(st.lists(st.integers(0, 200 * SECOND_NS), min_size=1, max_size=30))
def test_no_pause_is_longer_than_the_longest(moves: list[int]) -> None:
    refusals, now_ns = Refusals(slice_to_limits=False), 0
    for move in moves:
        now_ns += move
        refuse(refusals, now_ns=now_ns)
        assert waits(refusals, now_ns)
        assert not waits(refusals, now_ns + MAX_PAUSE_NS)


def test_while_close_only_an_order_that_only_reduces_is_tried_when_it_is_smaller_than_what_was_refused() -> None:
    refusals = Refusals(slice_to_limits=False)
    assert not refusals.reduce_only(EUR, 0)
    refuse(refusals, "CloseOnly")
    assert refusals.reduce_only(EUR, MIN_PAUSE_NS - 1)
    assert not refusals.reduce_only(EUR, MIN_PAUSE_NS)
    assert not refusals.reduce_only(EUR_B, 0)
    smaller = BIG - 1000
    assert not refusals.must_wait(EUR, BUY, smaller, 0, reduces=True)
    assert refusals.must_wait(EUR, BUY, BIG, 0, reduces=True)
    assert refusals.must_wait(EUR, BUY, smaller, 0)
    refuse(refusals, "NoLimitInForce")
    assert not refusals.reduce_only(EUR, 0)
    assert refusals.must_wait(EUR, BUY, smaller, 0, reduces=True)
