"""What the API server holds, as far as the operator watches it: our kinds, and the children by our label.

Two writers: watch events one by one, and from time to time a full list that finds what a watch lost (a relist after
"410 Gone" brings no deletions). Of two events the newer resourceVersion wins. A list is the truth, also where its
versions are older than what is known: versions go back when etcd is restored from a backup. Only what came or went by
an event while the list was read may be newer than the list. Readers get the stored dictionaries and must not change
them.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from crowetrade_api.names import STRATEGY_LABEL, VENUE_LABEL, Key, Kind
from crowetrade_operator.cluster import managed_fields
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.cluster.resources import BY_KIND, ApiResource, Path, Role

SHORT = 64
"""Longer texts, in characters, are seldom the same in two objects."""
Address = tuple[str, str, str]
"""Kind, namespace and name."""
Listener = Callable[[Object | None, Object | None], None]
"""Called with the object before (None: it is new) and after (None: it is gone)."""


def address_of(item: Object) -> Address:
    """Where an object is."""
    return item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]


def owner_key(item: Object) -> Key | None:
    """The custom resource that a child is about, by its labels: anybody can set them, so that they say nothing about
    whose it is."""
    labels = item["metadata"].get("labels") or {}
    namespace = item["metadata"].get("namespace", "")
    if STRATEGY_LABEL in labels:
        return Key(Kind.STRATEGY, namespace, labels[STRATEGY_LABEL])
    if VENUE_LABEL in labels:
        return Key(Kind.VENUE, namespace, labels[VENUE_LABEL])
    return None


def version_of(item: Object) -> int:
    """resourceVersion as a number; Kubernetes documents that versions of one kind can be ordered."""
    text = item["metadata"].get("resourceVersion") or "0"
    return int(text) if text.isdigit() else 0


class Cache:
    """Objects by address, with indexes by kind and by owner."""

    def __init__(self) -> None:
        self._items: dict[Address, Object] = {}
        self._kinds: dict[tuple[str, str], dict[str, Object]] = defaultdict(dict)
        self._owned: dict[Key, dict[Address, Object]] = defaultdict(dict)
        self._counts: Counter[str] = Counter()
        self._changes: Counter[tuple[str, str]] = Counter()
        self._deleted: dict[str, int] = {}
        self._stored_since_list: set[Address] = set()
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Calls back with every object that came, changed or went."""
        self._listeners.append(listener)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """One object."""
        return self._items.get((kind, namespace, name))

    def all(self, kind: str, namespace: str) -> Iterator[Object]:
        """All objects of a kind in a namespace, by name."""
        items = self._kinds.get((kind, namespace), {})
        return (items[name] for name in sorted(items))

    def names(self, kind: str, namespace: str) -> list[str]:
        """Names of all objects of a kind in a namespace, in no order."""
        return list(self._kinds.get((kind, namespace), ()))

    def changes(self, kind: str, namespace: str) -> int:
        """Grows with each change of an object of the kind in the namespace."""
        return self._changes[kind, namespace]

    def of_kind(self, kind: str) -> Iterator[Object]:
        """All objects of a kind."""
        return (item for (found, _), items in self._kinds.items() if found == kind for item in items.values())

    def count(self, kind: str) -> int:
        """How many objects of a kind there are."""
        return self._counts[kind]

    def namespaces(self, kind: str) -> list[str]:
        """Namespaces that hold an object of the kind."""
        return sorted(namespace for (found, namespace), items in self._kinds.items() if found == kind and items)

    def owned(self, key: Key) -> list[Object]:
        """Objects about a custom resource, by their labels."""
        return list(self._owned.get(key, {}).values())

    def put(self, item: Object) -> bool:
        """Stores an object unless a newer one, or its deletion, is known; tells whether something changed."""
        address, uid = address_of(item), item["metadata"].get("uid", "")
        if uid in self._deleted:
            return False
        known = self._items.get(address)
        if known is not None and version_of(known) >= version_of(item):
            return False
        self._stored_since_list.add(address)
        self._store(address, known, item)
        return True

    def _store(self, address: Address, known: Object | None, item: Object) -> None:
        self._counts[address[0]] += known is None
        if known is not None:
            self._unindex(address, known)
        slim = _slim(item)
        self._items[address] = slim
        self._kinds[address[0], address[1]][address[2]] = slim
        owner = owner_key(slim) if BY_KIND[address[0]].role is not Role.OWN else None
        if owner is not None:
            self._owned[owner][address] = slim
        if known is None or not _same(known, slim):
            self._tell(known, slim)

    def remove(self, item: Object) -> bool:
        """Forgets an object, if it is still the one with that uid."""
        address, uid = address_of(item), item["metadata"].get("uid", "")
        self._deleted[uid] = version_of(item)
        known = self._items.get(address)
        if known is None or known["metadata"].get("uid", "") != uid:
            return False
        del self._items[address]
        self._counts[address[0]] -= 1
        self._unindex(address, known)
        self._tell(known, None)
        return True

    def begin_list(self) -> None:
        """Called before a list is read: what comes and goes from here on may be newer than what the list says."""
        self._deleted.clear()
        self._stored_since_list.clear()

    def replace(self, resource: ApiResource, namespace: str, items: Iterable[Object], version: str) -> list[Object]:
        """Takes over a full list; returns the objects that had been missed or were wrongly kept."""
        listed = {address_of(item): item for item in items}
        missed = [item for item in listed.values() if self._take_from_list(item)]
        limit = int(version) if version.isdigit() else 0
        for address, known in list(self._items.items()):
            in_scope = address[0] == resource.kind and namespace in ("", address[1])
            is_newer = address in self._stored_since_list and version_of(known) > limit
            if in_scope and address not in listed and not is_newer:
                missed.append(known)
                self.remove(known)
        return missed

    def _take_from_list(self, item: Object) -> bool:
        address = address_of(item)
        known = self._items.get(address)
        if known is None or address in self._stored_since_list:
            return self.put(item)
        if (version_of(known), known["metadata"].get("uid")) == (version_of(item), item["metadata"].get("uid")):
            return False
        if item["metadata"].get("uid", "") in self._deleted:
            return False
        self._store(address, known, item)
        return True

    def _unindex(self, address: Address, item: Object) -> None:
        self._kinds[address[0], address[1]].pop(address[2], None)
        owner = owner_key(item)
        if owner is not None and owner in self._owned:
            self._owned[owner].pop(address, None)
            if not self._owned[owner]:
                del self._owned[owner]

    def _tell(self, before: Object | None, after: Object | None) -> None:
        item = after or before
        assert item is not None
        kind, namespace, _ = address_of(item)
        self._changes[kind, namespace] += 1
        for listener in self._listeners:
            listener(before, after)


