"""Every error about the audit trail.

AuditError
├── AuditBroken       records are not as they were written: the message names the first place
└── AuditUnavailable  the bus does not answer, or has no such stream; trying again may help
"""

from __future__ import annotations


class AuditError(Exception):
    """Base of all."""


class AuditBroken(AuditError):
    """The message names the writer and the first record that is not as it was written."""


class AuditUnavailable(AuditError):
    """The message says what could not be done, and why."""
