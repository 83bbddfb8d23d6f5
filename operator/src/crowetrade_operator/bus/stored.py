"""What a bucket or a stream holds, by the server's own list of its subjects.

nats-py lists the keys of a bucket through a consumer, and takes a consumer that has nothing pending before the first
key has arrived for an empty bucket: on a busy machine it says that there are none. The leader of the stream answers
this request from its index, and whoever may ask needs no consumer.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import nats.js.errors
from nats.aio.client import Client
from nats.js.kv import KeyValue

from crowetrade import subjects
from crowetrade_operator.errors import BusUnavailable

ANSWER_SECONDS = 5.0


async def _answer(client: Client, subject: str, question: dict[str, Any]) -> dict[str, Any]:
    """What the JetStream API answers; raises what it says is wrong, and errors of NATS."""
    message = await client.request(subject, json.dumps(question).encode(), timeout=ANSWER_SECONDS)
    answer: dict[str, Any] = json.loads(message.data)
    if "error" in answer:
        raise nats.js.errors.APIError.from_error(answer["error"])
    return answer


async def stored_subjects(client: Client, stream: str, pattern: str) -> list[str]:
    """The subjects of a stream that match, in the order of the alphabet. The server tells 100,000 of them at a time.
    Raises errors of NATS; NotFoundError without the stream."""
    found: dict[str, None] = {}
    offset = 0
    while True:
        question = {"subjects_filter": pattern, "offset": offset}
        answer = await _answer(client, f"$JS.API.STREAM.INFO.{stream}", question)
        page = answer["state"].get("subjects") or {}
        found.update(dict.fromkeys(page))
        offset += len(page)
        # Without a match there is no total.
        if not page or offset >= answer["total"]:
            return sorted(found)


async def reserved_bytes(client: Client, namespace: str) -> dict[str, int]:
    """What each stream of a journal of a namespace, and of its snapshots, reserves; of one without a bound, what it
    holds. Raises BusUnavailable when not all of them answer, and errors of NATS."""
    patterns = (subjects.journal(namespace, "*"), subjects.journal_snapshots(namespace, "*"))
    prefixes = (subjects.journal_stream(namespace, ""), subjects.snapshot_stream(namespace, ""))
    found: dict[str, int] = {}
    for pattern in patterns:
        for stream in await _streams(client, pattern):
            config = stream["config"]
            if config["name"].startswith(prefixes):
                most = int(config.get("max_bytes", -1))
                found[config["name"]] = most if most > 0 else int(stream["state"]["bytes"])
    return found


async def _streams(client: Client, pattern: str) -> list[dict[str, Any]]:
    """The information on the streams that take a subject of a pattern, all pages. A cluster gives the name alone of a
    stream without a leader."""
    found: list[dict[str, Any]] = []
    while True:
        answer = await _answer(client, "$JS.API.STREAM.LIST", {"subject": pattern, "offset": len(found)})
        if silent := answer.get("missing"):
            raise BusUnavailable(f"stream {min(silent)} does not answer, so what it reserves is not known")
        page = answer.get("streams") or []
        found += page
        if not page or len(found) >= answer["total"]:
            return found


async def stored_entries(
    client: Client,
    bucket: KeyValue,
    name: str,
    pattern: str,
    wanted: Callable[[str], bool] = lambda key: True,
) -> dict[str, KeyValue.Entry]:
    """The wanted keys of a bucket that match, each with what is stored there. A key that was deleted still has a
    subject, with a mark of the deletion: it is not among them."""
    prefix = subjects.key_subject(name, "")
    found = {}
    for subject in await stored_subjects(client, subjects.bucket_stream(name), prefix + pattern):
        key = subject.removeprefix(prefix)
        if wanted(key):
            try:
                found[key] = await bucket.get(key, validate_keys=False)
            except nats.js.errors.KeyNotFoundError:
                continue
    return found
