"""Fields of a status that the CRD in the cluster does not declare, because it is older than the operator.

Server-side apply refuses the whole status for one of them, so they are left out. From time to time they are sent all
the same: the CRD may have been upgraded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from crowetrade_api.names import Kind
from crowetrade_operator.cluster.objects import Object

TRY_AGAIN_SECONDS = 60.0
# As structured-merge-diff writes it: .status.position[symbol="EUR-USD"].lastKnownTime: field not declared in schema
_NOT_DECLARED = re.compile(r"\.status((?:\.\w+|\[[^\]]*\])+): field not declared in schema")
_ITEM = re.compile(r"\[[^\]]*\]")

Path = tuple[str, ...]
"""Names of the fields from the status down; lists are gone through without being named."""


def undeclared_fields(message: str) -> frozenset[Path]:
    """The fields of a status that an answer of the API server says are not declared."""
    return frozenset(tuple(_ITEM.sub("", found).strip(".").split(".")) for found in _NOT_DECLARED.findall(message))


def without(status: Object, paths: frozenset[Path]) -> Object:
    """The status without these fields."""
    for path in paths:
        status = _without(status, path)
    return status


def _without(value: Any, path: Path) -> Any:
    if isinstance(value, list):
        return [_without(item, path) for item in value]
    if not isinstance(value, dict) or path[0] not in value:
        return value
    rest = {name: item for name, item in value.items() if name != path[0]}
    return rest if len(path) == 1 else {**rest, path[0]: _without(value[path[0]], path[1:])}


class UndeclaredFields:
    """What is known of the CRDs in the cluster, by kind."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._found: dict[Kind, tuple[frozenset[Path], float]] = {}

    def of(self, kind: Kind) -> tuple[str, ...]:
        """The fields that are left out, such as status.venues."""
        paths, _ = self._found.get(kind, (frozenset[Path](), 0.0))
        return tuple(sorted(".".join(("status", *path)) for path in paths))

    def declared(self, kind: Kind, status: Object) -> Object:
        """What may be sent of a status now."""
        paths, at = self._found.get(kind, (frozenset[Path](), 0.0))
        return status if self._clock() - at >= TRY_AGAIN_SECONDS else without(status, paths)

    def refused(self, kind: Kind, sent: Object, paths: frozenset[Path]) -> bool:
        """The API server does not know these fields of what was sent; tells whether that is news."""
        before, _ = self._found.get(kind, (frozenset[Path](), 0.0))
        after = paths | {path for path in before if without(sent, frozenset({path})) == sent}
        self._found[kind] = (after, self._clock())
        return after != before

    def taken(self, kind: Kind, sent: Object) -> bool:
        """A status was taken; tells whether fields of it were undeclared until now."""
        before, at = self._found.get(kind, (frozenset[Path](), 0.0))
        after = frozenset(path for path in before if without(sent, frozenset({path})) == sent)
        if after == before:
            return False
        self._found[kind] = (after, at)
        return True
