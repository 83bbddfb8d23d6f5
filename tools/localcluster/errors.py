"""The one error of this tool: its text is a sentence that says what to do next."""

from __future__ import annotations


class ClusterError(Exception):
    """Shown to the user as it is, without a traceback."""
