"""Snapshots are put together from their parts, and prove what they stand on."""

from __future__ import annotations

import hashlib
from itertools import chain as concatenate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade_agents.errors import JournalCorrupt
from crowetrade_agents.journal.chain import Chain
from crowetrade_agents.journal.port import JournalHead
from crowetrade_agents.journal.snapshots import (
    PART_BYTES,
    Snapshot,
    SnapshotReader,
    Verification,
    split,
    starting_point,
)

from .values import books, journal_of

HEAD = JournalHead(7, hashlib.sha256(b"record").digest())
LARGE = books(orders=40, text="x" * 40_000)


def read(parts: list[bytes]) -> SnapshotReader:
    reader = SnapshotReader()
    for place, part in enumerate(parts, start=1):
        reader.add(place, part)
    return reader


@pytest.mark.parametrize("original", [pb.Books(), books(), LARGE])
def test_books_come_back_as_they_were(original: pb.Books) -> None:
    (snapshot,) = read(list(split(original, HEAD))).intact
    assert (snapshot.books(), snapshot.head, snapshot.place) == (original, HEAD, 1)


def test_large_books_are_cut_into_parts_below_the_limit() -> None:
    parts = list(split(LARGE, HEAD))
    decoded = [pb.JournalSnapshot.FromString(part) for part in parts]
    assert len(parts) == LARGE.ByteSize() // PART_BYTES + 1 > 2
    assert [(part.part, part.parts) for part in decoded] == [(n, len(parts)) for n in range(len(parts))]
    assert max(len(part) for part in parts) < PART_BYTES + 1024
    content = LARGE.SerializeToString(deterministic=True)
    expected = hashlib.sha256((7).to_bytes(8, "big") + HEAD.record_hash + content).digest()
    assert {part.content_hash for part in decoded} == {expected}


def test_parts_of_two_writers_may_be_mixed() -> None:
    one, two = list(split(LARGE, HEAD)), list(split(LARGE, JournalHead(9, HEAD.record_hash)))
    reader = read(list(concatenate.from_iterable(zip(one, two, strict=True))))
    assert [(snapshot.head.sequence, snapshot.place) for snapshot in reader.intact] == [(9, 2), (7, 1)]
    assert not reader.damaged
    assert not reader.unfinished


def test_a_snapshot_that_lacks_a_part_is_unfinished() -> None:
    parts = list(split(LARGE, HEAD))
    for missing in range(len(parts)):
        reader = read(parts[:missing] + parts[missing + 1 :])
        assert not reader.intact
        assert reader.unfinished == [f"the snapshot of event 7 has {len(parts) - 1} of {len(parts)} parts"]


@settings(deadline=None)
@given(st.data())
def test_a_snapshot_with_a_changed_byte_is_never_used(data: st.DataObject) -> None:
    parts = list(split(books(3), HEAD))
    changed = bytearray(parts[0])
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    if pb.JournalSnapshot.FromString(parts[0]) == _decoded(bytes(changed)):
        return  # A field was written in another way that says the same.
    reader = read([bytes(changed)])
    assert not reader.intact
    assert reader.damaged or reader.unfinished


def _decoded(payload: bytes) -> pb.JournalSnapshot | None:
    try:
        return pb.JournalSnapshot.FromString(payload)
    except Exception:  # noqa: BLE001 - protobuf's own
        return None


def test_what_is_damaged_is_named() -> None:
    part = pb.JournalSnapshot.FromString(next(split(books(), HEAD)))
    part.sequence = 8
    reader = read([b"\xff", part.SerializeToString()])
    assert reader.damaged[0].startswith("the part of a snapshot that is message 1 cannot be decoded")
    assert reader.damaged[1] == "the snapshot of event 8 (message 2) is damaged: its hash differs"


def test_a_part_with_a_number_that_cannot_be_is_damage() -> None:
    first, second = (pb.JournalSnapshot.FromString(next(split(books(), HEAD))) for _ in range(2))
    first.parts = second.parts = 2
    second.part, second.content, first.content = 7, first.content[5:], first.content[:5]

    reader = read([first.SerializeToString(), second.SerializeToString()])

    assert reader.intact == []
    assert reader.damaged == ["the snapshot of event 7 (message 1) is damaged: its hash differs"]


