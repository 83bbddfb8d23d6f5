"""Identities from files, which a test replaces."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from crowetrade_process.identity.files import FilesSource
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.metrics import REFUSED_PEERS
from crowetrade_process.identity.name import IdentityName
from crowetrade_process.identity.peer import Reason

from .authority import TRUST_DOMAIN, Authority, Issued, identity_name, write_identity

OPERATOR_NAMESPACE = "crowetrade"
ADMINISTRATOR = identity_name("alice", "people")


def now() -> datetime:
    """The time of the system."""
    return datetime.now(UTC)


class Files:
    """An identity whose files a test writes; `renew` takes over what they hold, as the holder does by itself."""

    def __init__(self, directory: Path, issued: Issued, *trusted: Authority, revocations: bytes = b"") -> None:
        self.directory = write_identity(directory, issued, *trusted, revocations=revocations)
        self.identity = Identity(
            FilesSource(directory, TRUST_DOMAIN, now),
            TRUST_DOMAIN,
            operator_namespace=OPERATOR_NAMESPACE,
            administrators=frozenset({ADMINISTRATOR.uri}),
        )

    async def renew(self, issued: Issued, *trusted: Authority, revocations: bytes = b"") -> None:
        """Replaces the files."""
        write_identity(self.directory, issued, *trusted, revocations=revocations)
        assert await self.identity.refresh()


async def identity_of(directory: Path, name: IdentityName, authority: Authority, *trusted: Authority) -> Files:
    """One that works, with a certificate for `name`."""
    files = Files(directory, authority.issue_to(name), *(trusted or (authority,)))
    await files.identity.start()
    return files


def refused(reason: Reason) -> float:
    """How often peers were refused for this reason."""
    return float(REFUSED_PEERS.labels(reason=reason.value)._value.get())
