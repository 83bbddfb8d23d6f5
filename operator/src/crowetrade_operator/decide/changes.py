"""What the audit trail says about a change of a resource. Pure.

Who made it is known by an annotation that admission keeps honest (names.CHANGED_BY_ANNOTATION); without it nobody is
named. Who asks for a change or a deletion is known before it alone, by the API server's question (see admission), so
that is an event of its own.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from crowetrade.audit.v1 import audit_pb2
from crowetrade_api.names import (
    CHANGED_BY_ANNOTATION,
    CLEAR_BREACH_ANNOTATION,
    CLEAR_HALT_ANNOTATION,
    FORCE_DELETE_ANNOTATION,
    Kind,
)
from crowetrade_operator.cluster.compare import content_hash
from crowetrade_operator.cluster.objects import Object

WHILE_AWAY = "found when the operator began to work: changed while none did"
WHILE_UNREADABLE = "found when the namespace could be read again: changed while it could not"
NOT_KNOWN = "what changed here while no operator worked is not known: what was recorded last was not kept"
DELETION_ASKED = "the deletion was asked for"
GONE = "gone"
_NOT_SAID = frozenset({CHANGED_BY_ANNOTATION, "kubectl.kubernetes.io/last-applied-configuration"})
"""Annotations that are no change by themselves: who it was, and a copy of the rest."""
REQUESTS = frozenset({audit_pb2.ACTION_CHANGE_REQUESTED, audit_pb2.ACTION_DELETION_REQUESTED})
"""What somebody asked for: what became of it is an event of its own."""
ENGAGED = "engaged"
_OVERRIDES = {
    CLEAR_HALT_ANNOTATION: audit_pb2.ACTION_OVERRIDE,
    CLEAR_BREACH_ANNOTATION: audit_pb2.ACTION_OVERRIDE,
    FORCE_DELETE_ANNOTATION: audit_pb2.ACTION_FORCE_DELETE,
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the audit trail said last about a resource."""

    kind: str
    namespace: str
    name: str
    hash: str
    # What has an action of its own: ENGAGED, and annotations that override something, each with a hash of its text.
    told: tuple[str, ...] = ()


def said(item: Object) -> Object:
    """What people say of a resource."""
    return {
        "labels": item["metadata"].get("labels") or {},
        "annotations": {key: text for key, text in _annotations(item).items() if key not in _NOT_SAID},
        "spec": item.get("spec") or {},
    }


def recorded(item: Object) -> Recorded:
    """To be kept, so that the next operator knows what has changed while none worked."""
    metadata = item["metadata"]
    # Half of the hash: it is compared with the hash of an object that nobody chooses to be like another.
    found = content_hash(said(item))[:32]
    told = (*[ENGAGED] * _is_engaged(item), *_overrides(item).values())
    return Recorded(item["kind"], metadata.get("namespace", ""), metadata["name"], found, told)


def _overrides(item: Object) -> dict[str, str]:
    """Annotation -> how it is named in Recorded."""
    found = _annotations(item)
    return {name: _override(name.rpartition("/")[2], found[name]) for name in _OVERRIDES if name in found}


def _override(annotation: str, text: str) -> str:
    return f"{annotation} {content_hash(text)[:16]}"


def events_of(before: Object | None, after: Object | None) -> list[audit_pb2.AuditEvent]:
    """What happened to a resource: the change itself, and what it means. Empty for what people do not say: status,
    finalizers."""
    if after is None:
        assert before is not None
        return [_event(audit_pb2.ACTION_DELETED, before, reason=GONE, before=before)]
    events, author = [], _author(before, after)
    if before is None:
        events.append(_event(audit_pb2.ACTION_CREATED, after, author=author, after=after))
    elif said(before) != said(after):
        events.append(_event(audit_pb2.ACTION_CHANGED, after, author=author, before=before, after=after))
    if before is not None and _is_deleted(after) and not _is_deleted(before):
        events.append(_event(audit_pb2.ACTION_DELETED, after, reason=DELETION_ASKED))
    old = _annotations(before) if before is not None else {}
    for annotation, text in _annotations(after).items():
        if annotation in _OVERRIDES and text != old.get(annotation):
            reason = f"{annotation.rpartition('/')[2]}: {text}"
            events.append(_event(_OVERRIDES[annotation], after, author=author, reason=reason))
    if _engages(before, after) or (before is not None and _engages(after, before)):
        action = audit_pb2.ACTION_KILL if _is_engaged(after) else audit_pb2.ACTION_REARM
        events.append(_event(action, after, author=author, reason=str((after.get("spec") or {}).get("reason") or "")))
    return events


def change_requested(before: Object | None, after: Object, user: str) -> audit_pb2.AuditEvent | None:
    """Somebody has asked the API server to create or to change it; something else may refuse that yet. Nothing for what
    people do not say."""
    if before is not None and said(before) == said(after):
        return None
    return _event(audit_pb2.ACTION_CHANGE_REQUESTED, after, author=user, before=before, after=after)


def deletion_requested(item: Object, user: str) -> audit_pb2.AuditEvent:
    """Somebody has asked the API server to delete it; something else may refuse that yet."""
    return _event(audit_pb2.ACTION_DELETION_REQUESTED, item, author=user, before=item)


