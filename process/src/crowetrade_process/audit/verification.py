"""Whether the audit trail is as it was written. Pure.

What the records alone show: a record that was changed, deleted, repeated or swapped, one under another writer's
subject, a beginning that was cut off and has not expired, a checkpoint that is not the writer's. What takes more: a
chain that was written again, from its beginning or from any record on, needs authorities (it has no checkpoints with a
certificate of theirs), and an end that was cut off, or whose last records were written again, needs ends that were kept
elsewhere, as the operator keeps them.

How long an end without a signature may be: a writer signs a minute after its first unsigned record, and after 256 of
its own. What a process left unsigned that was killed, or that had no bus, whoever goes on signs before anything else.
Some processes of one identity may do so at once.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from crowetrade.audit.v1 import audit_pb2
from crowetrade_process.audit.chain import Chain, End, Head
from crowetrade_process.audit.checkpoints import Authorities, check_checkpoint
from crowetrade_process.audit.errors import AuditBroken

PREFIX = "audit."
KEPT_CONFIG_MAP = "crowetrade-audit"
KEPT_CONFIG_MAPS = (KEPT_CONFIG_MAP, *(f"{KEPT_CONFIG_MAP}-{number}" for number in range(1, 4)))
"""Where the operator keeps the ends of all chains, in its own namespace: a key per writer, see `end_text`, each in one
of them, see `place_of`. One would be too small for what the operator keeps beside them, in binaryData."""
CLOCK_TOLERANCE_NS = 86_400 * 10**9
"""Between the writers' clocks, the server's (which lets records expire) and the reader's."""
UNSIGNED_RECORDS = 1024
UNSIGNED_NS = 600 * 10**9
"""So many records may follow a signature, within this time, until there is another one."""


@dataclass(slots=True)
class Findings:
    """What is known of one writer's chain."""

    writer: str
    begins_with: int = 0
    ends_with: int = 0
    vouched_to: int = 0
    """Sequence of the last record that a signed checkpoint vouches for; 0 without one."""
    unsigned_to: int = 0
    """Sequence of the last record before a first signature that came late; 0 where it came in time."""
    signed: int = 0
    unsigned: int = 0
    lost: int = 0
    problem: str = ""


@dataclass(slots=True)
class _Unsigned:
    """What no signature vouches for yet."""

    records: int = 0
    since_unix_ns: int = 0
    signed_unix_ns: int = 0
    """Time of the last signature."""

    def is_too_much(self, now_unix_ns: int) -> bool:
        return self.records > UNSIGNED_RECORDS or (self.records > 0 and now_unix_ns - self.since_unix_ns > UNSIGNED_NS)


