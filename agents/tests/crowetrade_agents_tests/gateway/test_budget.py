"""The venue's own rate: what may leave when."""

from __future__ import annotations

import pytest

from crowetrade_agents.gateway.budget import SECOND_NS, TokenBucket

# (when, may one more leave?) for 2 per second, of which 3 are kept; times in quarters of a second from the first.
CASES: dict[str, list[tuple[int, bool]]] = {
    "it starts full": [(0, True), (0, True), (0, True), (0, False)],
    "half a second brings one": [(0, True), (0, True), (0, True), (1, False), (2, True), (2, False)],
    "no more is kept than the burst": [(0, True), (99, True), (99, True), (99, True), (99, False)],
    "a part of one is kept": [(0, True), (0, True), (0, True), (3, True), (3, False), (4, True)],
    "a clock that goes back brings nothing, twice over": [
        (4, True),
        (4, True),
        (4, True),
        (0, False),
        (3, False),
        (5, False),
        (6, True),
    ],
}


@pytest.mark.parametrize("what", CASES)
@pytest.mark.parametrize("start_ns", [0, 1_700_000_000 * SECOND_NS])
def test_what_may_leave(what: str, start_ns: int) -> None:
    bucket = TokenBucket(2, 3)

    found = [bucket.take(start_ns + quarter * SECOND_NS // 4) for quarter, _ in CASES[what]]

    assert found == [expected for _, expected in CASES[what]]