def events_while_away(
    kept: Mapping[str, Recorded], found: Mapping[str, Object], reason: str = WHILE_AWAY
) -> list[audit_pb2.AuditEvent]:
    """What has changed since the audit trail spoke last, by uid: what it was before and who changed it in between is
    not known."""
    events = []
    for uid, item in found.items():
        known = kept.get(uid)
        if known is None:
            events.append(_event(audit_pb2.ACTION_CREATED, item, author=_author(None, item), reason=reason, after=item))
        elif known.hash != recorded(item).hash:
            events.append(_event(audit_pb2.ACTION_CHANGED, item, author=_author(item, item), reason=reason, after=item))
        events += _meant_while_away(known.told if known is not None else (), item, reason)
    for uid, gone in kept.items():
        if uid not in found:
            event = audit_pb2.AuditEvent(action=audit_pb2.ACTION_DELETED, reason=reason, uid=uid)
            event.kind, event.namespace, event.name = gone.kind, gone.namespace, gone.name
            events.append(event)
    return events


def _meant_while_away(told: Collection[str], item: Object, reason: str) -> Iterator[audit_pb2.AuditEvent]:
    """What a change means, as in `events_of`. Who changed it last need not be who re-armed or overrode, so that is a
    claim."""
    last = str(_annotations(item).get(CHANGED_BY_ANNOTATION, ""))
    texts = {name: _annotations(item)[name] for name, known in _overrides(item).items() if known not in told}
    for name, text in texts.items():
        why = f"{name.rpartition('/')[2]}: {text}; {reason}"
        yield _event(_OVERRIDES[name], item, author=last, proof=audit_pb2.ACTOR_PROOF_CLAIMED, reason=why)
    if _is_engaged(item) is not (ENGAGED in told):
        why = f"{(item.get('spec') or {}).get('reason') or 'no reason was given'}; {reason}"
        if _is_engaged(item):
            yield _event(audit_pb2.ACTION_KILL, item, author=_author(None, item), reason=why)
        else:
            yield _event(audit_pb2.ACTION_REARM, item, author=last, proof=audit_pb2.ACTOR_PROOF_CLAIMED, reason=why)


def follow(said: dict[str, Recorded], event: audit_pb2.AuditEvent) -> None:
    """Takes over what an event of the trail says of a resource, by uid. What a change means has an event of its own,
    which may be missing where the writer was killed in between."""
    known = said.get(event.uid)
    told = known.told if known is not None else ()
    match event.action:
        case audit_pb2.ACTION_CREATED | audit_pb2.ACTION_CHANGED:
            content = json.loads(event.after or "{}")
            if "spec" in content:  # otherwise it was too long for a record
                found = content_hash(content)[:32]
                said[event.uid] = Recorded(event.kind, event.namespace, event.name, found, told)
            return
        case audit_pb2.ACTION_DELETED:
            if event.reason != DELETION_ASKED:
                said.pop(event.uid, None)
            return
        case audit_pb2.ACTION_KILL:
            told = (ENGAGED, *told)
        case audit_pb2.ACTION_REARM:
            told = tuple(name for name in told if name != ENGAGED)
        case audit_pb2.ACTION_OVERRIDE | audit_pb2.ACTION_FORCE_DELETE:
            annotation, _, text = event.reason.partition(": ")
            text = text.removesuffix(f"; {WHILE_AWAY}").removesuffix(f"; {WHILE_UNREADABLE}")
            told = (*told, _override(annotation, text))
    if known is not None:
        said[event.uid] = replace(known, told=told)


def unknown_while_away(namespace: str) -> audit_pb2.AuditEvent:
    """Nothing can be said about what changed in a namespace."""
    return audit_pb2.AuditEvent(action=audit_pb2.ACTION_RECORDS_LOST, namespace=namespace, reason=NOT_KNOWN)


def _event(
    action: audit_pb2.Action.ValueType,
    item: Object,
    *,
    author: str = "",
    proof: audit_pb2.ActorProof.ValueType = audit_pb2.ACTOR_PROOF_API_SERVER,
    reason: str = "",
    before: Object | None = None,
    after: Object | None = None,
) -> audit_pb2.AuditEvent:
    metadata = item["metadata"]
    return audit_pb2.AuditEvent(
        action=action,
        actor=author,
        proof=proof if author else audit_pb2.ACTOR_PROOF_UNSPECIFIED,
        kind=item["kind"],
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        reason=reason,
        before=_text(before),
        after=_text(after),
    )


def _text(item: Object | None) -> str:
    return "" if item is None else json.dumps(said(item), sort_keys=True, separators=(",", ":"))


def _author(before: Object | None, after: Object) -> str:
    """Who is named in the annotation. On a KillSwitch that is engaged admission lets another's name stay, so that it
    stands in nobody's way: there spec.engagedBy says who engaged it, and a name that was there before says nothing."""
    named = str(_annotations(after).get(CHANGED_BY_ANNOTATION, ""))
    if not _is_engaged(after):
        return named
    if _engages(before, after) and (by := after["spec"].get("engagedBy")):
        return str(by)
    return named if before is None or named != _annotations(before).get(CHANGED_BY_ANNOTATION, "") else ""


def _annotations(item: Object) -> Mapping[str, str]:
    found: Mapping[str, str] = item["metadata"].get("annotations") or {}
    return found


def _is_deleted(item: Object) -> bool:
    return bool(item["metadata"].get("deletionTimestamp"))


def _is_engaged(item: Object) -> bool:
    return item["kind"] == Kind.KILL_SWITCH.value and (item.get("spec") or {}).get("engaged") is True


def _engages(before: Object | None, after: Object) -> bool:
    return _is_engaged(after) and not (before is not None and _is_engaged(before))
