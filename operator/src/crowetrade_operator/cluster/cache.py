"""What the API server holds, as far as the operator watches it: our kinds, and the children by our label.

Two writers: watch events one by one, and from time to time a full list that finds what a watch lost (a relist after
"410 Gone" brings no deletions). Of what is said of one place the newer resourceVersion wins, and the deletion has one,
too: an event that comes late, when a list or a write of our own has brought something newer, changes nothing. client-go
compares no versions, because there each watch begins where its list ended. A list is the truth, also where its versions
are older than what is known: versions go back when etcd is restored from a backup. Only what came or went by an event
while the list was read may be newer than the list.

Objects are kept as text (packed.py), and what is read of it is remembered for a while, because a reconcile looks at the
same objects several times. Readers must not change what they get.
"""

from __future__ import annotations

import functools
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

from crowetrade_api.names import STRATEGY_LABEL, VENUE_LABEL, Key, Kind
from crowetrade_operator.cluster import managed_fields
from crowetrade_operator.cluster.objects import Object, version_from, version_of
from crowetrade_operator.cluster.packed import Packed, Packer
from crowetrade_operator.cluster.resources import BY_KIND, ApiResource, Path, Role

REMEMBERED = 500
"""So many objects are not read from their text each time: what the reconciles under way look at."""
Address = tuple[str, str, str]
"""Kind, namespace and name."""
Listed = tuple[Address, Packed]
Listener = Callable[[Object | None, Object | None], None]
"""Called with the object before (None: it is new) and after (None: it is gone)."""


def address_of(item: Object) -> Address:
    """Where an object is. Children of an owner share their name, and all objects their namespace: each is kept once."""
    metadata = item["metadata"]
    return item["kind"], sys.intern(metadata.get("namespace", "")), sys.intern(metadata["name"])


