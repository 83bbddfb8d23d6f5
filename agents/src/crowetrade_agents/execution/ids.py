"""ClOrdIDs: `STRATEGY-RUN-NUMBER`, never used twice. STRATEGY is what the gateway calls the strategy.

RUN is the start of the process in nanoseconds since the Unix epoch, base 36, 10 to 13 characters; NUMBER rises from 1.
Orders, cancels and replaces are numbered together, so that the gateway recognises a used one by its number alone.
"""

from __future__ import annotations

from itertools import count

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_MIN_RUN_LENGTH = 10


class ClOrdIds:
    """The identifiers of one process."""

    def __init__(self, start_unix_ns: int) -> None:
        self._run = base36(start_unix_ns).zfill(_MIN_RUN_LENGTH)
        self._numbers = count(1)

    def next(self, strategy: str) -> str:
        """The next identifier, at a gateway that calls the strategy so."""
        return f"{strategy}-{self._run}-{next(self._numbers)}"


def base36(number: int) -> str:
    """A number of at least 0 in base 36, lower case."""
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if number == 0:
            return digits
