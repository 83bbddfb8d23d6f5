"""What the API server holds, as far as the operator watches it: our kinds, and the children by our label.

Two writers: watch events one by one, and from time to time a full list that finds what a watch lost (a relist after
"410 Gone" brings no deletions). Of two events the newer resourceVersion wins. A list is the truth, also where its
versions are older than what is known: versions go back when etcd is restored from a backup. Only what came or went by
an event while the list was read may be newer than the list.

Objects are kept as text (packed.py), and what is read of it is remembered for a while, because a reconcile looks at the
same objects several times. Readers must not change what they get.
"""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

from crowetrade_api.names import STRATEGY_LABEL, VENUE_LABEL, Key, Kind
from crowetrade_operator.cluster import managed_fields
from crowetrade_operator.cluster.objects import Object, version_of
from crowetrade_operator.cluster.packed import Packed, Packer
from crowetrade_operator.cluster.resources import BY_KIND, ApiResource, Path, Role

REMEMBERED = 1_000
"""So many objects are not read from their text each time: what the reconciles under way look at."""
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


class Cache:
    """Objects by address, with indexes by kind and by owner."""

    def __init__(self) -> None:
        self._packer = Packer()
        self._items: dict[Address, Packed] = {}
        self._kinds: dict[tuple[str, str], dict[str, Packed]] = defaultdict(dict)
        self._owned: dict[Key, dict[Address, Packed]] = defaultdict(dict)
        self._open = functools.lru_cache(REMEMBERED)(Packed.open)
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
        packed = self._items.get((kind, namespace, name))
        return self._open(packed) if packed is not None else None

    def packed(self, kind: str, namespace: str, name: str) -> Packed | None:
        """One object as it is kept: another one after each change."""
        return self._items.get((kind, namespace, name))

    def all(self, kind: str, namespace: str) -> Iterator[Object]:
        """All objects of a kind in a namespace, by name."""
        items = self._kinds.get((kind, namespace), {})
        return (items[name].open() for name in sorted(items))

    def names(self, kind: str, namespace: str) -> list[str]:
        """Names of all objects of a kind in a namespace, in no order."""
        return list(self._kinds.get((kind, namespace), ()))

    def changes(self, kind: str, namespace: str) -> int:
        """Grows with each change of an object of the kind in the namespace."""
        return self._changes[kind, namespace]

    def all_packed(self, kind: str) -> Iterator[tuple[Address, Packed]]:
        """All objects of a kind, as they are kept."""
        return (
            ((kind, namespace, name), packed)
            for (found, namespace), items in self._kinds.items()
            if found == kind
            for name, packed in items.items()
        )

    def of_kind(self, kind: str) -> Iterator[Object]:
        """All objects of a kind."""
        return (packed.open() for _, packed in self.all_packed(kind))

    def addresses(self, kind: str) -> list[Address]:
        """Of all objects of a kind."""
        return [address for address, _ in self.all_packed(kind)]

    def count(self, kind: str) -> int:
        """How many objects of a kind there are."""
        return self._counts[kind]

    def namespaces(self, kind: str) -> list[str]:
        """Namespaces that hold an object of the kind."""
        return sorted(namespace for (found, namespace), items in self._kinds.items() if found == kind and items)

    def owned(self, key: Key) -> list[Object]:
        """Objects about a custom resource, by their labels."""
        return [self._open(packed) for packed in self._owned.get(key, {}).values()]

    def put(self, item: Object) -> bool:
        """Stores an object unless a newer one, or its deletion, is known; tells whether something changed."""
        address = address_of(item)
        if self._is_deleted(item):
            return False
        known = self._items.get(address)
        if known is not None and known.version >= version_of(item):
            return False
        self._stored_since_list.add(address)
        self._store(address, known, item)
        return True

    def _store(self, address: Address, known: Packed | None, item: Object) -> None:
        self._counts[address[0]] += known is None
        if known is not None:
            self._unindex(address, known)
        slim = _slim(item)
        owner = owner_key(slim) if BY_KIND[address[0]].role is not Role.OWN else None
        packed = self._packer.pack(slim, owner)
        self._items[address] = packed
        self._kinds[address[0], address[1]][address[2]] = packed
        if owner is not None:
            self._owned[owner][address] = packed
        if known is None or not known.is_same(packed):
            self._tell(self._open(known) if known is not None else None, slim)

    def remove(self, item: Object) -> bool:
        """Forgets an object, if it is still the one with that uid."""
        address, uid = address_of(item), item["metadata"].get("uid", "")
        self._deleted[uid] = version_of(item)
        known = self._items.get(address)
        if known is None or known.uid != uid:
            return False
        del self._items[address]
        self._counts[address[0]] -= 1
        self._unindex(address, known)
        self._tell(self._open(known), None)
        return True

    def _is_deleted(self, item: Object) -> bool:
        """Whether it is of a version before its deletion. An object whose label somebody takes away is deleted for a
        watch that selects the label, and comes back, as the same one, when the label does."""
        return version_of(item) <= self._deleted.get(item["metadata"].get("uid", ""), -1)

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
            is_newer = address in self._stored_since_list and known.version > limit
            if in_scope and address not in listed and not is_newer:
                gone = known.open()
                missed.append(gone)
                self.remove(gone)
                self._deleted[known.uid] = max(known.version, limit)
        return missed

    def _take_from_list(self, item: Object) -> bool:
        address = address_of(item)
        known = self._items.get(address)
        if known is None or address in self._stored_since_list:
            return self.put(item)
        if (known.version, known.uid) == (version_of(item), item["metadata"].get("uid", "")):
            return False
        if self._is_deleted(item):
            return False
        self._store(address, known, item)
        return True

    def _unindex(self, address: Address, packed: Packed) -> None:
        self._kinds[address[0], address[1]].pop(address[2], None)
        owner = packed.owner
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
        return {**item, "metadata": metadata}
    if resource.role is Role.CHILD:
        metadata["managedFields"] = managed_fields.kept(item["metadata"].get("managedFields") or ())
    slim: Object = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    for path in resource.kept:
        _copy(item, slim, path)
    return slim


def _copy(source: Object, target: Object, path: Path) -> None:
    for step in path[:-1]:
        found = source.get(step)
        if not isinstance(found, dict):
            return
        source, target = found, target.setdefault(step, {})
    if path[-1] in source:
        target[path[-1]] = source[path[-1]]
