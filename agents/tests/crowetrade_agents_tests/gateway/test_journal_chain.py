"""Any change to a journal is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade.bus.v1 import orders_pb2
from crowetrade_agents.errors import JournalCorrupt
from crowetrade_agents.gateway.journal import digest, verify
from crowetrade_agents.gateway.rate import SECOND_NS, TokenBucket


def chain(count: int) -> list[bytes]:
    payloads: list[bytes] = []
    for number in range(1, count + 1):
        event = orders_pb2.JournalEvent(
            sequence=number,
            recorded_unix_ns=number,
            previous_hash=digest(payloads[-1]) if payloads else b"",
            session_started=orders_pb2.SessionStarted(pod=f"p{number}", fencing_token=number),
        )
        payloads.append(event.SerializeToString(deterministic=True))
    return payloads


@given(st.integers(0, 12))
def test_an_untouched_journal_verifies(count: int) -> None:
    assert [event.sequence for event in verify(chain(count))] == list(range(1, count + 1))


@given(st.integers(2, 8), st.data())
def test_a_changed_byte_before_the_end_is_found(count: int, data: st.DataObject) -> None:
    payloads = chain(count)
    place = data.draw(st.integers(0, count - 2))
    byte = data.draw(st.integers(0, len(payloads[place]) - 1))
    changed = bytearray(payloads[place])
    changed[byte] ^= data.draw(st.integers(1, 255))
    payloads[place] = bytes(changed)
    with pytest.raises(JournalCorrupt):
        verify(payloads)


@given(st.integers(2, 8), st.data())
def test_a_lost_or_swapped_event_is_found(count: int, data: st.DataObject) -> None:
    payloads = chain(count)
    place = data.draw(st.integers(0, count - 2))
    swapped = [*payloads[:place], payloads[place + 1], payloads[place], *payloads[place + 2 :]]
    with pytest.raises(JournalCorrupt):
        verify(swapped)
    with pytest.raises(JournalCorrupt):
        verify([*payloads[:place], *payloads[place + 1 :]])


@given(st.lists(st.integers(0, SECOND_NS), max_size=60))
def test_no_window_of_a_second_holds_more_than_burst_and_rate(pauses: list[int]) -> None:
    bucket, now, taken = TokenBucket(3, 5), 0, []
    for pause in pauses:
        now += pause
        if bucket.take(now):
            taken.append(now)
    for start in taken:
        assert sum(1 for at in taken if start <= at < start + SECOND_NS) <= 5 + 3


def test_a_clock_that_goes_back_gives_no_tokens() -> None:
    bucket = TokenBucket(1, 1)
    assert bucket.take(10 * SECOND_NS)
    assert not bucket.take(5 * SECOND_NS)
    assert bucket.take(11 * SECOND_NS)