class Verification:
    """Follows the records of all writers, each writer's oldest first."""

    def __init__(
        self,
        now_unix_ns: int,
        retention_seconds: int,
        authorities: Authorities | None = None,
        on_record: Mapping[str, End] | None = None,
    ) -> None:
        self._now_unix_ns = now_unix_ns
        self._retention_ns = retention_seconds * 10**9
        self._authorities = authorities
        self._on_record = {writer: end.head for writer, end in (on_record or {}).items()}
        self._chains: dict[str, Chain] = {}
        self._findings: dict[str, Findings] = {}
        self._unsigned: dict[str, _Unsigned] = {}
        self._broken: set[str] = set()

    def follow(self, subject: str, payload: bytes) -> None:
        """The next record that is stored under the subject."""
        writer = subject.removeprefix(PREFIX)
        found = self._findings.setdefault(writer, Findings(writer))
        if writer in self._broken:
            return
        chain = self._chains.setdefault(writer, Chain(writer))
        try:
            record = chain.follow(payload)
        except AuditBroken as error:
            # No record can be judged by one that it does not follow.
            self._broken.add(writer)
            found.problem = f"{found.problem}; {error}" if found.problem else str(error)
        else:
            try:
                self._check(record, chain, found)
            except AuditBroken as error:
                found.problem = found.problem or str(error)
        found.begins_with, found.ends_with = chain.begins_with, chain.head.sequence

    def finish(self) -> list[Findings]:
        """What was found, by writer."""
        for writer, head in self._on_record.items():
            found = self._findings.setdefault(writer, Findings(writer))
            if writer in self._broken or found.ends_with >= head.sequence or self._has_expired(head.recorded_unix_ns):
                continue
            cut_off = (
                f"the chain of {writer} ends with record {found.ends_with}, and record {head.sequence} is on "
                "record: its end was cut off"
            )
            found.problem = f"{found.problem}; {cut_off}" if found.problem else cut_off
        for found in self._findings.values():
            if self._authorities is not None and not found.problem and not found.signed:
                found.problem = f"no checkpoint of {found.writer} is signed: nothing shows that it wrote its records"
        return [self._findings[writer] for writer in sorted(self._findings)]

    def _check(self, record: audit_pb2.AuditRecord, chain: Chain, found: Findings) -> None:
        """What follows the record before it. Raises AuditBroken."""
        self._check_beginning(chain)
        self._check_on_record(chain)
        if record.WhichOneof("content") == "checkpoint":
            self._check_checkpoint(record, chain.before, found)
            return
        if record.event.action == audit_pb2.ACTION_RECORDS_LOST:
            found.lost += record.event.count
        self._check_unsigned(record, found)

    def _check_beginning(self, chain: Chain) -> None:
        if chain.head.sequence == chain.begins_with > 1 and not self._has_expired(chain.expired_unix_ns):
            raise AuditBroken(
                f"the chain of {chain.writer} begins with record {chain.begins_with}, and the one before was not older "
                "than the retention: its beginning was cut off"
            )

    def _has_expired(self, recorded_unix_ns: int) -> bool:
        return recorded_unix_ns + self._retention_ns < self._now_unix_ns + CLOCK_TOLERANCE_NS

    def _check_on_record(self, chain: Chain) -> None:
        wanted = self._on_record.get(chain.writer)
        if wanted is None or wanted.sequence != chain.head.sequence:
            return
        if wanted.record_hash != chain.head.record_hash:
            raise AuditBroken(f"record {wanted.sequence} of {chain.writer} is not the one that is on record")

    def _check_checkpoint(self, record: audit_pb2.AuditRecord, before: Head, found: Findings) -> None:
        unsigned = self._unsigned.setdefault(record.writer, _Unsigned())
        if not check_checkpoint(record, before, self._authorities):
            found.unsigned += 1
            if self._authorities is not None and found.signed:
                raise AuditBroken(
                    f"checkpoint {record.sequence} of {record.writer} is not signed, and one before it is: what "
                    f"follows record {found.vouched_to} is not vouched for"
                )
            return
        # Whoever has the key of a certificate that ended can sign at its time only.
        if self._authorities is not None and record.recorded_unix_ns + CLOCK_TOLERANCE_NS < unsigned.signed_unix_ns:
            raise AuditBroken(
                f"checkpoint {record.sequence} of {record.writer} is signed more than a day before the one that it "
                f"follows: what follows record {found.vouched_to} is not vouched for"
            )
        if not found.signed and (found.unsigned or unsigned.is_too_much(record.recorded_unix_ns)):
            found.unsigned_to = before.sequence
        found.signed += 1
        found.vouched_to = before.sequence
        self._unsigned[record.writer] = _Unsigned(signed_unix_ns=record.recorded_unix_ns)

    def _check_unsigned(self, record: audit_pb2.AuditRecord, found: Findings) -> None:
        unsigned = self._unsigned.setdefault(record.writer, _Unsigned())
        unsigned.records += 1
        unsigned.since_unix_ns = unsigned.since_unix_ns or record.recorded_unix_ns
        if self._authorities is None or not found.signed:
            return
        if unsigned.is_too_much(record.recorded_unix_ns):
            seconds = (record.recorded_unix_ns - unsigned.since_unix_ns) // 10**9
            raise AuditBroken(
                f"record {record.sequence} of {record.writer} comes after {unsigned.records - 1} records in {seconds} "
                f"s without a signature, and its writer signs each minute: what follows record {found.vouched_to} is "
                "not vouched for"
            )


def end_text(end: End) -> str:
    """An end as it is kept on record: SEQUENCE HASH UNIX-NANOSECONDS PLACE."""
    head = end.head
    return f"{head.sequence} {head.record_hash.hex()} {head.recorded_unix_ns} {end.place}"


def place_of(name: str) -> int:
    """In which of KEPT_CONFIG_MAPS what belongs to a name is kept. Never to be changed: it would not be found again."""
    return zlib.crc32(name.encode()) % len(KEPT_CONFIG_MAPS)


def read_ends(data: Mapping[str, str]) -> dict[str, End]:
    """The ends in the data of the operator's ConfigMaps, by writer. Raises ValueError."""
    return {writer: _parse_end(kept) for writer, kept in data.items()}


def parse_ends(text: str) -> dict[str, End]:
    """The same from JSON: the data of a ConfigMap, or a list of ConfigMaps as kubectl prints it. Raises ValueError."""
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("not a JSON object of ends by writer")
    if content.get("kind") != "List":
        return read_ends({str(writer): str(kept) for writer, kept in content.items()})
    found = {item["metadata"]["name"]: item.get("data") or {} for item in content["items"]}
    if missing := sorted(set(KEPT_CONFIG_MAPS) - found.keys()):
        raise ValueError(f"{', '.join(missing)} is not in the list")
    return read_ends({writer: kept for name in KEPT_CONFIG_MAPS for writer, kept in found[name].items()})


def _parse_end(text: str) -> End:
    sequence, record_hash, recorded_unix_ns, place = text.split()
    return End(Head(int(sequence), bytes.fromhex(record_hash), int(recorded_unix_ns)), int(place))
