"""The sentence to the user that a table or a page shows beside the report."""

from __future__ import annotations

PASSES_AFTER_LOOKS = 20


class Said:
    """The last one, as long as it holds."""

    def __init__(self) -> None:
        self._sentence = ""
        # None: it holds until the next one.
        self._looks_left: int | None = None

    def say(self, sentence: str, *, passing: bool) -> None:
        """Replaces what was said before; a passing one is shown for PASSES_AFTER_LOOKS."""
        self._sentence = sentence
        self._looks_left = PASSES_AFTER_LOOKS if passing else None

    def look(self) -> str:
        """What is to be shown now; empty where nothing is."""
        if self._looks_left is not None:
            if not self._looks_left:
                return ""
            self._looks_left -= 1
        return self._sentence
