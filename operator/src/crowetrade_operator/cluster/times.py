"""Wall-clock times as Kubernetes writes them."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(unix: float) -> str:
    """A wall-clock time as Kubernetes writes it, in whole seconds."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(unix: float) -> str:
    """The same in microseconds, as in Leases and events."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def unix_of(text: str) -> float:
    """Seconds since the Unix epoch of a time that Kubernetes wrote."""
    return datetime.fromisoformat(text).timestamp()
