"""Asks the bus what it says of itself."""

from __future__ import annotations

import json
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError

from crowetrade import subjects
from crowetrade_operator.bus.requirements import Facts

ANSWER_SECONDS = 2.0
_BUCKETS = (subjects.CONFIG_BUCKET, subjects.KILL_BUCKET, subjects.ALLOWANCE_BUCKET)
USER_FACTS = "$SYS.REQ.USER.INFO"


async def gather(client: Client, identified: bool) -> Facts:
    """Asks; an answer that does not come is none."""
    varz = await _ask(client, subjects.SERVER_FACTS)
    info = await _ask(client, "$JS.API.INFO")
    user = await _ask(client, USER_FACTS) if identified else None
    streams = [await _ask(client, f"$JS.API.STREAM.INFO.{subjects.bucket_stream(bucket)}") for bucket in _BUCKETS]
    configs = [(stream or {}).get("config") or {} for stream in streams]
    jetstream = None if varz is None else ((varz.get("data") or {}).get("jetstream") or {}).get("config")
    return Facts(
        max_payload=client.max_payload,
        jetstream=None if jetstream is None else (jetstream,),
        max_storage=None if info is None else (info.get("limits") or {}).get("max_storage"),
        permissions=None if user is None else ((user.get("data") or {}).get("permissions") or {}),
        identified=identified,
        rolled_up=tuple(config["name"] for config in configs if config.get("allow_rollup_hdrs")),
    )


async def _ask(client: Client, subject: str) -> dict[str, Any] | None:
    try:
        answer = await client.request(subject, b"", timeout=ANSWER_SECONDS)
        found = json.loads(answer.data)
    except (NatsError, TimeoutError, OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
