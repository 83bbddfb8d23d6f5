"""ClOrdIDs: `<strategy>-<start of the process, nanoseconds, base 36>-<n>`, never used twice."""

from __future__ import annotations

from itertools import count

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class ClOrdIds:
    """Counts upwards from 1 within one process."""

    def __init__(self, strategy: str, start_unix_ns: int) -> None:
        self._prefix = f"{strategy}-{base36(start_unix_ns)}"
        self._numbers = count(1)

    def next(self) -> str:
        """The next identifier."""
        return f"{self._prefix}-{next(self._numbers)}"


def base36(number: int) -> str:
    """A number of at least 0 in base 36, lower case."""
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if number == 0:
            return digits
