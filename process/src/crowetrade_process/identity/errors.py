"""Errors of identities.

IdentityError
├── IdentitySettingsError   the environment is wrong: another start does not help
└── IdentityUnavailable     the source gives no usable certificate now; it is asked again
"""

from __future__ import annotations


class IdentityError(Exception):
    """Base of all; the message is a sentence for the user."""


class IdentitySettingsError(IdentityError):
    """What the environment says cannot be used; the message says what to write instead."""


class IdentityUnavailable(IdentityError):
    """There is no certificate, or it cannot be used."""
