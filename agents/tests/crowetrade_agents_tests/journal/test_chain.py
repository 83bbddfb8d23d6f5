"""Any change to a journal is found, and what is sealed follows."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade_agents.errors import JournalCorrupt
from crowetrade_agents.journal.chain import MAX_RECORD_BYTES, Chain, batches, seal
from crowetrade_agents.journal.port import JournalHead

from .values import NOW, journal_of, submissions, submitted

SIZES = st.lists(st.integers(1, 4), min_size=2, max_size=6)


def follow(payloads: list[bytes], chain: Chain | None = None) -> tuple[list[pb.JournalEvent], JournalHead]:
    chain = chain or Chain()
    events = [event for payload in payloads for event in chain.follow(payload)]
    return events, chain.head


@settings(deadline=None)
@given(st.lists(st.integers(1, 4), max_size=6))
def test_an_untouched_journal_gives_back_its_events(sizes: list[int]) -> None:
    payloads, heads = journal_of(sizes)
    events, head = follow(payloads)
    assert events == submissions(1, sum(sizes))
    assert head == (heads[-1] if heads else JournalHead())


def test_each_record_carries_the_sha256_of_the_bytes_before_it() -> None:
    payloads, heads = journal_of([1, 3, 2])
    records = [pb.JournalRecord.FromString(payload) for payload in payloads]
    assert [record.first_sequence for record in records] == [1, 2, 5]
    assert [record.previous_hash for record in records] == [b"", *(hashlib.sha256(p).digest() for p in payloads[:-1])]
    assert heads[-1] == JournalHead(6, hashlib.sha256(payloads[-1]).digest())


@settings(deadline=None)
@given(SIZES, st.data())
def test_a_changed_byte_is_found(sizes: list[int], data: st.DataObject) -> None:
    payloads, heads = journal_of(sizes)
    place = data.draw(st.integers(0, len(payloads) - 1))
    byte = data.draw(st.integers(0, len(payloads[place]) - 1))
    changed = bytearray(payloads[place])
    changed[byte] ^= data.draw(st.integers(1, 255))
    payloads[place] = bytes(changed)
    try:
        _, head = follow(payloads)
    except JournalCorrupt:
        return
    # Only in the last record, which no other follows: it shows in the head, which the operator has on record.
    assert place == len(payloads) - 1
    assert head != heads[-1]


@settings(deadline=None)
@given(SIZES, st.data())
def test_a_dropped_swapped_or_repeated_record_is_found(sizes: list[int], data: st.DataObject) -> None:
    payloads, _ = journal_of(sizes)
    place = data.draw(st.integers(0, len(payloads) - 2))
    before, here, after, rest = payloads[:place], payloads[place], payloads[place + 1], payloads[place + 2 :]
    for wrong in ([*before, after, *rest], [*before, after, here, *rest], [*before, here, here, after, *rest]):
        with pytest.raises(JournalCorrupt):
            follow(wrong)


@pytest.mark.parametrize("place", range(6))
def test_a_record_of_another_journal_is_found(place: int) -> None:
    payloads, _ = journal_of([2] * 6)
    others, _ = journal_of([2] * 6, tokens=[2] * 6)
    payloads[place] = others[place]
    with pytest.raises(JournalCorrupt, match="hashes differ"):
        follow(payloads)


def record(**fields: object) -> bytes:
    values: dict[str, object] = {
        "first_sequence": 3,
        "previous_hash": journal_of([2])[1][-1].record_hash,
        "fencing_token": 1,
        "events": [submitted(3)],
    }
    return pb.JournalRecord(**{**values, **fields}).SerializeToString()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (b"\xff", "the record after event 2 cannot be decoded"),
        (record(events=[]), "the record after event 2 holds no event"),
        (record(events=[pb.JournalEvent(at_unix_ns=1)]), "event 3 is of a kind that this version does not know"),
        (record(first_sequence=4), "the record after event 2 says that it begins with event 4"),
        (record(first_sequence=2), "the record after event 2 says that it begins with event 2"),
        (record(previous_hash=b"\0" * 32), "the record with event 3 does not follow event 2: the hashes differ"),
        (record(fencing_token=0), "the record with event 3 carries fencing token 0 after 1"),
    ],
)
def test_the_first_record_that_does_not_follow_is_named(payload: bytes, sentence: str) -> None:
    chain = Chain()
    chain.follow(journal_of([2])[0][0])
    with pytest.raises(JournalCorrupt, match=sentence):
        chain.follow(payload)


def test_a_record_of_the_same_or_a_later_gateway_follows() -> None:
    payloads, _ = journal_of([1, 1, 1], tokens=[1, 1, 4])
    assert len(follow(payloads)[0]) == 3


def test_after_a_snapshot_its_own_record_adds_nothing_and_the_next_follows() -> None:
    payloads, heads = journal_of([2, 2, 2])
    assert follow(payloads[1:], Chain(heads[1]))[0] == submissions(5, 2)
    assert follow(payloads[2:], Chain(heads[1]))[0] == submissions(5, 2)


def test_after_a_snapshot_another_record_in_its_place_is_found() -> None:
    payloads, heads = journal_of([2, 2, 2])
    for wrong in (JournalHead(4, b"\0" * 32), JournalHead(3, heads[1].record_hash)):
        with pytest.raises(JournalCorrupt, match=f"the snapshot of event {wrong.sequence} stands on"):
            follow(payloads[1:], Chain(wrong))


def test_after_a_snapshot_the_token_of_the_books_may_not_go_back() -> None:
    payloads, heads = journal_of([2, 2])
    with pytest.raises(JournalCorrupt, match="carries fencing token 1 after 2"):
        follow(payloads[1:], Chain(heads[0], fencing_token=2))


@settings(deadline=None)
@given(st.lists(st.integers(0, 400_000), max_size=12))
def test_batches_keep_every_event_and_fit(sizes: list[int]) -> None:
    events = [pb.JournalEvent(halt_changed=pb.HaltChanged(text="x" * size)) for size in sizes]
    groups = list(batches(events))
    assert [event for group in groups for event in group] == events
    assert all(len(seal(JournalHead(2**60, b"\xff" * 32), g, 2**62, 2**62)[0]) <= MAX_RECORD_BYTES for g in groups)
    for one, two in pairwise(groups):
        assert sum(event.ByteSize() for event in [*one, two[0]]) > MAX_RECORD_BYTES - 1000


def test_an_event_too_large_for_any_record_is_refused() -> None:
    large = pb.JournalEvent(halt_changed=pb.HaltChanged(text="x" * MAX_RECORD_BYTES))
    assert [len(group) for group in batches([submitted(1), large, submitted(2)])] == [1, 1, 1]
    with pytest.raises(ValueError, match="is more than the"):
        seal(JournalHead(), [large], NOW, 1)


def test_an_empty_record_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one event"):
        seal(JournalHead(), [], NOW, 1)


def test_a_record_may_be_as_large_as_the_largest() -> None:
    def sealed(length: int) -> bytes:
        return seal(JournalHead(), [pb.JournalEvent(halt_changed=pb.HaltChanged(text="x" * length))], NOW, 1)[0]

    fits = MAX_RECORD_BYTES - len(sealed(MAX_RECORD_BYTES // 2)) + MAX_RECORD_BYTES // 2
    assert len(sealed(fits)) == MAX_RECORD_BYTES
    with pytest.raises(
        ValueError, match=rf"^a record of {MAX_RECORD_BYTES + 1} bytes is more than the {MAX_RECORD_BYTES} that fit$"
    ):
        sealed(fits + 1)
