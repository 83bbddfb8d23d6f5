"""What is said about a child that is not as it should be: repaired, made again, refused, or somebody else's. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from crowetrade_api.names import Key
from crowetrade_api.reasons import EventReason, Reason
from crowetrade_api.v1alpha1.common import cut
from crowetrade_operator.cluster.compare import Drift
from crowetrade_operator.cluster.objects import Note, Object
from crowetrade_operator.decide.plan import Refusal
from crowetrade_operator.decide.pod_failures import sentence
from crowetrade_operator.decide.pod_refusals import refusal_remedy

SHOWN_FIELDS = 5
_INSTEAD = {
    "spec.paused": " To keep the operator from changing children, set the annotation trading.crowetrade.io/paused on "
    "their owner.",
    "spec.replicas": " One pod at a time holds a session, so there is never more than one replica; spec.suspend of the "
    "owner stops it.",
}
"""By field: what to do instead of changing it."""
_FIGHT = (
    " It is changed again each time. From now on it is repaired less and less often: find out who writes it, and stop "
    "that."
)


def note(text: str, repairs: int, at_once: int) -> Note | None:
    """One event per repair; of a fight its beginning alone. `repairs` is how many there were of the child, of which
    `at_once` come at once."""
    if repairs < at_once:
        return Note("Normal", EventReason.CHILD_REPAIRED, "Repair", cut(text, 900))
    if repairs == at_once:
        return Note("Warning", EventReason.CHILD_CONTESTED, "Repair", cut(text, 700) + _FIGHT)
    return None


def made_again(desired: Object) -> str:
    """A child that somebody has deleted."""
    return f"{_named(desired)} was deleted, and was made again."


def put_back(desired: Object, found: Sequence[Drift]) -> str:
    """A child of which others have changed what is found."""
    fields = [drift.field for drift in found]
    more = f" and {len(fields) - SHOWN_FIELDS} more" if len(fields) > SHOWN_FIELDS else ""
    writers = list(dict.fromkeys(drift.writer for drift in found if drift.writer))
    by = f" by {', '.join(writers)}" if writers else ""
    instead = "".join(_INSTEAD.get(name, "") for name in fields)
    return f"{_named(desired)}: {', '.join(fields[:SHOWN_FIELDS])}{more} changed{by}, and put back.{instead}"


def refused(item: Object, said: str, what: str = "") -> Refusal:
    """What the API server said when it refused an object, or something about it, and what to do."""
    text = f"The API server refused {what}{_named(item)}: {sentence(said)}"
    remedy = refusal_remedy(said, item["metadata"]["namespace"])
    return Refusal(Reason.REFUSED_BY_CLUSTER, f"{text} {remedy}".strip())


def taken(desired: Object, key: Key) -> Refusal:
    """Somebody else's object has the name of a child."""
    kind, metadata = desired["kind"], desired["metadata"]
    name, namespace = metadata["name"], metadata["namespace"]
    text = (
        f"{kind} {name} is there already, and {key.kind} {key.name} has not made it, so it is left as it is. "
        f"Rename it, or delete it when nobody needs it (kubectl delete {kind.lower()} {name} -n {namespace}), "
        f"or give the {key.kind} another name."
    )
    return Refusal(Reason.NAME_TAKEN, text)


def _named(item: Object) -> str:
    return f"{item['kind']} {item['metadata']['name']}"
