"""Holds the identity of a process and renews it, without touching a connection that is open.

A certificate is asked for again at two thirds of its lifetime, a little earlier by chance, so that not all processes
ask at once. Whom to trust is asked for much more often: an authority that is added is trusted before the first
certificate of it is shown, and what is revoked is known soon.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Self, TypeVar

import structlog
from cryptography import x509

from crowetrade_process.identity import metrics
from crowetrade_process.identity.contexts import CurrentContext, client_context
from crowetrade_process.identity.credentials import Credentials
from crowetrade_process.identity.errors import IdentityUnavailable
from crowetrade_process.identity.name import IdentityName
from crowetrade_process.identity.peer import Reason, Refusal, Revocations, judge
from crowetrade_process.identity.roles import Peer, peer_named
from crowetrade_process.identity.source import Source, Trust

FIRST_WAIT_SECONDS = 0.5
"""Before the second try, doubling from there to the time between two looks at the trust."""
JITTER = 0.05
"""Of a certificate's lifetime."""

Report = Callable[[bool, str], None]
"""Whether there is an identity, and why not."""
End = Callable[[], None]
"""Ends the calls to a listener: who listens may be over before the process is, and is kept for as long as it is
called."""
L = TypeVar("L")

log = structlog.get_logger(__name__)


def utc_now() -> datetime:
    """The time of the system."""
    return datetime.now(UTC)


def renewal_time(not_before: datetime, not_after: datetime, share: float, chance: float) -> datetime:
    """When to ask for another certificate. `chance` is a number from 0 to 1."""
    return not_before + (not_after - not_before) * max(share - JITTER * chance, 0.0)


