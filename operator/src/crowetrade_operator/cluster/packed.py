"""An object as the cache keeps it: as compressed text.

Its dictionaries would take three to five times as much as the text, and the text takes five times as much as what is
kept of it: objects of a kind are alike, so each is kept as what it has that the first one of its kind has not.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import cast

import orjson

from crowetrade_api.names import Key
from crowetrade_operator.cluster.objects import Object, version_of

_LEVEL = 1
"""Higher ones take longer and find hardly more."""
_RAW = -zlib.MAX_WBITS
"""Without header and checksum, which would be a tenth of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """What is looked at often stands beside the text: reading that costs some ten microseconds."""

    uid: str
    version: int
    owner: Key | None
    _text: bytes
    # What the text was compressed with: shared between objects.
    _alike: bytes
    # Shared between objects: see managed_fields.
    _managed_fields: list[Object] | None

    def open(self) -> Object:
        """The object, as a copy of its own but for managedFields."""
        item = cast(Object, orjson.loads(self._json()))
        if self.version:
            item["metadata"]["resourceVersion"] = str(self.version)
        if self._managed_fields is not None:
            item["metadata"]["managedFields"] = self._managed_fields
        return item

    def is_same(self, other: Packed) -> bool:
        """Whether nothing differs but the version: as when somebody writes a status that nobody here reads."""
        if self._managed_fields != other._managed_fields:
            return False
        if self._alike is other._alike:
            return self._text == other._text
        return self._json() == other._json()

    def _json(self) -> bytes:
        return zlib.decompressobj(_RAW, zdict=self._alike).decompress(self._text)


class Packer:
    """Packs objects, each like the first one of its kind and of the kind of its owner."""

    def __init__(self) -> None:
        self._alike: dict[tuple[str, str], bytes] = {}

    def pack(self, item: Object, owner: Key | None) -> Packed:
        """`owner` is the custom resource that it is about."""
        metadata = dict(item["metadata"])
        version, managed_fields = version_of(item), metadata.pop("managedFields", None)
        if version:
            del metadata["resourceVersion"]
        text = orjson.dumps({**item, "metadata": metadata}, option=orjson.OPT_SORT_KEYS)
        alike = self._alike.setdefault((item["kind"], owner.kind if owner is not None else ""), text)
        packer = zlib.compressobj(_LEVEL, wbits=_RAW, zdict=alike)
        packed = packer.compress(text) + packer.flush()
        uid = metadata.get("uid", "")
        return Packed(uid, version, owner, packed, alike, managed_fields)