def test_books_that_cannot_be_decoded_are_corrupt() -> None:
    with pytest.raises(JournalCorrupt, match="the snapshot of event 7 cannot be decoded"):
        Snapshot(HEAD, b"\xff", 1).books()


def parts_at(*sequences: int) -> list[bytes]:
    return [part for sequence in sequences for part in split(books(), JournalHead(sequence, b"h" * 32))]


@pytest.mark.parametrize(
    ("parts", "first", "last", "start"),
    [
        ([], 0, 0, None),
        ([], 1, 9, None),
        ([b"\xff"], 1, 9, None),
        (parts_at(3, 5), 1, 9, 5),
        (parts_at(5, 3), 1, 9, 5),
        (parts_at(5), 4, 5, 5),
        ([*parts_at(3), b"\xff"], 2, 9, 3),
    ],
)
def test_a_start_uses_the_newest_intact_snapshot(parts: list[bytes], first: int, last: int, start: int | None) -> None:
    found = starting_point(read(parts), first, last)
    assert (found.head.sequence if found else None) == start


@pytest.mark.parametrize(
    ("parts", "first", "last", "sentence"),
    [
        ([], 4, 9, "the journal begins with event 4, and no snapshot .* can be used: there is none"),
        ([b"\xff"], 4, 9, "the journal begins with event 4, .* cannot be decoded"),
        (
            [b"\xff", pb.JournalSnapshot(sequence=3, parts=2).SerializeToString()],
            4,
            9,
            "cannot be decoded: .*; the snapshot of event 3 has 1 of 2 parts",
        ),
        (parts_at(10), 1, 9, "ends with event 9: the bus lost what was in it$"),
        (parts_at(10), 0, 0, "a snapshot stands on event 10, but the journal ends with event 0"),
    ],
)
def test_a_start_without_what_it_needs_is_refused(parts: list[bytes], first: int, last: int, sentence: str) -> None:
    with pytest.raises(JournalCorrupt, match=sentence):
        starting_point(read(parts), first, last)


def verify(payloads: list[bytes], *heads: JournalHead) -> Verification:
    verification = Verification([Snapshot(head, b"", 1) for head in heads])
    for payload in payloads:
        verification.follow(payload)
    verification.finish()
    return verification


def test_a_whole_journal_verifies_with_and_without_snapshots() -> None:
    payloads, heads = journal_of([2, 3, 1])
    for snapshots in ([], heads[:1], heads):
        found = verify(payloads, *snapshots)
        assert (found.begins_with, found.head, found.proven) == (1, heads[-1], True)
    assert (verify([]).head, verify([]).begins_with, verify([]).proven) == (JournalHead(), 0, False)


def test_a_trimmed_journal_is_proven_by_a_snapshot_wherever_it_stands() -> None:
    payloads, heads = journal_of([2, 3, 1, 4])
    for snapshot in heads:
        assert verify(payloads[1:], snapshot).begins_with == 3
    # A record that was trimmed may have had a snapshot: it then proves nothing.
    with pytest.raises(JournalCorrupt, match="begins with event 6, and no snapshot proves what came before"):
        verify(payloads[2:], heads[0])


@pytest.mark.parametrize(
    ("begin", "snapshot", "sentence"),
    [
        (1, None, "begins with event 3, and no snapshot proves what came before"),
        (0, JournalHead(99, b"h" * 32), "a snapshot stands on event 99, but the journal ends with event 10"),
        (0, JournalHead(4, b"h" * 32), "a snapshot stands on event 4, in the middle of a record"),
        (0, JournalHead(5, b"h" * 32), "ends with event 5 is not the one that the snapshot of that event stands on$"),
        (1, JournalHead(2, b"h" * 32), "the record that ends with event 2 is not the one"),
    ],
)
def test_a_snapshot_that_does_not_stand_on_the_journal_is_found(
    begin: int, snapshot: JournalHead | None, sentence: str
) -> None:
    payloads, _ = journal_of([2, 3, 1, 4])
    with pytest.raises(JournalCorrupt, match=sentence):
        verify(payloads[begin:], *([snapshot] if snapshot else []))


def test_verification_finds_what_the_chain_finds() -> None:
    payloads, heads = journal_of([2, 3, 1])
    with pytest.raises(JournalCorrupt, match="says that it begins with event 6"):
        verify([payloads[0], payloads[2]], *heads)
    assert Chain(heads[0]).follow(payloads[1])
