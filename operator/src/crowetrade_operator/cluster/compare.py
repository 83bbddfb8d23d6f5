"""Would an apply change anything? Pure: desired object and live object in, what differs out.

Server-side apply of an object that is already as wanted is a request that changes nothing; with thousands of objects
these requests are most of the load. An apply is skipped when the hash of what we applied last is the hash of what we
want, and nobody has changed it since. What is ours is said by managedFields (see managed_fields.py), never by the
values: the API server normalises some, admission may overrule others, and what others add beside our fields is theirs.

Where something added opens what should be closed, nobody may add anything: those fields are compared as equal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from crowetrade_api.names import APPLIED_HASH_ANNOTATION
from crowetrade_operator.cluster.managed_fields import Step, dotted, lost, ours, writer
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.cluster.resources import BY_KIND, Path


@dataclass(frozen=True, slots=True)
class Drift:
    """A field of a child that somebody else has changed, removed or added."""

    field: str
    # Who wrote it, as their client calls itself; empty when that is not known.
    writer: str = ""


def content_hash(content: Any) -> str:
    """SHA-256 over the canonical JSON of the content."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def with_hash(desired: Object) -> Object:
    """The object with the hash of its own content in an annotation; as it is, when it has one."""
    if applied_hash(desired):
        return desired
    metadata = desired["metadata"]
    annotations = {**metadata.get("annotations", {}), APPLIED_HASH_ANNOTATION: content_hash(desired)}
    return {**desired, "metadata": {**metadata, "annotations": annotations}}


def without_hash(desired: Object) -> Object:
    """The content that `with_hash` was given."""
    metadata = desired["metadata"]
    others = metadata.get("annotations", {}).items()
    annotations = {name: text for name, text in others if name != APPLIED_HASH_ANNOTATION}
    rest = {name: value for name, value in metadata.items() if name != "annotations"}
    return {**desired, "metadata": rest | ({"annotations": annotations} if annotations else {})}


def applied_hash(item: Object) -> str:
    """The hash of what was applied, or is to be; empty when there is none."""
    return str((item["metadata"].get("annotations") or {}).get(APPLIED_HASH_ANNOTATION, ""))


def controller_uid(item: Object) -> str:
    """uid of the object that controls it; empty when none does. A child is ours by this alone."""
    owners = item["metadata"].get("ownerReferences") or ()
    return next((str(owner.get("uid", "")) for owner in owners if owner.get("controller")), "")


def is_applied(desired: Object, live: Object | None) -> bool:
    """Whether the live object has our content, and all of it is still ours."""
    return live is not None and has_content(desired, live) and not drifts(desired, live)


def has_content(desired: Object, live: Object) -> bool:
    """Whether the last apply was of this content (which has its hash), whatever others have changed since."""
    return applied_hash(live) == applied_hash(desired)


def drifts(desired: Object, live: Object) -> list[Drift]:
    """What others have changed of an object that has our content."""
    metadata = {name: desired["metadata"][name] for name in ("labels", "annotations") if name in desired["metadata"]}
    content = {name: value for name, value in desired.items() if name not in ("apiVersion", "kind", "metadata")}
    fields, wanted = ours(live), {"metadata": metadata, **content}
    paths: list[tuple[Step, ...]] = list(lost(wanted, fields)) if fields else [(name,) for name in wanted]
    paths += [path for path in _beyond(desired, live) if path not in paths]
    if controller_uid(desired) != controller_uid(live):
        paths.append(("metadata", "ownerReferences"))
    return [Drift(dotted(path), writer(live, path)) for path in paths]


def without_others(desired: Object, live: Object) -> Object | None:
    """The JSON merge patch that takes away what others have added where only we may write; None when it is nothing.

    An apply takes back what is ours and leaves what others have beside it.
    """
    patch: Object = {}
    for path in _beyond(desired, live):
        inner = patch
        for step in path[:-1]:
            inner = inner.setdefault(step, {})
        inner[path[-1]] = _at(desired, path)
    return patch or None


def _beyond(desired: Object, live: Object) -> Iterator[Path]:
    for path in BY_KIND[desired["kind"]].only_ours:
        wanted, found = _at(desired, path), _at(live, path)
        if found != wanted and not (wanted in (None, [], False) and found in (None, [], False)):
            yield path


def _at(item: Any, path: Path) -> Any:
    for step in path:
        item = item.get(step) if isinstance(item, dict) else None
    return item
