"""Keeps the venue's keys fresh: a new version is used as soon as it is there, while orders go on.

Vault Agent, or Kubernetes, puts a new version into the pod; then the session is logged on again with it. A venue that
refuses it keeps the session that there is, and it is tried again with growing pauses, because venues lock accounts that
are tried too often. The version before is forgotten with the logon.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import structlog

from crowetrade.bus.v1 import status_pb2
from crowetrade_agents.credentials.files import VenueKeys, read_mounted, read_rendered
from crowetrade_agents.credentials.vault_agent import Problem, follow
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.errors import KeysUnavailable
from crowetrade_agents.gateway.budget import SECOND_NS
from crowetrade_agents.metrics import KEY_RENEWALS
from crowetrade_agents.venues.port import LogonRefused, VenueUnavailable
from crowetrade_api.files import CREDENTIALS_DIRECTORY, VAULT_AGENT_LOG, EnvName, VenueFile
from crowetrade_api.reasons import Reason
from crowetrade_api.v1alpha1.venueconnection import Credentials
from crowetrade_process.confined import open_confined

log = structlog.get_logger()

NOT_LOOKED = KeysUnavailable(Reason.WAITING_FOR_CREDENTIALS, "the gateway has not looked for the keys yet")
RESULTS = ("renewed", "refused", "failed")
"""Of a logon with new keys."""
LOOK_NS = SECOND_NS // 4
FIRST_PAUSE_NS = SECOND_NS
LONGEST_PAUSE_NS = 60 * SECOND_NS
MAX_LOG_BYTES = 64 * 1024
"""Read of Vault Agent's log at a time: more than it writes in a minute of failures."""


def key_keeper(file: VenueFile, environment: Mapping[str, str], clock: Clock) -> KeyKeeper | None:
    """None for a venue without credentials. What is counted begins with 0 for every venue: of a series that begins with
    the first failure nobody sees an increase."""
    for result in RESULTS:
        KEY_RENEWALS.labels(result)
    if file.spec.credentials is None:
        return None
    directory = Path(environment.get(EnvName.CREDENTIALS_DIRECTORY, CREDENTIALS_DIRECTORY))
    return KeyKeeper(directory, file.spec.credentials, clock)


