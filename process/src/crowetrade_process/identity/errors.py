"""Errors of identities.

IdentityError
├── IdentitySettingsError   the environment is wrong: another start does not help
├── IdentityUnavailable     the source gives no usable certificate now; it is asked again
└── NoServer                there is no server to talk to
    └── ServerRefused       there is one that is not to be trusted
"""

from __future__ import annotations


class IdentityError(Exception):
    """Base of all; the message is a sentence for the user."""


class IdentitySettingsError(IdentityError):
    """What the environment says cannot be used; the message says what to write instead."""


class IdentityUnavailable(IdentityError):
    """There is no certificate, or it cannot be used."""


class NoServer(IdentityError):
    """Nobody ends a TLS handshake at an address."""


class ServerRefused(NoServer):
    """Whoever does is not who it should be, or is revoked; `reason` is that of a Refusal."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"{text} ({reason})")
        self.reason = reason
