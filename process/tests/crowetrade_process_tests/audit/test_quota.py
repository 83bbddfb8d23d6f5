from __future__ import annotations

import pytest

from crowetrade.audit.v1 import audit_pb2
from crowetrade_process.audit.quota import DAYS_AT_ONCE, RECORD_BYTES, SHOWN, SUM_SECONDS, Quota

DAY = 86_400.0
CHANGED, FORCED = audit_pb2.ACTION_CHANGED, audit_pb2.ACTION_FORCE_DELETE
AT_NS = 1_700_000_000 * 10**9


def event(
    namespace: str = "desk",
    kind: str = "Strategy",
    action: audit_pb2.Action.ValueType = CHANGED,
    name: str = "ema",
    actor: str = "alice",
    at_ns: int = AT_NS,
) -> audit_pb2.AuditEvent:
    return audit_pb2.AuditEvent(
        action=action, namespace=namespace, kind=kind, name=name, actor=actor, at_unix_ns=at_ns, after="x" * 500
    )


PER_DAY = event().ByteSize() + RECORD_BYTES


def used_up() -> Quota:
    """One event a day, and the share of namespace desk for changes of Strategies is used up at time 0."""
    quota = Quota(PER_DAY)
    assert [quota.admits(event(), 0.0) for _ in range(DAYS_AT_ONCE)] == [True] * DAYS_AT_ONCE
    return quota


OTHERS = {
    "another namespace": event(namespace="k"),
    "another kind": event(kind="Venue"),
    "another action": event(action=FORCED),
    "no namespace": event(namespace=""),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_flood_hides_nothing_of(case: str) -> None:
    quota = used_up()
    assert not quota.admits(event(), 0.0)
    assert quota.admits(OTHERS[case], 0.0)


def test_what_is_beyond_the_share_is_one_event_that_says_what_it_stands_for() -> None:
    quota = used_up()
    for number in range(SHOWN + 5):
        later = event(name=f"s{number % 2}", actor=f"user-{number}", at_ns=AT_NS + number * 10**9)
        assert not quota.admits(later, float(number))
    assert quota.due_at == SUM_SECONDS
    assert quota.take(SUM_SECONDS - 1.0) == []
    assert quota.summing == {"desk"}
    (found,) = quota.take(SUM_SECONDS)
    assert (found.action, found.namespace, found.kind, found.count) == (
        audit_pb2.ACTION_SUMMED_UP,
        "desk",
        "Strategy",
        SHOWN + 5,
    )
    assert found.reason.startswith(
        "changed from 2023-11-14T22:13:20Z to 2023-11-14T22:13:34Z, of s0 (8), s1 (7), by user-0 (1), "
    )
    assert "user-9 (1), others (5): the share of the namespace" in found.reason
    assert not quota.summing
    assert quota.take_all() == []


def test_the_share_comes_back_with_time_and_not_while_a_sum_is_open() -> None:
    quota = used_up()
    assert not quota.admits(event(), 0.0)
    assert not quota.admits(event(), DAY), "it would stand before the sum that tells what was before"
    assert [found.count for found in quota.take(DAY)] == [2]
    assert quota.admits(event(), DAY)
    assert not quota.admits(event(), DAY)


def test_no_more_is_saved_than_a_full_share() -> None:
    quota = used_up()
    later = 100 * DAY
    assert quota.take(later) == []
    assert [quota.admits(event(), later) for _ in range(DAYS_AT_ONCE + 1)] == [True] * DAYS_AT_ONCE + [False]


def test_without_a_bound_everything_is_recorded() -> None:
    quota = Quota(0)
    assert all(quota.admits(event(), 0.0) for _ in range(10_000))
