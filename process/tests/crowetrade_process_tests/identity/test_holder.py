"""Renewal, in the time of the test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from crowetrade_process.identity import holder
from crowetrade_process.identity.credentials import Credentials
from crowetrade_process.identity.errors import IdentityUnavailable
from crowetrade_process.identity.holder import Identity, renewal_time
from crowetrade_process.identity.metrics import EXPIRY_SECONDS, FAILURES, REFUSED_PEERS, RENEWALS, REVOCATIONS_END
from crowetrade_process.identity.peer import Reason, Refusal
from crowetrade_process.identity.source import Trust

from .authority import HOUR, TRUST_DOMAIN, Authority, identity_name

NAME = identity_name("strategy-fx")
START = datetime.now(UTC).replace(microsecond=0)


class Clock:
    """Time that passes when somebody waits; it stops at `until`, where the waiting one waits for the test."""

    def __init__(self) -> None:
        self.now = START
        self.until = START
        self._changed = asyncio.Event()
        self.waiting = asyncio.Event()

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        end = self.now + timedelta(seconds=seconds)
        while self.until < end:
            self.waiting.set()
            await self._changed.wait()
        self.now = end
        await asyncio.sleep(0)

    async def run_to(self, until: datetime) -> None:
        """Lets time pass, until whoever waits would wait beyond."""
        self.until = until
        self.waiting.clear()
        self._changed.set()
        self._changed = asyncio.Event()
        await asyncio.wait_for(self.waiting.wait(), 60)


class SourceOfTests:
    """Issues certificates of an hour, and can be made to fail."""

    renewal_share = 2 / 3
    poll_seconds = 30.0

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.authority = Authority()
        self.trusted = [self.authority]
        self.revocations: bytes | None = None
        self.issued: list[datetime] = []
        self.fails: Exception | None = None

    async def issue(self, trust: Trust) -> Credentials:
        if self.fails:
            raise self.fails
        self.issued.append(self.clock.now)
        one = self.authority.issue_to(NAME, not_before=self.clock.now)
        return Credentials.read(one.pem, one.key_pem, trust.bundle_pem, TRUST_DOMAIN, self.clock.now)

    async def trust(self) -> Trust:
        return Trust(b"".join(authority.pem for authority in self.trusted), self.revocations)


class Reports(list[tuple[bool, str]]):
    """What was reported."""

    def __call__(self, ok: bool, why: str) -> None:
        self.append((ok, why))


@asynccontextmanager
async def renewing(source: SourceOfTests, clock: Clock, reports: Reports) -> AsyncIterator[Identity]:
    identity = Identity(source, TRUST_DOMAIN, now=clock, sleep=clock.sleep)
    await identity.start(reports)
    task = asyncio.create_task(identity.run())
    try:
        yield identity
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(clock: Clock) -> SourceOfTests:
    return SourceOfTests(clock)


@given(minutes=st.integers(1, 10_000), share=st.floats(0.1, 1.0), chance=st.floats(0, 1))
def test_the_renewal_is_at_the_share_or_a_little_before(minutes: int, share: float, chance: float) -> None:
    lifetime = timedelta(minutes=minutes)
    at = renewal_time(START, START + lifetime, share, chance)
    assert START + lifetime * (share - holder.JITTER) - timedelta(seconds=1) <= at
    assert at <= START + lifetime * share + timedelta(seconds=1)


async def test_who_listens_no_more_is_not_called_and_the_others_are(source: SourceOfTests, clock: Clock) -> None:
    told, others = list[Refusal](), list[Refusal]()
    identity = Identity(source, TRUST_DOMAIN, now=clock, sleep=clock.sleep)
    end = identity.on_refusal(told.append)
    identity.on_refusal(others.append)
    refusal = identity.refuse(Reason.REVOKED, "first")
    end()
    assert others == [refusal, identity.refuse(Reason.REVOKED, "second")]
    assert told == [refusal]


async def test_a_revocation_is_told_once_and_a_list_that_is_made_anew_is_none(
    source: SourceOfTests, clock: Clock
) -> None:
    first, second = source.authority.issue_to(NAME), source.authority.issue_to(NAME)
    source.revocations = source.authority.revocations(first)
    told: list[str] = []
    identity = Identity(source, TRUST_DOMAIN, now=clock, sleep=clock.sleep)
    await identity.start()
    identity.on_revocation(lambda: told.append("revoked"))
    for revoked, times in (((first,), 0), ((first, second), 1), ((second, first), 1), ((second,), 1), ((), 1)):
        source.revocations = source.authority.revocations(*revoked, next_update=HOUR + timedelta(minutes=len(revoked)))
        assert await identity.refresh()
        assert len(told) == times, revoked


async def test_a_certificate_is_renewed_at_two_thirds_of_its_lifetime(source: SourceOfTests, clock: Clock) -> None:
    before = RENEWALS._value.get()
    async with renewing(source, clock, Reports()) as identity:
        first = identity.credentials
        await clock.run_to(START + timedelta(minutes=36))
        assert identity.credentials is first
        await clock.run_to(START + timedelta(minutes=41))
        assert identity.credentials.serial != first.serial
        await clock.run_to(START + 10 * HOUR)
    assert RENEWALS._value.get() - before == len(source.issued)
    gaps = [after - at for at, after in zip(source.issued, source.issued[1:], strict=False)]
    assert all(timedelta(minutes=36) <= gap <= timedelta(minutes=41) for gap in gaps)


async def test_a_source_that_fails_is_asked_again_and_again_until_the_certificate_has_expired_and_on(
    source: SourceOfTests, clock: Clock
) -> None:
    reports = Reports()
    failed = FAILURES.labels(what="certificate")._value.get()
    async with renewing(source, clock, reports) as identity:
        first = identity.credentials
        source.fails = IdentityUnavailable("Vault is sealed")
        await clock.run_to(START + timedelta(minutes=59))
        # It is still valid, so nothing is wrong yet.
        assert all(ok for ok, _ in reports)
        await clock.run_to(START + timedelta(minutes=61))
        assert reports[-1] == (False, "the certificate has expired; Vault is sealed")
        assert EXPIRY_SECONDS._value.get() < 0
        assert FAILURES.labels(what="certificate")._value.get() - failed > 20
        source.fails = None
        await clock.run_to(START + timedelta(minutes=62))
        assert reports[-1] == (True, "")
        assert identity.credentials.serial != first.serial
        assert EXPIRY_SECONDS._value.get() > 0


async def test_what_nobody_expected_ends_no_renewal(source: SourceOfTests, clock: Clock) -> None:
    async with renewing(source, clock, Reports()) as identity:
        first = identity.credentials
        source.fails = ZeroDivisionError("a bug")
        with capture_logs():
            await clock.run_to(START + timedelta(minutes=40, seconds=5))
        source.fails = None
        await clock.run_to(START + timedelta(minutes=46))
        assert identity.credentials.serial != first.serial


async def test_the_first_certificate_is_waited_for(source: SourceOfTests, clock: Clock) -> None:
    source.fails = IdentityUnavailable("Vault is sealed")
    reports = Reports()
    identity = Identity(source, TRUST_DOMAIN, now=clock, sleep=clock.sleep)
    starting = asyncio.create_task(identity.start(reports))
    await clock.run_to(START + HOUR)
    assert reports[-1] == (False, "Vault is sealed")
    with pytest.raises(IdentityUnavailable, match="no certificate yet"):
        _ = identity.credentials
    source.fails = None
    clock.until = START + 2 * HOUR
    clock._changed.set()
    await asyncio.wait_for(starting, 60)
    assert identity.name == NAME


async def test_an_authority_that_is_added_is_trusted_long_before_the_renewal(
    source: SourceOfTests, clock: Clock
) -> None:
    changes: list[Any] = []
    async with renewing(source, clock, Reports()) as identity:
        identity.on_change(lambda: changes.append(identity.credentials))
        first, added = identity.credentials, Authority()
        source.trusted.append(added)
        await clock.run_to(START + timedelta(seconds=31))
        assert added.pem in identity.credentials.bundle_pem
        assert identity.credentials.chain_pem == first.chain_pem
        assert changes == [identity.credentials]


async def test_the_end_of_the_list_in_force_is_measured_and_follows_the_next_list(
    source: SourceOfTests, clock: Clock
) -> None:
    identity = Identity(source, TRUST_DOMAIN, now=clock, sleep=clock.sleep)
    for hours in (1, 2):
        ends = datetime.now(UTC) + hours * HOUR
        source.revocations = source.authority.revocations(next_update=hours * HOUR)
        assert await identity.refresh()
        assert REVOCATIONS_END._value.get() == pytest.approx(ends.timestamp(), abs=60)
    source.revocations = Authority().revocations(next_update=3 * HOUR)
    assert not await identity.refresh(), "nobody's list"
    assert REVOCATIONS_END._value.get() == pytest.approx(ends.timestamp(), abs=60)
    source.revocations = None
    assert await identity.refresh()
    assert REVOCATIONS_END._value.get() == 0


async def test_a_revocation_is_known_soon_and_each_refusal_is_counted(source: SourceOfTests, clock: Clock) -> None:
    peer = source.authority.issue_to(identity_name("strategy-b"), not_before=START)
    counted = REFUSED_PEERS.labels(reason=Reason.REVOKED.value)
    async with renewing(source, clock, Reports()) as identity:
        assert identity.judge(peer.pem) == identity_name("strategy-b")
        source.revocations = source.authority.revocations(peer)
        before = counted._value.get()
        await clock.run_to(START + timedelta(seconds=31))
        found = identity.judge(peer.pem)
        assert isinstance(found, Refusal)
        assert found.reason is Reason.REVOKED
        assert counted._value.get() == before + 1


async def test_a_bundle_that_is_damaged_changes_nothing(source: SourceOfTests, clock: Clock) -> None:
    async with renewing(source, clock, Reports()) as identity:
        before = identity.credentials
        source.trusted = []
        await clock.run_to(START + timedelta(minutes=2))
        assert identity.credentials is before
        source.trusted = [source.authority]
        source.revocations = b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"
        await clock.run_to(START + timedelta(minutes=4))
        assert identity.credentials is before


async def test_what_a_server_shows_is_judged_by_the_lists_alone(source: SourceOfTests, clock: Clock) -> None:
    """Its authority and its name are the TLS library's concern."""
    server = source.authority.issue_to(identity_name("nats"), not_before=START)
    shown = server.certificate.public_bytes(serialization.Encoding.DER)
    identity = Identity(source, TRUST_DOMAIN, now=clock, sleep=clock.sleep)
    assert await identity.refresh()
    assert identity.judge_server(shown) is None, "there are no lists"
    source.revocations = source.authority.revocations()
    assert await identity.refresh()
    assert identity.judge_server(shown) is None
    source.revocations = source.authority.revocations(server)
    assert await identity.refresh()
    before = REFUSED_PEERS.labels(reason=Reason.REVOKED.value)._value.get()
    refused = identity.judge_server(shown)
    assert refused is not None
    assert refused.reason is Reason.REVOKED
    assert REFUSED_PEERS.labels(reason=Reason.REVOKED.value)._value.get() == before + 1
    unreadable = identity.judge_server(b"no certificate")
    assert unreadable is not None
    assert unreadable.reason is Reason.UNREADABLE
