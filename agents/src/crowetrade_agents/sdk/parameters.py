"""Reads `model.parameters` with bounds; what is wrong is a ValueError with one sentence for the manifest's author.

Small on purpose: every strategy process loads it, and a validation library would cost it more memory than the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


class Parameters:
    """The parameters of one model; `check_names` first, so that a misspelt one is found.

    Each method raises ValueError with the name of the parameter, what it must be and what it is.
    """

    def __init__(self, model: str, values: Mapping[str, object]) -> None:
        self._model = model
        self._values = values

    def check_names(self, known: Sequence[str]) -> None:
        """Raises ValueError when there is a parameter that the model does not have."""
        unknown = sorted(set(self._values) - set(known))
        if unknown:
            raise ValueError(
                f"model.parameters.{unknown[0]}: {self._model} has no such parameter, it has {', '.join(known)}"
            )

    def integer(self, name: str, default: int, minimum: int, maximum: int) -> int:
        """A whole number within the bounds, both included."""
        value = self._number(name, default)
        if value is None or not value.is_integer() or not minimum <= value <= maximum:
            raise ValueError(self._sentence(name, f"must be a whole number from {minimum} to {maximum}"))
        return int(value)

    def number(self, name: str, default: float, above: float, maximum: float) -> float:
        """A number above `above` and not above `maximum`."""
        value = self._number(name, default)
        if value is None or not above < value <= maximum:
            raise ValueError(self._sentence(name, f"must be a number above {above:g} and not above {maximum:g}"))
        return value

    def _number(self, name: str, default: float) -> float | None:
        value = self._values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            return None
        try:
            number = float(value)
        except (ValueError, OverflowError):
            return None
        return number if math.isfinite(number) else None

    def _sentence(self, name: str, rule: str) -> str:
        return f"model.parameters.{name}: {rule} (got {self._values.get(name)!r:.80})"