def _slim(item: Object) -> Object:
    """managedFields are most of an object: of children what is kept of them is shared, and of others nobody reads
    them. The content of children is kept as far as it is compared or decided from."""
    resource = BY_KIND[item["kind"]]
    metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    if resource.role is Role.OWN:
        return {key: _shared(value) for key, value in {**item, "metadata": metadata}.items()}
    if resource.role is Role.CHILD:
        metadata["managedFields"] = managed_fields.kept(item["metadata"].get("managedFields") or ())
    slim: Object = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    for path in resource.kept:
        _copy(item, slim, path)
    return slim


def _shared(value: Any) -> Any:
    """The same, with one copy in the process of each name and of each short text: of what watches bring each object has
    its own, and those are half of it."""
    if isinstance(value, dict):
        return {sys.intern(key): _shared(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shared(item) for item in value]
    return sys.intern(value) if type(value) is str and len(value) <= SHORT else value


def _copy(source: Object, target: Object, path: Path) -> None:
    for step in path[:-1]:
        found = source.get(step)
        if not isinstance(found, dict):
            return
        source, target = found, target.setdefault(step, {})
    if path[-1] in source:
        target[path[-1]] = source[path[-1]]


def _same(before: Object, after: Object) -> bool:
    """Whether nothing that is kept differs but the version: as when somebody writes a status that nobody here reads."""
    metadata = {**after["metadata"], "resourceVersion": before["metadata"].get("resourceVersion")}
    return before == {**after, "metadata": metadata}
