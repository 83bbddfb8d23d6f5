"""Refused peers are recorded at once, and then no more often than once a minute for each reason."""

from __future__ import annotations

import asyncio

from crowetrade.audit.v1 import audit_pb2
from crowetrade_process.audit.refusals import SECONDS, Refusals
from crowetrade_process.identity.peer import Reason, Refusal


class Recorded:
    """Takes what a trail would."""

    def __init__(self) -> None:
        self.events: list[audit_pb2.AuditEvent] = []

    def record(self, event: audit_pb2.AuditEvent) -> None:
        self.events.append(event)

    @property
    def said(self) -> list[tuple[str, int]]:
        """Reason and number of each record."""
        return [(event.reason.partition(":")[0], event.count) for event in self.events]


class Time:
    """A clock that goes on as far as somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: asyncio.Queue[tuple[float, asyncio.Event]] = asyncio.Queue()

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self._sleepers.put_nowait((self.now + seconds, woken))
        await woken.wait()

    async def asleep(self) -> tuple[float, asyncio.Event]:
        """Until when who sleeps next does so, and what wakes them."""
        return await asyncio.wait_for(self._sleepers.get(), 10)

    async def pass_by(self) -> float:
        """Lets them sleep to the end, and returns when that is."""
        self.now, woken = await self.asleep()
        woken.set()
        return self.now


def test_a_thousand_refusals_are_two_records() -> None:
    now, trail = [0.0], Recorded()
    refusals = Refusals(trail, lambda: now[0])
    for _ in range(1000):
        refusals.refused(Refusal(Reason.EXPIRED, "it has expired"))
    refusals.refused(Refusal(Reason.REVOKED, "it was revoked"))
    now[0] = SECONDS
    refusals.refused(Refusal(Reason.EXPIRED, "it has expired"))
    assert [(event.reason, event.count) for event in trail.events] == [
        ("Expired: it has expired", 1),
        ("Revoked: it was revoked", 1),
        ("Expired: it has expired", 1000),
    ]
    assert {event.action for event in trail.events} == {audit_pb2.ACTION_IDENTITY_REFUSED}
    assert {event.proof for event in trail.events} == {audit_pb2.ACTOR_PROOF_UNSPECIFIED}


def test_whose_certificate_was_believed_is_named() -> None:
    trail = Recorded()
    Refusals(trail).record("NotPermitted", "no role", "spiffe://a/ns/b/sa/c")
    (event,) = trail.events
    assert (event.actor, event.proof) == ("spiffe://a/ns/b/sa/c", audit_pb2.ACTOR_PROOF_CERTIFICATE)


async def test_a_burst_and_then_silence_are_two_records() -> None:
    time, trail = Time(), Recorded()
    refusals = Refusals(trail, lambda: time.now, time.sleep)
    async with refusals.telling():
        for number in range(3):
            refusals.record("Expired", f"number {number}", "spiffe://a/ns/b/sa/c")
        assert trail.said == [("Expired", 1)]
        assert await time.pass_by() == SECONDS
        # That record, too, is followed by a minute in which is counted.
        assert await time.pass_by() == 2 * SECONDS
        assert trail.said == [("Expired", 1), ("Expired", 2)]
        told = trail.events[-1]
        assert (told.reason, told.actor) == ("Expired: number 2", "spiffe://a/ns/b/sa/c")
        refusals.record("Expired", "after a minute without any")
        assert trail.said[2:] == [("Expired", 1)]
        assert (await time.asleep())[0] == 3 * SECONDS
    assert len(trail.events) == 3, "nothing is left at the end"


async def test_each_reason_has_its_own_minute() -> None:
    time, trail = Time(), Recorded()
    refusals = Refusals(trail, lambda: time.now, time.sleep)
    async with refusals.telling():
        refusals.record("Expired", "")
        due, woken = await time.asleep()
        time.now = SECONDS / 2
        for _ in range(3):
            refusals.record("Revoked", "")
        refusals.record("Expired", "")
        time.now = due
        woken.set()
        assert await time.pass_by() == SECONDS * 1.5
        assert trail.said == [("Expired", 1), ("Revoked", 1), ("Expired", 1)]
        assert (await time.asleep())[0] == SECONDS * 2
        assert trail.said[3:] == [("Revoked", 2)]


async def test_what_is_counted_at_the_end_is_recorded() -> None:
    time, trail = Time(), Recorded()
    refusals = Refusals(trail, lambda: time.now, time.sleep)
    async with refusals.telling():
        for _ in range(3):
            refusals.record("Expired", "")
            refusals.record("Revoked", "")
        await time.asleep()
        assert trail.said == [("Expired", 1), ("Revoked", 1)]
    assert trail.said[2:] == [("Expired", 2), ("Revoked", 2)]
