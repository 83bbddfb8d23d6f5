"""Asks the bus what it says of itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError

from crowetrade import subjects
from crowetrade_operator.bus.requirements import Facts, Server

ANSWER_SECONDS = 2.0
_BUCKETS = (subjects.CONFIG_BUCKET, subjects.KILL_BUCKET, subjects.ALLOWANCE_BUCKET)
USER_FACTS = "$SYS.REQ.USER.INFO"


async def gather(client: Client, identified: bool) -> Facts:
    """Asks; an answer that does not come is none."""
    servers = await _servers(client)
    info = await _ask(client, "$JS.API.INFO")
    user = await _ask(client, USER_FACTS) if identified else None
    streams = [await _ask(client, f"$JS.API.STREAM.INFO.{subjects.bucket_stream(bucket)}") for bucket in _BUCKETS]
    configs = [(stream or {}).get("config") or {} for stream in streams]
    return Facts(
        max_payload=client.max_payload,
        servers=servers or None,
        max_storage=None if info is None else (info.get("limits") or {}).get("max_storage"),
        permissions=None if user is None else ((user.get("data") or {}).get("permissions") or {}),
        identified=identified,
        rolled_up=tuple(config["name"] for config in configs if config.get("allow_rollup_hdrs")),
    )


async def _servers(client: Client) -> dict[str, Server]:
    """Every server of the bus answers the one request, whichever the connection is to: those that do within
    ANSWER_SECONDS, by their names. Of a server that is away nothing is known until it is back."""
    inbox = client.new_inbox()
    found: dict[str, Server] = {}
    with contextlib.suppress(NatsError, TimeoutError, OSError, ValueError, KeyError):
        answers = await client.subscribe(inbox)
        try:
            await client.publish(subjects.SERVER_FACTS, reply=inbox)
            async with asyncio.timeout(ANSWER_SECONDS):
                expected = 1
                while len(found) < expected:
                    answer = await answers.next_msg(timeout=ANSWER_SECONDS)
                    if not answer.data:  # nobody is there to answer
                        break
                    said = json.loads(answer.data)
                    data = said["data"]
                    found[said["server"]["name"]] = _server(data)
                    expected = max(expected, _count(data))
        finally:
            await answers.unsubscribe()
    return found


def _server(varz: Mapping[str, Any]) -> Server:
    config = (varz.get("jetstream") or {}).get("config")
    return Server(varz["max_payload"], None if config is None else bool(config.get("sync_always")))


def _count(varz: Mapping[str, Any]) -> int:
    """How many servers one knows, itself too: by their addresses, of which each has one or more."""
    if not varz.get("routes"):
        return 1
    return max(len((varz.get("cluster") or {}).get("urls") or ()), len(varz.get("connect_urls") or ()))


async def _ask(client: Client, subject: str) -> dict[str, Any] | None:
    try:
        answer = await client.request(subject, b"", timeout=ANSWER_SECONDS)
        found = json.loads(answer.data)
    except (NatsError, TimeoutError, OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
