"""Every error that the agents raise on purpose.

AgentError
├── ConfigurationError      the manifest or the environment is wrong: say so and leave with exit code 78
├── DataError               recorded data cannot be read
├── NotPublished            a message did not go to the bus: count it, and go on
├── KeysUnavailable         the venue's keys are not in the pod, or are unusable
├── JournalError
│   ├── Overtaken           another gateway appended to the journal: stop at once
│   ├── JournalUnavailable  it cannot be read, or an append was not confirmed: stop, and read it again
│   └── JournalCorrupt      the hash chain or the order of events is broken
├── LedgerUnavailable       there is no answer about shares of limits: keep what is held, and ask again
├── LedgerUnreadable        what the bus holds about shares of a limit cannot be read or does not add up
├── ClockSetBack            the machine's clock was set back: stop, and start again with the new time
├── SessionTakenOver        a newer session of the same strategy is logged on: do not open another
├── ModelFailed             a strategy's model raised an error or returned what cannot be used
├── InvalidNumber           not a finite decimal
└── InvalidLimit            a limit of a RiskLimit cannot be read
"""

from __future__ import annotations


class AgentError(Exception):
    """Base of all."""


class ConfigurationError(AgentError):
    """What the user wrote cannot run; the message says what to write instead."""


class DataError(ConfigurationError):
    """Recorded data is missing or malformed."""


class NotPublished(AgentError):
    """The bus did not take a message. `reason`, CamelCase: TooLarge, BufferFull, or the connection's error."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class KeysUnavailable(AgentError):
    """The venue's keys are not in the pod, or cannot be used as they are. `reason` is one of crowetrade_api.reasons;
    the text never quotes a key."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class JournalError(AgentError):
    """The journal cannot be used."""


class Overtaken(JournalError):
    """A newer gateway owns the journal (fencing)."""


class JournalUnavailable(JournalError):
    """The journal cannot be read, or an append was not confirmed, so that what it holds is not known."""


class JournalCorrupt(JournalError):
    """The journal does not verify."""


class ClockSetBack(AgentError):
    """The machine's clock was set back by more than a process may be ahead of it."""


class LedgerUnavailable(AgentError):
    """There is no answer from where the shares of limits are written down; what was asked for may happen later."""


class LedgerUnreadable(AgentError):
    """The shares of a limit cannot be read or do not add up: nobody has any."""


class SessionTakenOver(AgentError):
    """A newer session of the same strategy is logged on. Two processes that take over from each other would both never
    trade, so this one opens no session again."""


class ModelFailed(AgentError):
    """The message names the hook and what it raised or returned."""


class InvalidNumber(AgentError, ValueError):
    """Text that is not a finite decimal number."""


class InvalidLimit(AgentError, ValueError):
    """The values of a limit are missing, unknown or out of range; the message says which."""
