"""Messages in windows are never more than there were, and fewer by the tolerance at most; in bounded memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.auditor.messages import HORIZON_NS, SECOND, Messages, tolerance_ns

GAPS = st.lists(
    st.tuples(st.one_of(st.integers(0, SECOND), st.integers(0, 4000 * SECOND)), st.integers(1, 3)), max_size=400
)
WINDOWS = st.one_of(st.integers(1, 100 * SECOND), st.integers(1, HORIZON_NS))


@given(GAPS, WINDOWS)
def test_a_count_is_between_the_exact_one_and_the_exact_one_less_the_tolerance(
    gaps: list[tuple[int, int]], window_ns: int
) -> None:
    messages, sent, now = Messages(), [], 1_700_000_000 * SECOND
    messages._compact_at = 32
    for gap, count in gaps:
        now += gap
        messages.add(now, count)
        sent += [now] * count

    found = messages.after(now - window_ns)

    exact = sum(at > now - window_ns for at in sent)
    certain = sum(at > now - window_ns + tolerance_ns(window_ns) for at in sent)
    assert certain <= found <= exact


def test_memory_is_bounded() -> None:
    messages = Messages()
    for number in range(400_000):
        messages.add(number * SECOND // 3)
    assert messages.buckets < 25_000
    assert messages.after(400_000 * SECOND // 3 - 10 * SECOND) >= 29
