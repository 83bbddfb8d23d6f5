"""A record of the audit trail as a row for people and as a line of JSON. Pure.

A line carries the record's bytes as they were stored: they are what is verified again, and the fields beside them are
for reading.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from crowetrade import subjects
from crowetrade.audit.v1 import audit_pb2
from crowetrade_cli.journal.rows import iso
from crowetrade_process.audit.chain import decode, digest

CHECKPOINT = "Checkpoint"


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One record. `before` and `after` are the resource's JSON as it was recorded."""

    writer: str
    sequence: int
    at_unix_ns: int
    action: str
    actor: str
    proof: str
    certificate: str
    """SHA-256 of the certificate that names the actor; empty where none was recorded."""
    resource: str
    reason: str
    before: str
    after: str
    count: int
    instance: str
    record: bytes

    def line(self) -> str:
        """The whole row as a line of JSON; the hash in hexadecimal, the record's bytes in base64."""
        record = {"hash": digest(self.record).hex(), "bytes": base64.b64encode(self.record).decode()}
        return json.dumps({**self.fields(), "record": record})

    def fields(self) -> dict[str, object]:
        """What is said in the record."""
        return {
            "writer": self.writer,
            "sequence": self.sequence,
            "at": iso(self.at_unix_ns),
            "action": self.action,
            "actor": self.actor,
            "proof": self.proof,
            "certificateSha256": self.certificate,
            "resource": self.resource,
            "reason": self.reason,
            "before": self.before,
            "after": self.after,
            "count": self.count,
            "instance": self.instance,
        }


def row_of(payload: bytes) -> AuditRow:
    """The row of a record as it is stored. Raises AuditBroken when it cannot be decoded."""
    record = decode(payload, "that is shown")
    event = record.event
    is_checkpoint = record.WhichOneof("content") == "checkpoint"
    place = "/".join(part for part in (event.namespace, event.name) if part)
    return AuditRow(
        writer=record.writer,
        sequence=record.sequence,
        at_unix_ns=event.at_unix_ns or record.recorded_unix_ns,
        action=CHECKPOINT if is_checkpoint else _ACTIONS.get(event.action, str(event.action)),
        actor=record.writer if is_checkpoint else event.actor,
        proof="" if is_checkpoint else _PROOFS.get(event.proof, str(event.proof)),
        certificate=event.certificate_sha256,
        resource=f"{event.kind} {place}".strip(),
        reason=event.reason,
        before=event.before,
        after=event.after,
        count=event.count,
        instance=record.instance,
        record=payload,
    )


def _camel_case(name: str, prefix: str) -> str:
    return "".join(part.capitalize() for part in name.removeprefix(prefix).split("_"))


def subject_of(payload: bytes) -> str:
    """The subject under which a record that was exported was stored."""
    namespace, _, account = decode(payload, "in the file").writer.partition(".")
    return subjects.audit(namespace, account)


_ACTIONS = {number: _camel_case(name, "ACTION_") for name, number in audit_pb2.Action.items()}
_PROOFS = {number: _camel_case(name, "ACTOR_PROOF_") for name, number in audit_pb2.ActorProof.items()}
