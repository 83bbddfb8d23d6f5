"""What the auditor says."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple


class Over(NamedTuple):
    """A limit is broken: what was computed, what is allowed, and a sentence."""

    computed: str
    allowed: str
    text: str


class NotJudged(NamedTuple):
    """What is missing so that nobody can say whether a limit holds."""

    why: str


Verdict = Over | NotJudged | None
"""None: the limit holds."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An order that should not have left, or a journal that cannot be believed (`cl_ord_id` is empty then).

    `limit` is a field of RiskLimit.spec.limits, or what else forbade it (judge.CONTROLS). `sequence` is the event's in
    the venue's journal, so that namespace, venue, sequence and limit name a finding whenever it is found again.
    """

    namespace: str
    venue: str
    sequence: int
    at_unix_ns: int
    cl_ord_id: str
    strategy: str
    symbol: str
    limit: str
    risk_limit: str
    computed: str
    allowed: str
    text: str

    def to_json(self) -> bytes:
        """As it is published."""
        return json.dumps(self.fields(), separators=(",", ":")).encode()

    def fields(self) -> dict[str, Any]:
        """By name."""
        return asdict(self)


class Unjudged(NamedTuple):
    """A limit of one order that could not be judged."""

    namespace: str
    venue: str
    limit: str
    why: str
