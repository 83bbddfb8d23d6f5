"""What the API server stores, as plain values: objects, and notes that become Events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Note:
    """What happened to one object."""

    type: Literal["Normal", "Warning"]
    reason: str
    action: str
    text: str
    # From what on record it follows. Two leaders that find the same on record tell it once; empty when it follows from
    # what only one of them can have done.
    occasion: str = ""


@dataclass(frozen=True, slots=True)
class PodWarning:
    """What a node warned of when it could not start a pod."""

    reason: str
    note: str


def version_of(item: Object) -> int:
    """resourceVersion as a number; Kubernetes documents that versions of one kind can be ordered."""
    return version_from(item["metadata"].get("resourceVersion") or "")


def version_from(text: str) -> int:
    """The resourceVersion of an object or of a list as a number; 0 for one that is none."""
    return int(text) if text.isdigit() else 0
