"""Removes the oldest records of a journal. Only a person does this, with the CLI, after an export."""

from __future__ import annotations

from nats.aio.client import Client
from nats.js.api import DEFAULT_PREFIX

from crowetrade_agents.errors import JournalUnavailable
from crowetrade_agents.journal.chain import Chain, decode, last_sequence
from crowetrade_agents.journal.jetstream_reader import READ_TIMEOUT_SECONDS, JetStreamReader, Stored, unavailable
from crowetrade_agents.journal.snapshots import KEPT, Snapshot, check_reaches


async def trim(client: Client, namespace: str, venue: str, before_sequence: int, api: str = DEFAULT_PREFIX) -> int:
    """Removes records that hold only events before `before_sequence`, as far as each of the newest two snapshots covers
    them, and returns the sequence of the event that the journal begins with now.

    The record that the older of the two stands on stays, so that what is left proves where it begins. Raises
    JournalUnavailable when there are not two snapshots, JournalCorrupt when one does not stand on the journal. `api` is
    the prefix of the JetStream API that may purge.
    """
    reader = JetStreamReader(client, namespace, venue, api)
    await reader.check_stream()
    intact = (await reader.read_snapshots()).intact[:KEPT]
    last = await reader.last()
    if last is None or len(intact) < KEPT:
        raise JournalUnavailable(
            f"the journal has {len(intact)} of the {KEPT} intact snapshots that must cover what is trimmed: nothing "
            "was removed"
        )
    stands_on = [await _record_under(reader, snapshot, last) for snapshot in intact]
    keep_from = min(before_sequence, *(decode(record.payload, 0).first_sequence for record in stands_on))
    first_kept = await reader.record_of(keep_from, last)
    with unavailable("trimming the journal"):
        await client.jetstream(prefix=api, timeout=READ_TIMEOUT_SECONDS).purge_stream(
            reader.stream, seq=first_kept.place, subject=reader.journal
        )
    return decode(first_kept.payload, 0).first_sequence


async def _record_under(reader: JetStreamReader, snapshot: Snapshot, last: Stored) -> Stored:
    check_reaches(snapshot, last_sequence(decode(last.payload, 0)))
    record = await reader.record_of(snapshot.head.sequence, last)
    Chain(snapshot.head).follow(record.payload)
    return record
