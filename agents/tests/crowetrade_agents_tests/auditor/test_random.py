"""Long random runs of the real engine under every limit: nobody is accused. A gate that forgets one limit is found by
the auditor, whichever it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from crowetrade_agents.auditor.fleet import Fleet
from crowetrade_agents.risk import rule_reading
from crowetrade_agents.risk.limits import KNOWN
from crowetrade_agents_tests.auditor.forging import NAME
from crowetrade_agents_tests.auditor.random_desk import VALUES, RandomDesk

STEPS = 500


def _run(seed: int, *only: str) -> tuple[RandomDesk, Fleet]:
    desk = RandomDesk(seed, only or tuple(VALUES))
    desk.run(STEPS)
    return desk, desk.audited()


@pytest.mark.parametrize("seed", range(5))
def test_the_real_engine_is_never_accused(seed: int) -> None:
    desk, fleet = _run(seed)

    assert not fleet.findings, fleet.findings[0]
    assert fleet.orders > 20
    kinds = Counter(event.WhichOneof("event") for event in desk.events)
    assert kinds["requests_refused"] > 10
    # What needs prices is judged: they were heard.
    assert len(fleet.unjudged) < fleet.orders // 10
    for (owner, instrument), exposure in desk.books.exposures.items():
        held = fleet.ledgers[NAME].holdings[owner, instrument.symbol]
        counted = (held.position, held.buying, held.selling, held.orders)
        assert counted == (exposure.position, exposure.open_buy, exposure.open_sell, exposure.open_orders)


@pytest.mark.parametrize("limit", VALUES)
def test_each_limit_alone_accuses_nobody(limit: str) -> None:
    for seed in range(100, 102):
        _, fleet = _run(seed, limit)
        assert not fleet.findings, fleet.findings[0]


@pytest.mark.parametrize("limit", VALUES)
def test_a_gate_that_forgets_a_limit_is_found(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    forgetful = replace(KNOWN[limit], compile=lambda value, counted: lambda case: None)
    if forgetful.breach is not None:
        forgetful = replace(forgetful, breach=lambda value, facts, rule, subject: None)
    monkeypatch.setattr(rule_reading, "KNOWN", {**KNOWN, limit: forgetful})

    for seed in range(100, 130):
        _, fleet = _run(seed, limit)
        if fleet.findings:
            assert {finding.limit for finding in fleet.findings} == {limit}
            return
    pytest.fail("nothing was found in 30 runs")
