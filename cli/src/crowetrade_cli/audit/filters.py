"""Which records a person wants to see. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from crowetrade_cli.audit.rows import CHECKPOINT, AuditRow


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Empty text takes everything."""

    since_unix_ns: int = 0
    actor: str = ""
    resource: str = ""
    action: str = ""
    checkpoints: bool = False

    def takes(self, row: AuditRow) -> bool:
        """Whether the row is wanted."""
        if row.action == CHECKPOINT and not self.checkpoints:
            return False
        kind, _, place = row.resource.partition(" ")
        return (
            row.at_unix_ns >= self.since_unix_ns
            and self.actor in ("", row.actor)
            and self.resource in ("", kind, place, row.resource)
            and self.action in ("", row.action)
        )
