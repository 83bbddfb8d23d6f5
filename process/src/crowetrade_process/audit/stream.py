"""One writer's chain in the stream of the audit trail.

An append is one publish that names the sequence it follows on the writer's subject. Two processes with one identity (a
leader that is overtaken, a gateway that is replaced) therefore extend one chain in turns and never fork it. An append
that is not confirmed may be stored or not: the end of the chain is read again, and if it is the record that was sent,
it was stored.
"""

from __future__ import annotations

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import APIError, NotFoundError

from crowetrade import subjects
from crowetrade.audit.v1 import audit_pb2
from crowetrade_process.audit.chain import End, Head, head_of
from crowetrade_process.audit.errors import AuditUnavailable

TIMEOUT_SECONDS = 5.0
SCHEMA = audit_pb2.AuditRecord.DESCRIPTOR.full_name
_WRONG_LAST_SEQUENCE = 10071


class WriterStream:
    """The chain of one writer."""

    def __init__(self, client: Client, subject: str) -> None:
        self._jetstream = client.jetstream(timeout=TIMEOUT_SECONDS)
        self._subject = subject

    async def end(self) -> End:
        """Where the chain ends. Raises AuditUnavailable, and AuditBroken when its last record cannot be read."""
        try:
            found = await self._jetstream.get_last_msg(subjects.AUDIT_STREAM, self._subject, direct=True)
        except NotFoundError:
            return End(Head(), 0)
        except (NatsError, OSError, TimeoutError) as error:
            raise AuditUnavailable(f"the audit trail cannot be read: {error or type(error).__name__}") from error
        return End(head_of(found.data or b""), found.seq or 0)

    async def append(self, payload: bytes, after: End) -> int | None:
        """Appends a record; returns its sequence in the stream, or None when the chain does not end there any more.
        Raises AuditUnavailable when it is not confirmed."""
        headers = {
            "Nats-Expected-Last-Subject-Sequence": str(after.place),
            subjects.SCHEMA_HEADER: SCHEMA,
        }
        try:
            stored = await self._jetstream.publish(
                self._subject, payload, timeout=TIMEOUT_SECONDS, stream=subjects.AUDIT_STREAM, headers=headers
            )
        except APIError as error:
            if error.err_code == _WRONG_LAST_SEQUENCE:
                return None
            raise AuditUnavailable(f"the bus refused a record of the audit trail: {error}") from error
        except (NatsError, OSError, TimeoutError) as error:
            why = error or type(error).__name__
            raise AuditUnavailable(f"the bus did not confirm a record of the audit trail: {why}") from error
        return stored.seq
