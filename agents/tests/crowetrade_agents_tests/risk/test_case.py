"""The sums that the account keeps say the same as each owner's exposure."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain.orders import Side
from crowetrade_agents.risk.case import Sums, alone
from crowetrade_agents.risk.facts import Account, Exposure
from crowetrade_agents_tests.risk.values import EUR, JPY, facts

OWNERS = ("", "ema", "pair", "gone", "beta")
UNITS = st.integers(0, 10**6).map(Decimal)
EXPOSURES = st.builds(Exposure, st.integers(-(10**6), 10**6).map(Decimal), UNITS, UNITS)


@given(
    held=st.dictionaries(st.sampled_from(OWNERS), EXPOSURES),
    counted=st.frozensets(st.sampled_from((*OWNERS, "new")), min_size=1),
    side=st.sampled_from(Side),
)
def test_a_worst_case_is_that_of_each_owner_counted(
    held: dict[str, Exposure], counted: frozenset[str], side: Side
) -> None:
    total = Exposure(
        sum((item.position for item in held.values()), Decimal(0)),
        sum((item.open_buy for item in held.values()), Decimal(0)),
        sum((item.open_sell for item in held.values()), Decimal(0)),
    )
    known = facts(
        exposures={(owner, EUR): exposure for owner, exposure in held.items()},
        account={EUR: Account(total, frozenset(held))},
    )
    each = [
        item.position + item.open_buy if side is Side.BUY else item.position - item.open_sell
        for owner, item in held.items()
        if owner in counted
    ]

    assert Sums(known).worst_case(counted, EUR, side) == sum(each)
    asked_often = Sums(known)
    others = frozenset(OWNERS) - counted
    answers = [asked_often.worst_case(who, EUR, which) for who in (counted, others) for which in (*Side, *Side)]
    assert answers == [Sums(known).worst_case(who, EUR, which) for who in (counted, others) for which in (*Side, *Side)]
    known.account = {}
    assert Sums(known).worst_case(counted, EUR, side) == sum(each)


def test_the_same_sums_answer_every_question() -> None:
    sums = Sums(
        facts(
            exposures={
                ("ema", EUR): Exposure(Decimal(100), Decimal(20), Decimal(3)),
                ("beta", EUR): Exposure(Decimal(-7), Decimal(1), Decimal(2)),
                ("ema", JPY): Exposure(Decimal(5), Decimal(0), Decimal(50)),
            }
        )
    )
    ema, both = alone("ema"), frozenset({"ema", "beta"})
    assert (ema, alone("beta"), alone("ema")) == (frozenset({"ema"}), frozenset({"beta"}), ema)
    for _ in range(2):
        assert [sums.worst_case(who, EUR, side) for who in (ema, both) for side in Side] == [120, 97, 114, 88]
        assert [sums.worst_case(ema, JPY, side) for side in Side] == [5, -45]
        assert [sums.largest(who, what) for who in (ema, both) for what in (EUR, JPY)] == [120, 45, 114, 45]
