"""Sums of what several strategies have done equal what is added up from nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.risk.standing import Tallies, Tally

NAMES = ("alpha", "beta", "gamma")
GROUPS = (frozenset(NAMES), frozenset({"alpha"}), frozenset({"alpha", "beta"}), frozenset[str]())
counts = st.integers(0, 3)
changes = st.tuples(st.sampled_from(NAMES), st.sampled_from(("add", "took", "ask")), counts, counts, counts)


@given(st.lists(changes, max_size=60))
def test_sums_follow_every_change(happened: list[tuple[str, str, int, int, int]]) -> None:
    tallies = Tallies()
    for number, (name, what, messages, executions, rejects) in enumerate(happened):
        if what == "add":
            tallies.add(name, messages, executions, rejects)
        elif what == "took":
            tallies.took(name)
            assert name not in tallies or tallies[name].rejects == 0
        else:
            tallies.of(GROUPS[number % len(GROUPS)])
    for group in GROUPS:
        counted = [tally for name, tally in tallies.items() if name in group]
        assert tallies.of(group) == Tally(
            sum(tally.messages for tally in counted),
            sum(tally.executions for tally in counted),
            sum(tally.rejects for tally in counted),
        )
