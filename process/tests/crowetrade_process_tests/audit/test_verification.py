"""What a changed audit trail shows, with chains of plain events and certificates of a real authority."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade.audit.v1 import audit_pb2
from crowetrade_process.audit import verification
from crowetrade_process.audit.chain import MAX_TEXT_BYTES, End, Head, bounded, head_of, seal
from crowetrade_process.audit.checkpoints import Authorities, checkpoint
from crowetrade_process.audit.verification import (
    KEPT_CONFIG_MAPS,
    Findings,
    Verification,
    end_text,
    parse_ends,
    place_of,
)
from crowetrade_process.identity.credentials import Credentials
from crowetrade_process_tests.identity.authority import HOUR, Authority, Issued, identity_name

WRITER = "crowetrade-system.crowetrade-operator"
SUBJECT = f"audit.{WRITER}"
NAME = identity_name("crowetrade-operator", "crowetrade-system")
OTHER = identity_name("strategy-a")
STARTED = datetime.now(UTC).replace(microsecond=0)
START_NS = int(STARTED.timestamp()) * 10**9
SECOND = 10**9
YEAR_SECONDS = 365 * 86_400
AUTHORITY = Authority()


def key(issued: Issued) -> Credentials:
    """Credentials as a forger might put them together: nothing is checked."""
    certificate = issued.certificate
    return Credentials(
        NAME,
        issued.pem,
        issued.key_pem,
        b"",
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        certificate.serial_number,
        frozenset(),
    )


KEY = key(AUTHORITY.issue_to(NAME))


def event(number: int) -> audit_pb2.AuditEvent:
    return audit_pb2.AuditEvent(action=audit_pb2.ACTION_CHANGED, kind="RiskLimit", name=f"limit-{number}")


def written(
    events: int,
    signed_with: Credentials | None = KEY,
    *,
    every: int = 3,
    writer: str = WRITER,
    start: Head | None = None,
    seconds: int = 1,
) -> tuple[list[bytes], Head]:
    """Records of a writer, one each second or so many, with a checkpoint after every so many, and the head."""
    records, head = [], start or Head()
    for number in range(1, events + 1):
        now_ns = max(START_NS, head.recorded_unix_ns) + seconds * SECOND
        payload, head = seal(head, writer, "pod-1", now_ns, event(number))
        records.append(payload)
        if number % every == 0:
            payload, head = seal(head, writer, "pod-1", now_ns, checkpoint(head, writer, now_ns, signed_with))
            records.append(payload)
    return records, head


# A signature holds random numbers: what hypothesis changes is written once.
RECORDS, HEAD = written(7)


def verify(
    records: list[bytes],
    *,
    authorities: Authorities | None = None,
    on_record: dict[str, Head] | None = None,
    retention_seconds: int = YEAR_SECONDS,
    now_unix_ns: int = START_NS + 3600 * SECOND,
    subject: str = SUBJECT,
) -> Findings:
    judging = Verification(now_unix_ns, retention_seconds, authorities, ends(on_record or {}))
    for payload in records:
        judging.follow(subject, payload)
    (found,) = judging.finish()
    return found


def ends(heads: dict[str, Head]) -> dict[str, End]:
    """As the operator keeps them."""
    return {writer: End(head, 1) for writer, head in heads.items()}


def trusted() -> Authorities:
    return Authorities(AUTHORITY.pem)


def test_a_trail_as_it_was_written() -> None:
    records, head = written(7)
    found = verify(records, authorities=trusted(), on_record={WRITER: head})
    assert found == Findings(WRITER, 1, 9, vouched_to=7, signed=2)


@given(st.data())
def test_a_byte_that_is_changed_is_found(data: st.DataObject) -> None:
    records, head = list(RECORDS), HEAD
    place = data.draw(st.integers(0, len(records) - 1))
    byte = data.draw(st.integers(0, len(records[place]) - 1))
    changed = bytearray(records[place])
    changed[byte] ^= data.draw(st.integers(1, 255))
    records[place] = bytes(changed)
    assert verify(records, authorities=trusted(), on_record={WRITER: head}).problem


@given(st.data())
def test_a_record_that_is_deleted_repeated_or_moved_is_found(data: st.DataObject) -> None:
    records, head = list(RECORDS), HEAD
    place = data.draw(st.integers(0, len(records) - 1))
    taken = records.pop(place)
    back = data.draw(st.none() | st.integers(0, len(records)).filter(lambda to: to != place))
    if back is not None:
        records.insert(back, taken)
        if data.draw(st.booleans()):
            records.insert(place, taken)
    assert verify(records, authorities=trusted(), on_record={WRITER: head}).problem


@given(st.integers(1, 9))
def test_an_end_that_is_cut_off_is_found_by_what_is_on_record(cut: int) -> None:
    records, head = RECORDS, HEAD
    found = verify(records[:-cut] or [written(1, writer=WRITER)[0][0]], on_record={WRITER: head})
    assert "its end was cut off" in found.problem


def test_without_what_is_on_record_an_end_that_is_cut_off_is_not_found() -> None:
    assert not verify(written(7)[0][:-2], authorities=trusted()).problem


def test_an_end_that_is_written_anew_is_found_by_what_is_on_record() -> None:
    records, head = written(7)
    again, _ = seal(head_of(records[-2]), WRITER, "pod-1", head.recorded_unix_ns, event(100))
    assert not verify([*records[:-1], again], authorities=trusted()).problem
    found = verify([*records[:-1], again], authorities=trusted(), on_record={WRITER: head})
    assert found.problem == f"record {head.sequence} of {WRITER} is not the one that is on record"


def test_a_chain_that_is_gone_is_found_by_what_is_on_record() -> None:
    (found,) = Verification(START_NS, YEAR_SECONDS, on_record=ends({WRITER: Head(9, b"x", START_NS)})).finish()
    assert found.problem.startswith(f"the chain of {WRITER} ends with record 0, and record 9 is on record")


def test_a_beginning_may_be_missing_when_it_has_expired_and_not_sooner() -> None:
    records, _ = written(7)
    later = START_NS + (YEAR_SECONDS + 86_400) * SECOND
    assert "its beginning was cut off" in verify(records[3:]).problem
    found = verify(records[3:], now_unix_ns=later, authorities=trusted())
    assert (found.problem, found.begins_with, found.signed) == ("", 4, 2)


def test_what_expired_is_not_missed_at_the_end_either() -> None:
    later = START_NS + (YEAR_SECONDS + 86_400) * SECOND
    (found,) = Verification(later, YEAR_SECONDS, on_record=ends({WRITER: Head(9, b"x", START_NS)})).finish()
    assert not found.problem


def test_a_record_under_the_subject_of_another_writer() -> None:
    found = verify(written(1, writer="desk.venue-sim")[0])
    assert found.problem == f"record 1 under {WRITER} says that desk.venue-sim wrote it"


def test_lost_records_are_counted() -> None:
    lost = audit_pb2.AuditEvent(action=audit_pb2.ACTION_RECORDS_LOST, count=12)
    payload, _ = seal(Head(), WRITER, "pod-1", START_NS, lost)
    assert verify([payload]).lost == 12


FORGED: dict[str, tuple[Callable[[], Credentials | None], str]] = {
    "not signed at all": (
        lambda: None,
        f"no checkpoint of {WRITER} is signed: nothing shows that it wrote its records",
    ),
    "another authority": (
        lambda: key(Authority("foreign").issue_to(NAME)),
        f"the certificate of checkpoint 4 of {WRITER} is not believed",
    ),
    "an authority of the same name": (
        lambda: key(Authority(AUTHORITY.common_name).issue_to(NAME)),
        "is not believed",
    ),
    "another identity of the same authority": (
        lambda: key(AUTHORITY.issue_to(OTHER)),
        f"is signed by {OTHER}, who is not {WRITER}",
    ),
    "two names": (lambda: key(AUTHORITY.issue(NAME.uri, OTHER.uri)), "has 2 URI names"),
    "no name": (lambda: key(AUTHORITY.issue()), "has no URI names"),
    "expired": (lambda: key(AUTHORITY.issue_to(NAME, not_before=STARTED - 2 * HOUR)), "is not believed"),
    "not yet valid": (lambda: key(AUTHORITY.issue_to(NAME, not_before=STARTED + HOUR)), "is not believed"),
    "a certificate with another key": (
        lambda: replace(key(AUTHORITY.issue_to(NAME)), chain_pem=KEY.chain_pem),
        f"the signature of checkpoint 4 of {WRITER} is wrong",
    ),
    "no certificate": (
        lambda: replace(KEY, chain_pem=b"-----BEGIN CERTIFICATE-----\n"),
        f"checkpoint 4 of {WRITER} carries a certificate that cannot be read",
    ),
}


@pytest.mark.parametrize("case", FORGED)
def test_whoever_is_not_the_writer_cannot_vouch_for_its_chain(case: str) -> None:
    signed_with, words = FORGED[case]
    assert words in verify(written(4, signed_with())[0], authorities=trusted()).problem


def test_a_checkpoint_vouches_for_the_record_before_it_alone() -> None:
    records, head = written(3)
    _, other = written(2)
    forged, _ = seal(head, WRITER, "pod-1", head.recorded_unix_ns, checkpoint(other, WRITER, START_NS, KEY))
    found = verify([*records, forged])
    assert found.problem == f"checkpoint 5 of {WRITER} vouches for record 2 and stands after record 4"


def test_old_authorities_are_given_with_new_ones() -> None:
    new = Authority("next")
    records, head = written(3)
    more, _ = written(3, key(new.issue_to(NAME, not_before=STARTED)), start=head)
    assert verify([*records, *more], authorities=Authorities(AUTHORITY.pem + new.pem)).signed == 2
    assert "checkpoint 8" in verify([*records, *more], authorities=trusted()).problem


def test_unsigned_checkpoints_are_counted_and_later_ones_vouch_for_them() -> None:
    records, head = written(3, None)
    more, _ = written(3, start=head)
    assert verify([*records, *more], authorities=trusted()) == Findings(
        WRITER, 1, 8, vouched_to=7, unsigned_to=7, signed=1, unsigned=1
    )


NEVER = 10**9
FORGED_ENDS: dict[str, tuple[Callable[[Head], list[bytes]], str]] = {
    "with checkpoints": (
        lambda head: written(300, None, every=256, start=head)[0],
        f"checkpoint 261 of {WRITER} is not signed, and one before it is: what follows record 3 is not vouched for",
    ),
    "without checkpoints": (
        lambda head: written(5000, None, every=NEVER, start=head)[0],
        f"record 606 of {WRITER} comes after 601 records in 601 s without a signature",
    ),
    "at one moment": (
        lambda head: written(5000, None, every=NEVER, start=head, seconds=0)[0],
        f"record 1029 of {WRITER} comes after 1024 records in 0 s without a signature",
    ),
    "of few records": (
        lambda head: written(2, None, every=NEVER, start=head, seconds=601)[0],
        f"record 6 of {WRITER} comes after 1 records in 601 s without a signature",
    ),
}


@pytest.mark.parametrize("case", FORGED_ENDS)
def test_an_end_that_is_written_anew_without_the_key_is_found_by_the_signatures_that_are_missing(case: str) -> None:
    forge, words = FORGED_ENDS[case]
    records, head = written(3)
    found = verify([*records, *forge(head)], authorities=trusted())
    assert words in found.problem
    assert found.vouched_to == 3


def test_that_the_writer_signs_what_it_goes_on_with_takes_nothing_back() -> None:
    records, head = written(3)
    forged, head = written(602, None, every=NEVER, start=head)
    more, _ = written(3, start=head)
    found = verify([*records, *forged, *more], authorities=trusted())
    assert "what follows record 3 is not vouched for" in found.problem
    assert found.vouched_to == found.ends_with - 1


@pytest.mark.parametrize(("events", "seconds"), [(1024, 0), (601, 1)])
def test_an_end_that_waits_for_its_signature_is_none_of_somebody_else(events: int, seconds: int) -> None:
    records, head = written(3)
    waiting, _ = written(events, None, every=NEVER, start=head, seconds=seconds)
    found = verify([*records, *waiting], authorities=trusted())
    assert (found.problem, found.vouched_to) == ("", 3)


def test_what_a_killed_process_left_is_signed_first_by_whoever_goes_on() -> None:
    records, head = written(3)
    left, head = written(2, None, every=NEVER, start=head)
    now_ns = head.recorded_unix_ns + 3000 * SECOND
    signed, head = seal(head, WRITER, "pod-2", now_ns, checkpoint(head, WRITER, now_ns, KEY))
    more, _ = written(3, start=head)
    assert not verify([*records, *left, signed, *more], authorities=trusted()).problem


def test_a_first_signature_that_comes_late_is_told() -> None:
    records, head = written(2000, None, every=NEVER)
    more, _ = written(3, start=head)
    assert verify([*records, *more], authorities=trusted()).unsigned_to == 2003


def test_what_comes_after_a_signature_that_is_not_believed_is_looked_at() -> None:
    records, head = written(3)
    doubtful, head = written(3, key(Authority("foreign").issue_to(NAME)), start=head)
    more, _ = written(4, start=head)
    found = verify([*records, *doubtful, *more[:1], *more[2:]], authorities=trusted())
    doubt, _, broken = found.problem.partition("; ")
    assert "the certificate of checkpoint 8" in doubt
    assert broken == f"record 11 of {WRITER} stands after record 9: records are missing or swapped"
    cut_off = verify([*records, *doubtful], authorities=trusted(), on_record={WRITER: Head(20, b"x", START_NS)})
    assert cut_off.problem.endswith("its end was cut off")


def test_a_clock_that_was_ahead_does_no_harm() -> None:
    ahead, head = written(1, None, start=Head(), seconds=2 * 3600)
    now_ns = START_NS + SECOND
    payload, head = seal(head, WRITER, "pod-2", now_ns, event(2))
    signed, _ = seal(head, WRITER, "pod-2", now_ns, checkpoint(head, WRITER, now_ns, KEY))
    found = verify([*ahead, payload, signed], authorities=trusted())
    assert (found.problem, found.vouched_to) == ("", 2)


def test_a_key_whose_certificate_has_ended_signs_no_end_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "CLOCK_TOLERANCE_NS", 3600 * SECOND)  # for a day our authority is too young
    old = key(AUTHORITY.issue_to(NAME, not_before=STARTED - 3 * HOUR))
    records, head = written(3)
    then_ns = START_NS - 9000 * SECOND
    forged, head = seal(head, WRITER, "pod-1", START_NS, event(9))
    signed, _ = seal(head, WRITER, "pod-1", then_ns, checkpoint(head, WRITER, then_ns, old))
    found = verify([*records, forged, signed], authorities=trusted())
    assert f"checkpoint 6 of {WRITER} is signed more than a day before the one that it follows" in found.problem


def test_ends_on_record_are_read_as_they_are_written() -> None:
    end = End(Head(7, bytes(range(32)), START_NS), 12)
    data = {WRITER: end_text(end)}
    assert parse_ends(json.dumps(data)) == {WRITER: end}
    items: list[dict[str, object]] = [{"metadata": {"name": name}} for name in KEPT_CONFIG_MAPS]
    items[place_of(WRITER)]["data"] = data
    assert parse_ends(json.dumps({"kind": "List", "items": items})) == {WRITER: end}
    some = json.dumps({"kind": "List", "items": items[:-1]})
    for wrong in ("[]", "{", '{"a": "7 xy 1 1"}', '{"a": "7"}', some):
        with pytest.raises(ValueError):
            parse_ends(wrong)


def test_a_text_that_is_too_long_is_named_by_its_hash() -> None:
    assert bounded("x" * MAX_TEXT_BYTES) == "x" * MAX_TEXT_BYTES
    assert bounded("é" * MAX_TEXT_BYTES).startswith(f'{{"bytes": {2 * MAX_TEXT_BYTES}, "sha256": "')
