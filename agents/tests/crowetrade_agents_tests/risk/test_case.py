"""The sums that the account keeps say the same as each owner's exposure."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain.orders import Side
from crowetrade_agents.risk.case import Sums
from crowetrade_agents.risk.facts import Account, Exposure
from crowetrade_agents_tests.risk.values import EUR, facts

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
    known.account = {}
    assert Sums(known).worst_case(counted, EUR, side) == sum(each)
