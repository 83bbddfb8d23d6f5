"""maxPositionQuantity: per side, with working orders, for reducing orders, alone and together."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade_agents.domain.orders import Side
from crowetrade_agents.risk import gate
from crowetrade_agents.risk.approved import ApprovedOrder
from crowetrade_agents.risk.case import Sums
from crowetrade_agents.risk.facts import Exposure, Proposal
from crowetrade_agents.risk.limits.limit import Use
from crowetrade_agents.risk.limits.max_position_quantity import LIMIT, NAME
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents_tests.risk.values import (
    EUR,
    JPY,
    D,
    case,
    check,
    facts,
    held,
    only_limit,
    order,
    reason,
    rule,
    rules,
)

REFUSED = Reason.MAX_POSITION_QUANTITY


class Row(NamedTuple):
    """A position with working buys and sells; an order of a quantity; whether 20,000 admits a buy, and a sell."""

    position: str
    buys: str
    sells: str
    quantity: str
    buy: bool
    sell: bool


ROWS: dict[str, Row] = {
    "nothing held, at the limit": Row("0", "0", "0", "20000", True, True),
    "nothing held, over the limit": Row("0", "0", "0", "20001", False, False),
    "long below the limit": Row("15000", "0", "0", "5000", True, True),
    "long, one more than the limit": Row("15001", "0", "0", "5000", False, True),
    "short below the limit": Row("-15000", "0", "0", "5000", True, True),
    "short, one more than the limit": Row("-15001", "0", "0", "5000", True, False),
    "working buys count for buys alone": Row("0", "16000", "0", "5000", False, True),
    "working sells count for sells alone": Row("0", "0", "16000", "5000", True, False),
    "working buys do not make room for sells": Row("-16000", "16000", "0", "5000", True, False),
    "working sells do not make room for buys": Row("16000", "0", "16000", "5000", False, True),
    "long above the limit comes down": Row("50000", "0", "0", "5000", False, True),
    "short above the limit comes down": Row("-50000", "0", "0", "5000", True, False),
    "long above the limit comes down to nothing": Row("50000", "0", "0", "50000", False, True),
    "long above the limit may not flip beyond it": Row("50000", "0", "0", "80000", False, False),
    "short above the limit may not flip beyond it": Row("-50000", "0", "0", "80000", False, False),
    "long flips to the limit": Row("15000", "0", "0", "35000", False, True),
    "short flips to the limit": Row("-15000", "0", "0", "35000", True, False),
    "long flips over the limit": Row("15000", "0", "0", "35001", False, False),
    "short flips over the limit": Row("-15000", "0", "0", "35001", False, False),
    "long is worked down already, a flip beyond": Row("50000", "0", "45000", "26000", False, False),
    "long is worked down already, a flip within": Row("50000", "0", "45000", "25000", False, True),
    "long is worked down to beyond the limit on the other side": Row("50000", "0", "75000", "1", False, False),
    "short is worked down already, a flip beyond": Row("-50000", "45000", "0", "26000", False, False),
    "short is worked down already, a flip within": Row("-50000", "45000", "0", "25000", True, False),
}


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("what", ROWS)
def test_each_side(what: str, side: Side) -> None:
    row = ROWS[what]
    judged = case(order(side=side, quantity=D(row.quantity)), facts(exposures=held(row.position, row.buys, row.sells)))
    allowed = row.buy if side is Side.BUY else row.sell
    assert reason(check(LIMIT, D(20_000), judged, rule())) is (None if allowed else REFUSED)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(("leaves", "expected"), [("9000", None), ("9001", REFUSED)])
def test_a_replaced_order_does_not_count_twice(side: Side, leaves: str, expected: Reason | None) -> None:
    """11,000 work: 4,000 of it is the order that shall have 9,000 open."""
    known = facts(exposures=held("4000", buy="11000") if side is Side.BUY else held("-4000", sell="11000"))
    judged = case(order(side=side), known, leaves=leaves, counted="4000")
    assert reason(check(LIMIT, D(20_000), judged, rule())) is expected


TOGETHER = {
    ("ema", EUR): Exposure(D(6000)),
    ("other", EUR): Exposure(D(5000), open_buy=D(1000)),
    ("gone", EUR): Exposure(D(3000)),
    ("", EUR): Exposure(D(1000)),
    ("stranger", EUR): Exposure(D(10**6)),
    ("ema", JPY): Exposure(D(10**6)),
}
MEMBERS = {"desk": frozenset({"ema", "other", "gone", ""})}


@pytest.mark.parametrize(("quantity", "expected"), [("4000", None), ("4001", REFUSED)])
def test_together_counts_members_who_are_deleted_and_the_suspense_account(
    quantity: str, expected: Reason | None
) -> None:
    """6,000 + 5,000 + 1,000 working + 3,000 + 1,000 = 16,000 (finding K2)."""
    known = facts(exposures=TOGETHER, members=MEMBERS)
    judged = case(order(quantity=D(quantity)), known)
    assert reason(check(LIMIT, D(20_000), judged, rule(aggregate_total=True))) is expected


def test_alone_counts_the_owner() -> None:
    judged = case(order(quantity=D(14_000)), facts(exposures=TOGETHER, members=MEMBERS))
    assert check(LIMIT, D(20_000), judged, rule()) is None


def test_together_without_members_counts_the_strategies_of_the_rule_and_always_the_owner() -> None:
    total = rule(aggregate_total=True)
    for members in ({}, {"desk": frozenset({"other"})}):
        judged = case(order(quantity=D(8001)), facts(exposures=TOGETHER, members=members))
        assert reason(check(LIMIT, D(20_000), judged, total)) is REFUSED
        judged = case(order(quantity=D(8000)), facts(exposures=TOGETHER, members=members))
        assert check(LIMIT, D(20_000), judged, total) is None


def test_38_digits_are_exact() -> None:
    position = D("12345678901234567890.123456789012345678")
    for side in Side:
        known = facts(exposures={("ema", EUR): Exposure(position if side is Side.BUY else position.copy_negate())})
        judged = case(order(side=side, quantity=D("0.000000000000000001")), known)
        assert check(LIMIT, position, judged, rule()) is not None
        assert check(LIMIT, D("12345678901234567890.123456789012345679"), judged, rule()) is None


def test_use_is_what_the_check_counts() -> None:
    known = facts(exposures={**TOGETHER, ("other", JPY): Exposure(ZERO, ZERO, D(7)), ("gone", JPY): Exposure()})
    alone = list(LIMIT.use(D(20_000), Sums(known), rule(symbols=["EUR-USD"])))
    assert alone == [
        Use("desk", NAME, "ema/sim-fx/EUR-USD", D(6000), D(20_000)),
        Use("desk", NAME, "other/sim-fx/EUR-USD", D(6000), D(20_000)),
    ]
    known.members = MEMBERS
    together = list(LIMIT.use(D(20_000), Sums(known), rule(aggregate_total=True)))
    assert together == [
        Use("desk", NAME, "sim-fx/EUR-USD", D(16_000), D(20_000)),
        Use("desk", NAME, "sim-fx/USD-JPY", D(10**6), D(20_000)),
    ]


def test_nothing_held_is_no_use() -> None:
    assert list(LIMIT.use(D(1), Sums(facts(exposures=held("0"))), rule())) == []


ZERO = D(0)
OWNERS = ("ema", "other", "gone", "")
actions = st.lists(
    st.tuples(
        st.sampled_from(["order", "order", "order", "replace", "fill", "fill", "cancel"]),
        st.sampled_from(["ema", "other"]),
        st.sampled_from(Side),
        st.integers(2, 25),
        st.integers(0, 10**6),
    ),
    max_size=60,
)


class Naive:
    """An account without shortcuts: positions, and a list of open orders as [owner, side, lots]."""

    def __init__(self, positions: dict[str, int]) -> None:
        self.positions = dict(positions)
        self.open: list[list[object]] = []

    def lots(self, owner: str, side: Side) -> int:
        return sum(int(str(item[2])) for item in self.open if item[0] == owner and item[1] is side)

    def worst(self, group: tuple[str, ...], without: list[object] | None = None) -> list[int]:
        """Signed position in lots if every open buy filled, and if every open sell did; `without` one of them."""
        position = sum(self.positions[owner] for owner in group)
        kept = [item for item in self.open if item is not without and item[0] in group]
        buys = sum(int(str(item[2])) for item in kept if item[1] is Side.BUY)
        sells = sum(int(str(item[2])) for item in kept if item[1] is Side.SELL)
        return [position + buys, position - sells]

    def exposures(self) -> dict[tuple[str, object], Exposure]:
        return {
            (owner, EUR): Exposure(
                D(position * 1000), D(self.lots(owner, Side.BUY) * 1000), D(self.lots(owner, Side.SELL) * 1000)
            )
            for owner, position in self.positions.items()
        }


@settings(deadline=None)
@given(actions, st.booleans(), st.fixed_dictionaries({owner: st.integers(-30, 30) for owner in OWNERS}))
def test_no_sequence_of_approved_orders_leads_beyond_the_limit(
    steps: list[tuple[str, str, Side, int, int]], total: bool, start: dict[str, int]
) -> None:
    """What is above the limit at the start only comes down while the gate approves."""
    naive = Naive(start)
    limits = rules(only_limit(NAME, "20000", aggregate_total=total))
    groups: list[tuple[str, ...]] = [OWNERS] if total else [("ema",), ("other",)]
    for what, owner, side, lots, pick in steps:
        known = facts(rules=limits, exposures=naive.exposures(), members={"desk": frozenset(OWNERS)})
        terms = order(strategy=owner, side=side, quantity=D(lots * 1000))
        chosen = naive.open[pick % len(naive.open)] if naive.open else None
        before = [naive.worst(group, chosen if what == "replace" else None) for group in groups]
        open_before = [list(item) for item in naive.open]
        if what == "order":
            if isinstance(gate.judge_order(Proposal(terms, terms.quantity), known).outcome, ApprovedOrder):
                naive.open.append([owner, side, lots])
        elif chosen is None:
            continue
        elif what == "replace":
            terms = order(strategy=str(chosen[0]), side=chosen[1], quantity=terms.quantity)
            proposal = Proposal(terms, terms.quantity, D(int(str(chosen[2])) * 1000))
            if not isinstance(gate.judge_replace(proposal, "ema-run-1", "", known).outcome, Refusal):
                chosen[2] = lots
        else:
            naive.open.remove(chosen)
            if what == "fill":
                signed = int(str(chosen[2])) * (1 if chosen[1] is Side.BUY else -1)
                naive.positions[str(chosen[0])] += signed
        if what in ("order", "replace") and naive.open != open_before:
            for group, was in zip(groups, before, strict=True):
                for then, now in zip(was, naive.worst(group), strict=True):
                    assert -20 <= now <= 20 or 0 <= now <= then or then <= now <= 0