class Identity:
    """The certificate of the process, whom it trusts, and who its peers are."""

    def __init__(
        self,
        source: Source,
        trust_domain: str | None,
        *,
        operator_namespace: str = "",
        administrators: frozenset[str] = frozenset(),
        nats_server_name: str = "",
        pod_names: bool = False,
        now: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.nats_server_name = nats_server_name
        """The DNS name in the certificate of NATS, where it is not the host of its URL."""
        self._source = source
        self._trust_domain = trust_domain
        self._operator_namespace = operator_namespace
        self._administrators = administrators
        self._pod_names = pod_names
        self._now = now
        self._sleep = sleep
        self._report: Report = lambda ok, why: None
        self._credentials: Credentials | None = None
        self._trust: Trust | None = None
        self._revocations = Revocations()
        self._renew_at = datetime.max.replace(tzinfo=UTC)
        self._listeners: list[Callable[[], None]] = []
        self._refusal_listeners: list[Callable[[Refusal], None]] = []
        self._revocation_listeners: list[Callable[[], None]] = []
        self._context: ssl.SSLContext | None = None
        self._logs_refusals = True
        metrics.ENABLED.set(1)

    @classmethod
    async def once(cls, source: Source, nats_server_name: str = "") -> Self:
        """For a client that is soon over: whatever trust domain the certificate is of, and no renewal. Whom it refuses
        it tells by itself, and no log. Raises IdentityUnavailable."""
        identity = cls(source, None, nats_server_name=nats_server_name)
        identity._logs_refusals = False
        identity._take_trust(await source.trust())
        assert identity._trust is not None
        identity._take_credentials(await source.issue(identity._trust))
        return identity

    @property
    def credentials(self) -> Credentials:
        """What to show and whom to trust now. Raises IdentityUnavailable before `start` has returned."""
        if self._credentials is None:
            raise IdentityUnavailable("the process has no certificate yet")
        return self._credentials

    @property
    def name(self) -> IdentityName:
        """The name of this process."""
        return self.credentials.name

    @property
    def knows_revoked(self) -> bool:
        """Whether any certificate is known to be revoked."""
        return bool(self._revocations.revoked())

    def client_context(self) -> ssl.SSLContext:
        """For clients; stays the same object, and each connection that is opened takes what is valid then."""
        return CurrentContext(self._current_context)

    def on_refusal(self, listener: Callable[[Refusal], None]) -> End:
        """Calls back with each peer that is refused."""
        return _listen(self._refusal_listeners, listener)

    def on_change(self, listener: Callable[[], None]) -> End:
        """Calls back when the certificate or whom to trust has changed."""
        return _listen(self._listeners, listener)

    def on_revocation(self, listener: Callable[[], None]) -> End:
        """Calls back when a certificate is known to be revoked that was not before: who has let it in judges again."""
        return _listen(self._revocation_listeners, listener)

    async def start(self, report: Report = lambda ok, why: None) -> None:
        """Returns with a certificate, however often it has to ask; `report` is called from now on at each change."""
        self._report = report
        failures = 0
        while not await self.refresh():
            failures += 1
            await self._sleep(self._wait(failures))

    async def run(self) -> None:
        """Renews, until it is cancelled."""
        failures = 0
        while True:
            await self._sleep(self._wait(failures))
            failures = 0 if await self.refresh() else failures + 1

    def judge(self, certificate_pem: bytes) -> IdentityName | Refusal:
        """Who shows this certificate, or why it is refused; refusals are counted. The caller knows from the TLS library
        that an authority of ours has issued it."""
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
        except ValueError as error:
            return self.refuse(Reason.UNREADABLE, f"the certificate cannot be read: {error}")
        found = judge(certificate, self._trust_domain or self.name.trust_domain, self._revocations, self._now())
        return self.refuse(found.reason, found.text) if isinstance(found, Refusal) else found

    def judge_server(self, certificate_der: bytes) -> Refusal | None:
        """Why a server that shows this certificate is not to be trusted although its authority and its name are right:
        it is revoked, or nobody knows. Refusals are counted."""
        try:
            certificate = x509.load_der_x509_certificate(certificate_der)
        except ValueError as error:
            return self.refuse(Reason.UNREADABLE, f"the certificate cannot be read: {error}")
        found = self._revocations.judge(certificate, self._now())
        return self.refuse(found.reason, found.text) if found is not None else None

    def peer(self, name: IdentityName) -> Peer:
        """Who has this name."""
        return peer_named(name, self._operator_namespace, self._administrators)

    def refuse(self, reason: Reason, text: str) -> Refusal:
        """Counts, logs and tells a refusal."""
        metrics.REFUSED_PEERS.labels(reason=reason.value).inc()
        if self._logs_refusals:
            log.warning("peer_refused", reason=reason.value, error=text)
        refusal = Refusal(reason, text)
        for listener in self._refusal_listeners:
            listener(refusal)
        return refusal

    async def refresh(self) -> bool:
        """Asks the source for what is due; returns whether everything was there that was asked for."""
        what = "trust"
        try:
            self._take_trust(await self._source.trust())
            what = "certificate"
            if self._credentials is None or self._now() >= self._renew_at:
                assert self._trust is not None
                if self._take_credentials(await self._source.issue(self._trust)):
                    log.info("identity_issued", name=str(self.name), until=str(self.credentials.not_after))
        except IdentityUnavailable as error:
            metrics.FAILURES.labels(what=what).inc()
            log.warning("identity_not_renewed", what=what, error=str(error))
            self._tell(str(error))
            return False
        except Exception as error:  # the top of the loop: without it nobody would renew any more
            metrics.FAILURES.labels(what=what).inc()
            log.exception("identity_failed", what=what)
            self._tell(f"{type(error).__name__}: {error}")
            return False
        self._tell("")
        return True

    def _take_trust(self, trust: Trust) -> None:
        if trust == self._trust:
            return
        before, self._revocations = self._revocations.revoked(), Revocations.read(trust)
        metrics.REVOCATIONS_END.set(self._revocations.ends_at())
        bundle_changed = self._trust is None or trust.bundle_pem != self._trust.bundle_pem
        self._trust = trust
        if self._credentials is not None and bundle_changed:
            self._set(replace(self._credentials, bundle_pem=trust.bundle_pem))
        if self._revocations.revoked() - before:
            for listener in self._revocation_listeners:
                listener()

    def _take_credentials(self, credentials: Credentials) -> bool:
        """Whether they are others than before. Raises IdentityUnavailable when names are missing."""
        pods = credentials.name.pods_dns_name
        if self._pod_names and pods not in credentials.dns_names:
            raise IdentityUnavailable(
                f"the certificate of {credentials.name} has no DNS name {pods}, by which its pods know each other: "
                "issue one that has it"
            )
        before, self._renew_at = self._credentials, self._next_renewal(credentials)
        if before is not None and before.chain_pem == credentials.chain_pem:
            return False
        self._set(credentials)
        metrics.RENEWALS.inc()
        return True

    def _next_renewal(self, credentials: Credentials) -> datetime:
        share = self._source.renewal_share
        return renewal_time(credentials.not_before, credentials.not_after, share, random.random())

    def _set(self, credentials: Credentials) -> None:
        self._context = client_context(credentials)
        self._credentials = credentials
        for listener in self._listeners:
            listener()

    def _tell(self, why: str) -> None:
        """A process is without identity when its certificate has expired; until then it asks again."""
        credentials = self._credentials
        if credentials is None:
            self._report(False, why)
            return
        left = (credentials.not_after - self._now()).total_seconds()
        metrics.EXPIRY_SECONDS.set(left)
        self._report(left > 0, f"the certificate has expired; {why}" if left <= 0 else "")

    def _wait(self, failures: int) -> float:
        """Seconds until the next look: at the latest when the certificate is due."""
        most = self._source.poll_seconds
        if failures:
            return min(FIRST_WAIT_SECONDS * 2.0 ** min(failures - 1, 16), most) * random.uniform(0.5, 1.0)
        due = (self._renew_at - self._now()).total_seconds()
        return min(most, max(due, FIRST_WAIT_SECONDS)) if self._source.renewal_share else most

    def _current_context(self) -> ssl.SSLContext:
        if self._context is None:
            raise IdentityUnavailable("the process has no certificate yet")
        return self._context


def _listen(listeners: list[L], listener: L) -> End:
    listeners.append(listener)
    return partial(listeners.remove, listener)
