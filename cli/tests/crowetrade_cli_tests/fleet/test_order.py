"""Which of two scopes of a KillSwitch is wider."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_cli.fleet.order import covers, whom

Scope = dict[str, Any]
EVERYTHING: Scope = {}
STORED: Scope = {"strategySelector": {}, "venueSelector": {}, "namespaces": {"from": "Same", "selector": {}}}
EVERYWHERE: Scope = {"namespaces": {"from": "All"}}
LIVE: Scope = {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"env": "live"}}}}
LIVE_US: Scope = {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"env": "live", "at": "us"}}}}
FX: Scope = {"strategySelector": {"matchLabels": {"desk": "fx"}}}
FX_EVERYWHERE: Scope = FX | EVERYWHERE
FX_FAST: Scope = {
    "strategySelector": {
        "matchLabels": {"desk": "fx"},
        "matchExpressions": [{"key": "speed", "operator": "In", "values": ["fast", "faster"]}],
    }
}
CME: Scope = {"venueSelector": {"matchLabels": {"at": "cme"}}}
UNREADABLE: Scope = {"namespaces": {"from": "Some"}}


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (EVERYTHING, STORED),
        (STORED, EVERYTHING),
        (EVERYWHERE, EVERYTHING),
        (EVERYWHERE, LIVE),
        (EVERYWHERE, FX_EVERYWHERE),
        (FX_EVERYWHERE, FX),
        (EVERYTHING, FX),
        (EVERYTHING, CME),
        (FX, FX_FAST),
        (LIVE, LIVE_US),
        (UNREADABLE, EVERYWHERE),
    ],
)
def test_a_wider_scope_covers_a_narrower_one(wide: Scope, narrow: Scope) -> None:
    assert covers(wide, narrow)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (EVERYTHING, EVERYWHERE),
        (EVERYTHING, FX_EVERYWHERE),
        (FX_EVERYWHERE, EVERYTHING),
        (LIVE, EVERYTHING),
        (EVERYTHING, LIVE),
        (LIVE_US, LIVE),
        (FX, CME),
        (FX_FAST, FX),
        (CME, EVERYTHING),
        (EVERYWHERE, UNREADABLE),
    ],
)
def test_a_scope_that_leaves_somebody_out_does_not(one: Scope, other: Scope) -> None:
    assert not covers(one, other)


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        (EVERYTHING, "everything in namespace desk, and in no other one"),
        (EVERYWHERE, "everything in every namespace"),
        (LIVE, "everything in namespaces with env=live, and in no other one"),
        (FX_FAST | CME, "strategies with desk=fx, speed In fast,faster at venues with at=cme in namespace desk, "),
        (UNREADABLE, "everything in every namespace"),
    ],
)
def test_words(scope: Scope, words: str) -> None:
    assert whom(scope, "desk").startswith(words)
