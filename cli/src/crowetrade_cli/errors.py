"""Every error that the command line raises on purpose.

CliError         one sentence on standard error
├── WrongUse     the command was called in a way that it cannot mean: exit code 2
└── Failed       it could not do what was asked, or found what it looks for to be broken: exit code 1
"""

from __future__ import annotations


class CliError(Exception):
    """Base of all; `exit_code` is the process' exit code."""

    exit_code = 1


class WrongUse(CliError):
    """The message says what to write instead."""

    exit_code = 2


class Failed(CliError):
    """The message says what failed and where."""
