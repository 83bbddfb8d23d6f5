"""Every error that the command line raises on purpose.

CliError         one sentence on standard error
├── WrongUse     the command was called in a way that it cannot mean: exit code 2
└── Failed       it could not do what was asked, or found what it looks for to be broken: exit code 1
    └── Refused  the API server answered, and the answer is no
"""

from __future__ import annotations

import errno
import os

FORBIDDEN = 403
NOT_FOUND = 404
CONFLICT = 409
TOO_MANY_REQUESTS = 429


class CliError(Exception):
    """Base of all; `exit_code` is the process' exit code."""

    exit_code = 1


class WrongUse(CliError):
    """The message says what to write instead."""

    exit_code = 2


class Failed(CliError):
    """The message says what failed and where."""


class Refused(Failed):
    """The message is the API server's sentence; `code` is its HTTP status."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code

    @property
    def final(self) -> bool:
        """Whether the same request will be refused again: neither a conflict, nor too many requests, nor a fault of the
        server."""
        return 400 <= self.code < 500 and self.code not in (CONFLICT, TOO_MANY_REQUESTS)


_REMEDIES = {
    errno.ENOSPC: "make room, or write to another disk",
    errno.EDQUOT: "make room, or write to another disk",
    errno.EROFS: "name a folder that may be written",
    errno.EACCES: "name another one, or get the right to it",
    errno.EPERM: "name another one, or get the right to it",
    errno.EMFILE: "allow more open files with ulimit -n",
}


def sentence_of(error: OSError) -> str:
    """What the system refuses: the file where it names one, and what to do where that is known. Libraries put texts of
    their own in the place of the system's."""
    if error.errno not in _REMEDIES:
        return str(error)
    file = f"{error.filename}: " if error.filename else ""
    return f"{file}{os.strerror(error.errno).lower()}: {_REMEDIES[error.errno]}"
