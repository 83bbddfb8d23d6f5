"""What the audit trail said last about resources, as text that a ConfigMap can keep. Pure.

Compressed, a resource takes about 45 bytes, most of them its uid and the hash of its content.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping

from crowetrade_operator.decide.changes import Recorded

NOT_KEPT = base64.b64encode(b"not kept").decode()
"""Instead of the text: there was something to keep, and no room for it."""


def encode(namespace: Mapping[str, Recorded]) -> str:
    """The resources of one namespace, by uid."""
    rows = [[uid, item.kind, item.name, item.hash, *item.told] for uid, item in sorted(namespace.items())]
    return base64.b64encode(zlib.compress(json.dumps(rows, separators=(",", ":")).encode())).decode()


def decode(namespace: str, text: str) -> dict[str, Recorded]:
    """The same from its text. Raises ValueError, also for NOT_KEPT."""
    try:
        rows = json.loads(zlib.decompress(base64.b64decode(text, validate=True)))
        return {uid: Recorded(kind, namespace, name, hash_, tuple(told)) for uid, kind, name, hash_, *told in rows}
    except (ValueError, TypeError, zlib.error) as error:
        raise ValueError(f"what is kept of namespace {namespace} cannot be read: {error}") from error
