"""The two nkeys of the authorizer, made once for an installation: its user's and the one that signs its answers."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import nkeys

USER_SEED, ISSUER_SEED = "user.seed", "issuer.seed"
USER_KEY, ISSUER_KEY = "user.key", "issuer.key"
"""Keys of the Secret `crowetrade-authorizer`: the seeds are for the authorizer alone, the public keys for nats.conf."""


@dataclass(frozen=True, slots=True)
class Seeds:
    """Seeds as nkeys writes them: SU... and SA..."""

    user: str = field(repr=False)
    issuer: str = field(repr=False)

    @classmethod
    def make(cls) -> Seeds:
        """New ones."""
        return cls(_seed(nkeys.PREFIX_BYTE_USER), _seed(nkeys.PREFIX_BYTE_ACCOUNT))

    def secret(self) -> dict[str, str]:
        """`stringData` of the Secret."""
        return {
            USER_SEED: self.user,
            ISSUER_SEED: self.issuer,
            USER_KEY: pair(self.user).public_key.decode(),
            ISSUER_KEY: pair(self.issuer).public_key.decode(),
        }


def pair(seed: str) -> nkeys.KeyPair:
    """Raises nkeys.NkeysError."""
    return nkeys.from_seed(seed.strip().encode())


def _seed(prefix: int) -> str:
    return bytes(nkeys.encode_seed(os.urandom(32), prefix)).decode()