class KeyKeeper:
    """The keys of one gateway. `read` is for its adapters, `logged_on` for its session."""

    def __init__(self, directory: Path, credentials: Credentials, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._vault = credentials.vault
        source = credentials.vault or credentials.secret_ref
        self._fields = source.keys.fields() if source is not None else {}
        self._read_last: VenueKeys | None = None
        self._in_use: VenueKeys | None = None
        self._since_ns = 0
        self._unavailable: KeysUnavailable | None = NOT_LOOKED
        # Keys that the venue did not take, and its words.
        self._refused: tuple[VenueKeys, str] | None = None
        self._pause_ns = FIRST_PAUSE_NS
        self._again_ns = 0
        self._agent: Problem | None = None
        self._log_place = (0, 0)
        self._used: Callable[[str, str | None], None] = lambda version, before: None

    def on_use(self, used: Callable[[str, str | None], None]) -> None:
        """Calls back with the version that the session uses now, and the one before; None at the first logon."""
        self._used = used

    def read(self) -> Mapping[str, str]:
        """The keys that are in the pod now. Raises VenueUnavailable."""
        try:
            self._read_last = self._look()
        except KeysUnavailable as error:
            raise VenueUnavailable(f"the venue's keys are not there: {error}") from error
        return self._read_last.keys

    def logged_on(self) -> None:
        """The venue has accepted the keys that were read last."""
        before, self._in_use = self._in_use, self._read_last
        self._since_ns, self._refused, self._pause_ns = self._clock.now_ns(), None, FIRST_PAUSE_NS
        if self._in_use is None or before == self._in_use:
            return
        if before is not None:
            KEY_RENEWALS.labels("renewed").inc()
            log.info("venue_keys_renewed", version=self._in_use.version, before=before.version)
        self._used(self._in_use.version, before.version if before is not None else None)

    async def run(self, renew: Callable[[], Awaitable[None]]) -> None:
        """Looks for new keys until it is cancelled; `renew` logs the session on with them."""
        while True:
            await self._clock.wait_until(self._clock.now_ns() + LOOK_NS)
            self._read_agent_log()
            try:
                found = self._look()
            except KeysUnavailable:
                continue
            if self._in_use in (None, found) or self._is_too_early(found):
                continue
            try:
                await renew()
            except LogonRefused as error:
                self._not_taken(found, str(error), "refused")
            except VenueUnavailable as error:
                self._not_taken(found, str(error), "failed")

    def status(self) -> status_pb2.CredentialsStatus:
        """What the gateway reports of its keys."""
        problem = self._problem()
        used = self._in_use
        return status_pb2.CredentialsStatus(
            in_use=used is not None,
            version=used.version if used is not None else "",
            since_unix_ns=self._since_ns,
            reason=problem.reason if problem is not None else "",
            message=problem.text if problem is not None else "",
        )

    def _problem(self) -> Problem | None:
        """What needs a person most. That nothing is there is explained by what Vault Agent says."""
        unavailable = self._unavailable
        missing = unavailable is not None and unavailable.reason == Reason.WAITING_FOR_CREDENTIALS
        if unavailable is not None and not missing:
            return Problem(unavailable.reason, str(unavailable))
        if self._refused is not None and not missing:
            found, said = self._refused
            which = f"version {found.version} of the keys" if found.version else "the new keys"
            return Problem(Reason.CREDENTIALS_REFUSED, f"the venue does not take {which}: {said}")
        if self._agent is not None:
            return self._agent
        return Problem(unavailable.reason, str(unavailable)) if unavailable is not None else None

    def _look(self) -> VenueKeys:
        reading = read_rendered if self._vault is not None else read_mounted
        try:
            found = reading(self._directory, self._fields)
        except KeysUnavailable as error:
            if self._unavailable is None or str(self._unavailable) != str(error):
                log.warning("venue_keys_unavailable", reason=error.reason, error=str(error))
            self._unavailable = error
            raise
        self._unavailable = None
        return found

    def _is_too_early(self, found: VenueKeys) -> bool:
        """Whether the venue has just not taken these very keys."""
        return self._refused is not None and self._refused[0] == found and self._clock.now_ns() < self._again_ns

    def _not_taken(self, found: VenueKeys, text: str, result: str) -> None:
        same = self._refused is not None and self._refused[0] == found
        self._pause_ns = min(self._pause_ns * 2, LONGEST_PAUSE_NS) if same else FIRST_PAUSE_NS
        self._again_ns = self._clock.now_ns() + self._pause_ns
        self._refused = found, text
        KEY_RENEWALS.labels(result).inc()
        log.error("venue_keys_not_taken", version=found.version, error=text, again_seconds=self._pause_ns / SECOND_NS)

    def _read_agent_log(self) -> None:
        """The lines that are new since the last look, complete ones alone."""
        if self._vault is None:
            return
        path = self._directory / VAULT_AGENT_LOG
        try:
            place = path.stat()
            number, offset = self._log_place
            if place.st_ino != number or place.st_size < offset:
                # Begun again, or the first look.
                offset = 0
            if place.st_size == offset:
                return
            begin = max(offset, place.st_size - MAX_LOG_BYTES)
            with open_confined(path, self._directory) as file:
                file.seek(begin)
                complete = file.read(MAX_LOG_BYTES).rpartition(b"\n")[0]
        except OSError:
            # There is none, as where Vault Agent was injected: its problems are in its container's log alone.
            return
        self._log_place = place.st_ino, begin + len(complete)
        lines = complete.decode(errors="replace").split("\n")
        before = self._agent
        self._agent = follow(before, lines, self._vault.path, self._vault.role)
        if self._agent != before and self._agent is not None:
            log.warning("vault_agent_fails", reason=self._agent.reason, error=self._agent.text)
