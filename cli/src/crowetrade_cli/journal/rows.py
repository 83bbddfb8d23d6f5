"""A journal as rows, one per event. Pure.

The first row of each record carries the record's bytes as they were stored: they are what is verified again, and the
columns beside them are for reading.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.journal.chain import decode, digest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STRATEGY_RUN_NUMBER = 3


def iso(unix_ns: int) -> str:
    """A time in UTC with all nine digits of its second."""
    seconds, nanoseconds = divmod(unix_ns, 1_000_000_000)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


@dataclass(frozen=True, slots=True)
class Row:
    """An event and the record that holds it. `record` is None in all rows of a record but the first."""

    sequence: int
    at_unix_ns: int
    kind: str
    strategy: str
    symbol: str
    cl_ord_id: str
    event: dict[str, object]
    first_sequence: int
    recorded_unix_ns: int
    fencing_token: int
    previous_hash: bytes
    record_hash: bytes
    record: bytes | None

    def event_line(self) -> str:
        """The event alone, as a line of JSON. 64-bit times are strings, as in protobuf's JSON."""
        return json.dumps(self._event_fields())

    def line(self) -> str:
        """The whole row as a line of JSON; hashes in hexadecimal, the record's bytes in base64."""
        record: dict[str, object] = {
            "first_sequence": self.first_sequence,
            "recorded_unix_ns": str(self.recorded_unix_ns),
            "fencing_token": self.fencing_token,
            "previous_hash": self.previous_hash.hex(),
            "hash": self.record_hash.hex(),
        }
        if self.record is not None:
            record["bytes"] = base64.b64encode(self.record).decode()
        return json.dumps({**self._event_fields(), "record": record})

    def _event_fields(self) -> dict[str, object]:
        return {
            "sequence": self.sequence,
            "at": iso(self.at_unix_ns),
            "at_unix_ns": str(self.at_unix_ns),
            "kind": self.kind,
            "strategy": self.strategy,
            "symbol": self.symbol,
            "cl_ord_id": self.cl_ord_id,
            "event": self.event,
        }


def rows_of(payload: bytes) -> Iterator[Row]:
    """The rows of one record. Raises JournalCorrupt when it cannot be decoded."""
    record = decode(payload, 0)
    record_hash = digest(payload)
    for place, event in enumerate(record.events):
        name = event.WhichOneof("event")
        assert name is not None, "decode refuses events of no kind"
        what = getattr(event, name)
        yield Row(
            sequence=record.first_sequence + place,
            at_unix_ns=event.at_unix_ns,
            kind=what.DESCRIPTOR.name,
            strategy=strategy_of(what),
            symbol=getattr(what, "symbol", ""),
            cl_ord_id=getattr(what, "cl_ord_id", ""),
            event=MessageToDict(what, preserving_proto_field_name=True),
            first_sequence=record.first_sequence,
            recorded_unix_ns=record.recorded_unix_ns,
            fencing_token=record.fencing_token,
            previous_hash=record.previous_hash,
            record_hash=record_hash,
            record=None if place else payload,
        )


def strategy_of(what: Message) -> str:
    """The Strategy that an event is about: by name, or by the ClOrdID (STRATEGY-RUN-NUMBER); empty without either."""
    named: str = getattr(what, "strategy", "")
    if named or isinstance(what, journal_pb2.SessionStarted):
        return named
    parts = getattr(what, "cl_ord_id", "").rsplit("-", _STRATEGY_RUN_NUMBER - 1)
    return parts[0] if len(parts) == _STRATEGY_RUN_NUMBER else ""
