"""Where a process has its certificate from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from crowetrade_process.identity.credentials import Credentials


@dataclass(frozen=True, slots=True)
class Trust:
    """Certificates of the authorities whose certificates are accepted, and what they have revoked; PEM."""

    bundle_pem: bytes = field(repr=False)
    revocations_pem: bytes | None = field(default=None, repr=False)
    """None: the source has no revocation lists, and nothing counts as revoked."""


class Source(Protocol):
    """Issues credentials. Whatever is wrong raises IdentityUnavailable, and the caller asks again later."""

    @property
    def renewal_share(self) -> float:
        """The share of a certificate's lifetime after which to ask for another one."""
        ...

    @property
    def poll_seconds(self) -> float:
        """How often to look at the trust."""
        ...

    async def issue(self, trust: Trust) -> Credentials:
        """New credentials, or the ones from before where somebody else renews them; `trust` confirms them."""
        ...

    async def trust(self) -> Trust:
        """Whom to trust now."""
        ...
