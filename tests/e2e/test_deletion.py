"""Who deletes everything finds nothing left."""

from __future__ import annotations

from tests.e2e import manifests
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
