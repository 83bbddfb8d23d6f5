"""What is raised when an invariant does not hold."""

from __future__ import annotations


class Broken(Exception):
    """An invariant does not hold; `invariant` names it."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant


def expect(holds: object, invariant: str, text: object) -> None:
    """Raises Broken unless it holds."""
    if not holds:
        raise Broken(invariant, str(text))
