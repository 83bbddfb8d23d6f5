"""The key without which nothing approved can be made. risk.gate alone imports it; .importlinter and a test say so."""

from __future__ import annotations

KEY = object()


def require(key: object) -> None:
    """Raises TypeError unless `key` is the gate's."""
    if key is not KEY:
        raise TypeError("only crowetrade_agents.risk.gate approves orders, cancels and replaces: ask it")
