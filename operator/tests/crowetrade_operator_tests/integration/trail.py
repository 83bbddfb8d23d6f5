"""What operators have recorded in the audit trail on the bus."""

from __future__ import annotations

from typing import Any

from nats.js.errors import NotFoundError

from crowetrade import subjects
from crowetrade.audit.v1 import audit_pb2
from crowetrade_operator_tests.servers import nats_client
from crowetrade_process.audit.chain import decode

Row = tuple[str, str, str, str]
"""Action, namespace, name and reason."""


async def told(nats_url: str, **options: Any) -> list[Row]:
    """All events, oldest first; `options` are those of `connect`."""
    async with nats_client(nats_url, **options) as bus:
        jetstream = bus.jetstream()
        try:
            last = (await jetstream.stream_info(subjects.AUDIT_STREAM)).state.last_seq
        except NotFoundError:  # no operator has made it yet
            return []
        found = [await jetstream.get_msg(subjects.AUDIT_STREAM, place, direct=True) for place in range(1, last + 1)]
    events = [decode(message.data or b"", "").event for message in found]
    return [
        (audit_pb2.Action.Name(one.action)[7:], one.namespace, one.name, one.reason) for one in events if one.action
    ]


async def changes_told(nats_url: str, namespace: str) -> list[Row]:
    """What was created, changed and deleted in a namespace."""
    return [row for row in await told(nats_url) if row[0] in ("CREATED", "CHANGED", "DELETED") and row[1] == namespace]