def _uid(item: Object) -> str:
    return str(item["metadata"].get("uid", ""))


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
        # Versions of deletions, and of the list of each kind and namespace: what is not newer is known already.
        self._deleted: dict[Address, int] = {}
        self._listed: dict[tuple[str, str], int] = {}
        # What has been said while a list is read, with its version; nothing stands for a deletion.
        self._meanwhile: dict[Address, tuple[int, Object | None]] | None = None
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

    def newest(self, kind: str, namespace: str) -> int:
        """The highest version of an object of a kind in a namespace, all of them for the empty one; 0 without any."""
        one = self._kinds.get((kind, namespace), {}).values()
        found = one if namespace else (packed for _, packed in self.all_packed(kind))
        return max((packed.version for packed in found), default=0)

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
        address, version = address_of(item), version_of(item)
        self._note(address, version, item)
        known = self._items.get(address)
        if version <= self._known_until(address) or (known is not None and version <= known.version):
            return False
        self._store(address, known, self._pack(item))
        return True

    def listed(self, item: Object) -> Listed:
        """An object of a list that is being read, as it is kept: ten thousand whole ones are half a gigabyte."""
        address = address_of(item)
        known = self._items.get(address)
        is_known = known is not None and (known.version, known.uid) == (version_of(item), _uid(item))
        return address, known if known is not None and is_known else self._pack(item)

    def _pack(self, item: Object) -> Packed:
        slim = _slim(item)
        return self._packer.pack(slim, self._owner(slim))

    def _owner(self, slim: Object) -> Key | None:
        """The very Key that other children of the owner have: it is kept once."""
        owner = owner_key(slim) if BY_KIND[slim["kind"]].role is not Role.OWN else None
        children = self._owned.get(owner) if owner is not None else None
        return next(iter(children.values())).owner if children else owner

    def _store(self, address: Address, known: Packed | None, packed: Packed) -> None:
        self._counts[address[0]] += known is None
        if known is not None:
            self._unindex(address, known)
        self._items[address] = packed
        self._kinds[address[0], address[1]][address[2]] = packed
        if packed.owner is not None:
            self._owned[packed.owner][address] = packed
        if known is None or not known.is_same(packed):
            self._tell(address, known, packed)

    def remove(self, item: Object) -> bool:
        """Forgets an object unless a newer one is known; tells whether something changed. An object whose label
        somebody takes away is deleted for a watch that selects the label, and comes back, as the same one, when the
        label does."""
        address, version = address_of(item), version_of(item)
        self._note(address, version, None)
        known = self._items.get(address)
        if version <= self._known_until(address) or (known is not None and version < known.version):
            return False
        self._deleted[address] = version
        if known is None:
            return False
        self._drop(address, known)
        return True

    def _known_until(self, address: Address) -> int:
        """The version up to which nothing is new about a place, whatever is there."""
        kind, namespace, _ = address
        listed = max(self._listed.get((kind, ""), -1), self._listed.get((kind, namespace), -1))
        return max(self._deleted.get(address, -1), listed)

    def _note(self, address: Address, version: int, item: Object | None) -> None:
        """While a list is read nobody knows whether versions have gone back, and so what is older than what is known
        may be newer than the list."""
        if self._meanwhile is not None and version >= self._meanwhile.get(address, (-1, None))[0]:
            self._meanwhile[address] = version, item

    def begin_list(self) -> None:
        """Called before a list is read: what comes and goes from here on may be newer than what the list says."""
        self._meanwhile = {}

    def end_list(self) -> None:
        """Called when it has been taken over, or was not read."""
        self._meanwhile = None

    def replace(
        self, resource: ApiResource, namespace: str, items: Iterable[Listed], version: str
    ) -> dict[Address, int]:
        """Takes over a full list, and what has been said since it began and is newer; returns the objects that had been
        missed or were wrongly kept, with their versions."""

        def in_scope(address: Address) -> bool:
            return address[0] == resource.kind and namespace in ("", address[1])

        limit = version_from(version)
        listed = dict(items)
        meanwhile = (self._meanwhile or {}).items()
        newer = {address: found for address, found in meanwhile if found[0] > limit and in_scope(address)}
        gone = {address: of for address, (of, item) in newer.items() if item is None}
        self._deleted = {address: of for address, of in self._deleted.items() if not in_scope(address)} | gone
        self._listed[resource.kind, namespace] = limit
        missed = {
            address: packed.version
            for address, packed in listed.items()
            if address not in newer and self._set(address, packed)
        }
        for address, (_, item) in newer.items():
            self._set(address, self._pack(item) if item is not None else None)
        for address in [of for of in self._items if in_scope(of) and of not in listed and of not in newer]:
            missed[address] = self._items[address].version
            self._set(address, None)
        return missed

    def _set(self, address: Address, packed: Packed | None) -> bool:
        """Makes it so, whatever is known; tells whether it was not so."""
        known = self._items.get(address)
        if packed is None:
            if known is not None:
                self._drop(address, known)
            return known is not None
        if known is not None and (known.version, known.uid) == (packed.version, packed.uid):
            return False
        self._store(address, known, packed)
        return True

    def _drop(self, address: Address, known: Packed) -> None:
        del self._items[address]
        self._counts[address[0]] -= 1
        self._unindex(address, known)
        self._tell(address, known, None)

    def _unindex(self, address: Address, packed: Packed) -> None:
        self._kinds[address[0], address[1]].pop(address[2], None)
        owner = packed.owner
        if owner is not None and owner in self._owned:
            self._owned[owner].pop(address, None)
            if not self._owned[owner]:
                del self._owned[owner]

    def _tell(self, address: Address, before: Packed | None, after: Packed | None) -> None:
        self._changes[address[0], address[1]] += 1
        if not self._listeners:
            return  # as at the start, when everything is new
        was, now = (self._open(packed) if packed is not None else None for packed in (before, after))
        for listener in self._listeners:
            listener(was, now)


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
