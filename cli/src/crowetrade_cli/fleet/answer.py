"""Why does it not trade: one answer, and what lies behind it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from crowetrade_api.reasons import Reason
from crowetrade_api.v1alpha1.meta import NOT_OBSERVED
from crowetrade_api.v1alpha1.strategy import venue_refs
from crowetrade_cli.fleet.status import (
    BreachRow,
    StoppedRow,
    Stored,
    breaches_of,
    kill_of,
    stopped_strategy,
    stopped_venue,
    unreported,
)

FIND_OPERATOR = "is the operator running? kubectl get pods -A -l app.kubernetes.io/name=crowetrade-operator"


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that stops it, and a command or an edit that helps; `next` is empty where waiting helps."""

    what: str
    why: str
    next: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """`trades` by its status, and False where that is too old to tell; `reason` is that of the condition that says so.
    The first cause is the one to look at."""

    kind: str
    namespace: str
    name: str
    trades: bool
    state: str
    reason: str
    message: str
    causes: Sequence[Cause]

    def to_json(self) -> dict[str, Any]:
        """For `--output json`."""
        return asdict(self)


def answer_for_strategy(
    strategy: Stored,
    venues: Sequence[Stored],
    limits: Sequence[Stored],
    switches: Sequence[Stored],
    now: datetime,
) -> Answer:
    """`venues`, `limits` and `switches` may be of any namespace: what does not concern the strategy is left out."""
    metadata, spec = strategy["metadata"], strategy.get("spec") or {}
    namespace, name = metadata["namespace"], metadata["name"]
    named = {(ref.get("namespace") or namespace, ref["name"]) for ref in venue_refs(spec)}
    at = [item for item in venues if _place(item) in named]
    homes = {namespace, *(home for home, _ in named)}
    stopped = stopped_strategy(strategy, now)
    causes = [
        *_silent(strategy, now),
        *_outdated(strategy),
        *_kills(switches, homes, stopped),
        *(_breach(row) for item in limits for row in breaches_of(item) if _concerns(row, namespace, name, named)),
        *_suspended(strategy, "strategy"),
        *_missing(named, at),
        *(cause for item in at for cause in _venue(item, now)),
    ]
    return _answer("Strategy", namespace, name, stopped, "Trading", causes)


def answer_for_venue(venue: Stored, switches: Sequence[Stored], now: datetime) -> Answer:
    """Whether its gateway takes orders."""
    namespace, name = _place(venue)
    stopped = stopped_venue(venue, now)
    causes = [
        *_silent(venue, now),
        *_outdated(venue),
        *_kills(switches, {namespace}, stopped),
        *_suspended(venue, "venue"),
    ]
    return _answer("VenueConnection", namespace, name, stopped, "Connected", causes)


def _answer(
    kind: str, namespace: str, name: str, stopped: StoppedRow | None, well: str, causes: Sequence[Cause]
) -> Answer:
    if stopped is None:
        return Answer(kind, namespace, name, True, well, "", "", causes)
    return Answer(kind, namespace, name, False, stopped.state, stopped.reason, stopped.message, causes)


def _place(item: Stored) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _silent(item: Stored, now: datetime) -> Iterator[Cause]:
    """Its status is old: what follows from it may be past."""
    if silence := unreported(item, now):
        yield Cause(f"{item['kind']} {'/'.join(_place(item))}", silence, FIND_OPERATOR)


def _outdated(item: Stored) -> Iterator[Cause]:
    """Its status is about an older spec, or nobody has written one."""
    generation = int(item["metadata"].get("generation") or 0)
    seen = int((item.get("status") or {}).get("observedGeneration", NOT_OBSERVED))
    if seen < generation:
        said = (
            f"has looked at generation {seen} of it and not at {generation}"
            if seen > 0
            else "has not carried it out yet"
        )
        yield Cause(
            f"{item['kind']} {'/'.join(_place(item))}",
            f"the operator {said}",
            FIND_OPERATOR,
        )


def _kills(switches: Sequence[Stored], homes: set[str], stopped: StoppedRow | None) -> Iterator[Cause]:
    """Those meant by a status that says KillSwitchEngaged: named in its sentence, or of these namespaces."""
    if stopped is None or stopped.reason != Reason.KILL_SWITCH_ENGAGED.value:
        return
    for item in switches:
        row = kill_of(item)
        if row is None or (row.name not in stopped.message and row.namespace not in homes):
            continue
        by = f" by {row.engaged_by}" if row.engaged_by else ""
        yield Cause(
            f"KillSwitch {row.namespace}/{row.name}",
            f"engaged{by}: {row.reason}",
            f"another person than the one who engaged it: crowetrade rearm {row.name} -n {row.namespace} --reason ...",
        )


def _breach(row: BreachRow) -> Cause:
    return Cause(
        f"RiskLimit {row.namespace}/{row.risk_limit}",
        f"{row.limit} is breached ({row.action}): {row.message}",
        f"crowetrade clear-breach {row.risk_limit} {row.id} -n {row.namespace} --reason ...",
    )


def _concerns(row: BreachRow, namespace: str, name: str, venues: set[tuple[str, str]]) -> bool:
    if row.strategy:
        return row.strategy in (f"{namespace}/{name}", name if row.namespace == namespace else "")
    return (row.namespace, row.venue) in venues


def _suspended(item: Stored, word: str) -> Iterator[Cause]:
    if (item.get("spec") or {}).get("suspend") is True:
        namespace, name = _place(item)
        yield Cause(
            f"{item['kind']} {namespace}/{name}",
            "spec.suspend is true",
            f"crowetrade resume {word}/{name} -n {namespace}",
        )


def _missing(named: set[tuple[str, str]], found: Sequence[Stored]) -> Iterator[Cause]:
    there = {_place(item) for item in found}
    for namespace, name in sorted(named - there):
        yield Cause(
            f"VenueConnection {namespace}/{name}",
            "it does not exist, or you may not see it",
            f"kubectl get venueconnections -n {namespace}",
        )


def _venue(item: Stored, now: datetime) -> Iterator[Cause]:
    row = stopped_venue(item, now)
    yield from _suspended(item, "venue")
    if row is not None:
        yield Cause(
            f"VenueConnection {row.namespace}/{row.name}",
            f"{row.state}: {row.message}" if row.message else row.state,
            f"crowetrade logs venue/{row.name} -n {row.namespace}",
        )
