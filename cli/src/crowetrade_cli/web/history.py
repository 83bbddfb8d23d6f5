"""Profit and loss over the time of a run, thinned as it grows so that it stays bounded. Pure."""

from __future__ import annotations

from collections.abc import Mapping

POINTS = 720
"""Kept at most: six minutes of looks twice a second, then of every second look, and so on."""

Point = tuple[int, Mapping[str, str]]
"""Milliseconds since the Unix epoch, and an amount by series; an amount is empty where it is not known."""


class History:
    """The points kept so far, oldest first."""

    def __init__(self) -> None:
        self._points: list[Point] = []
        self._every = 1
        self._offered = 0

    def record(self, at_ms: int, amounts: Mapping[str, str]) -> None:
        """Offers a point, which is kept if its turn has come; offer them at a steady rate."""
        if self._offered % self._every == 0:
            self._points.append((at_ms, dict(amounts)))
        self._offered += 1
        if len(self._points) > POINTS:
            self._points = self._points[::2]
            self._every *= 2

    def points(self) -> list[Point]:
        """A copy."""
        return list(self._points)
