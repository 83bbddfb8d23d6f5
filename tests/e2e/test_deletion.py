"""Who deletes everything finds nothing left, and no position either where Flatten asks for that."""

from __future__ import annotations

import json

from crowetrade.audit.v1 import audit_pb2
from tests.e2e import manifests
from tests.e2e.journal import read_audit, read_journal
from tests.e2e.namespaces import Namespace

# Kubernetes itself puts these into every namespace; events are its log and expire.
_OWN = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
_LOG = {"Event"}


def _left(namespace: Namespace) -> list[str]:
    kinds = namespace.kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
    listed = [kind for kind in kinds if not kind.endswith("metrics.k8s.io")]
    objects = namespace.kubectl.list(",".join(listed), namespace.name)
    found = [(entry["kind"], entry["metadata"]["name"]) for entry in objects]
    return sorted({f"{kind}/{name}" for kind, name in found if kind not in _LOG and (kind, name) not in _OWN})


def test_deleting_everything_leaves_nothing(namespace: Namespace) -> None:
    namespace.apply(
        manifests.risk_limit(),
        manifests.venue(),
        manifests.strategy("ema", deletionPolicy="Flatten"),
        manifests.strategy("split", topology="Split"),
    )
    namespace.until_trading("ema", "split")
    namespace.until_filled("ema")
    namespace.delete("strategy", "ema")
    namespace.until(
        lambda: None if namespace.kubectl.get("strategy", "ema", namespace.name) is None else "still stopping",
        "the strategy to be flat and gone",
    )
    for kind, name in (("strategy", "split"), ("venueconnection", manifests.VENUE), ("risklimit", "desk")):
        namespace.delete(kind, name)
    namespace.until(lambda: ", ".join(_left(namespace)) or None, "nothing to be left")


def _order_quantity(after: str) -> str:
    return str(json.loads(after)["spec"]["limits"]["maxOrderQuantity"]) if after else ""


def test_the_audit_trail_says_who_changes_and_who_deletes(namespace: Namespace) -> None:
    """The demo's API server knows no MutatingAdmissionPolicy: it asks the operator before a change, too."""
    namespace.apply(manifests.risk_limit())
    seven = json.dumps({"spec": {"limits": {"maxOrderQuantity": "7"}}})
    place = ("risklimit", "desk", "-n", namespace.name, "--as-group=system:masters")
    namespace.kubectl("patch", *place, "--as=bob", "--type=merge", "-p", seven)
    namespace.kubectl("delete", *place, "--as=alice")
    changed, deleted = audit_pb2.ACTION_CHANGE_REQUESTED, audit_pb2.ACTION_DELETION_REQUESTED
    # Each may be asked of another replica, so nothing is said about which is written first.
    expected = {(changed, "bob", "RiskLimit", "desk", "7"), (deleted, "alice", "RiskLimit", "desk", "")}

    def recorded() -> str | None:
        found = [
            one for one in read_audit(namespace) if one.action in (changed, deleted) and one.actor in ("alice", "bob")
        ]
        told = {(one.action, one.actor, one.kind, one.name, _order_quantity(one.after)) for one in found}
        return None if told == expected else f"recorded: {told}"

    namespace.until(recorded, "the audit trail to say who changed and who deleted it")


def _until_holding(namespace: Namespace) -> None:
    def probe() -> str | None:
        positions = namespace.status("strategy", "ema").get("position", [])
        return None if any(entry["quantity"] != "0" for entry in positions) else f"positions {positions}"

    namespace.until(probe, "a position")


def _until_gone(namespace: Namespace, kind: str, name: str) -> None:
    namespace.until(
        lambda: None if namespace.kubectl.get(kind, name, namespace.name) is None else "still there",
        f"{kind} {name} to be gone",
    )


def test_a_cascade_closes_the_position_before_the_venue_goes(namespace: Namespace) -> None:
    """`kubectl delete -f`: the venue and the limit are asked to go before the strategy is."""
    namespace.apply(manifests.risk_limit(), manifests.venue(), manifests.strategy("ema", deletionPolicy="Flatten"))
    namespace.until_trading("ema")
    _until_holding(namespace)
    for kind, name in (("venueconnection", manifests.VENUE), ("risklimit", "desk"), ("strategy", "ema")):
        namespace.delete(kind, name)
    _until_gone(namespace, "strategy", "ema")
    _until_gone(namespace, "venueconnection", manifests.VENUE)
    journal = read_journal(namespace, manifests.VENUE)
    assert journal.position("ema") == 0
    assert any(order.closing for order in journal.orders("ema"))


def test_a_namespace_closes_the_position_before_it_goes(namespace: Namespace) -> None:
    """Kubernetes stops the gateway's pod first, and marks the strategy only when that is gone."""
    namespace.apply(manifests.risk_limit(), manifests.venue(), manifests.strategy("ema", deletionPolicy="Flatten"))
    namespace.until_trading("ema")
    _until_holding(namespace)
    namespace.kubectl("delete", "namespace", namespace.name, "--wait=false")
    namespace.until(
        lambda: None if namespace.kubectl.get("namespace", namespace.name) is None else "still there",
        "the namespace to be gone",
    )
    journal = read_journal(namespace, manifests.VENUE)
    assert journal.position("ema") == 0
    assert any(order.closing for order in journal.orders("ema"))
