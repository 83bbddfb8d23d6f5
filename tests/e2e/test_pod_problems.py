"""What keeps pods from running becomes a condition with its remedy, in the words of a real scheduler and kubelet. The
condition clears when the cause is gone."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

import pytest
from tools.demo.clusters import Cluster, LocalCluster
from tools.demo.kubernetes import Object, condition
from tools.localcluster import node, processes

from crowetrade_api.reasons import Reason
from tests.e2e import manifests
from tests.e2e.namespaces import Namespace, of_strategy, pod_name

NOWHERE = "127.0.0.1:1/crowetrade/agents:none"
"""An image of a registry that refuses at once."""
CONFIG_MAP, KEY = "my-quotes", "quotes.csv"
QUOTES = (
    "ts_ns,bid_px,bid_sz,ask_px,ask_sz\n"
    "1700000000000000000,1.10000,500000,1.10010,500000\n"
    "1700000001000000000,1.10050,500000,1.10060,500000\n"
)


@dataclass(frozen=True)
class Problem:
    """Something that keeps the agents of a strategy from running. `cure` is a patch of spec.agents."""

    reason: Reason
    agents: Object
    cure: Object
    says: tuple[str, ...] = field(kw_only=True)


# Each by the name of its strategy.
PROBLEMS = {
    "no-image": Problem(
        Reason.IMAGE_PULL_FAILED,
        {"image": NOWHERE},
        {"image": ""},
        says=(f"cannot get its image {NOWHERE}: ", "Check the image's name, and that its node may pull it."),
    ),
    "no-memory": Problem(
        Reason.OUT_OF_MEMORY,
        {"resources": {"requests": {"memory": "24Mi"}, "limits": {"memory": "24Mi"}}},
        {"resources": {"limits": {"memory": "512Mi"}}},
        says=(
            "Container agent of pod strategy-no-memory-",
            "it used more than its limit of 24Mi of memory: raise spec.agents.resources.limits.memory.",
        ),
    ),
    "no-room": Problem(
        Reason.UNSCHEDULABLE,
        {"resources": {"requests": {"cpu": "1000"}}},
        {"resources": {"requests": {"cpu": "50m"}}},
        says=(
            "No node takes pod strategy-no-room-",
            "1 Insufficient cpu. Add room to the cluster, or lower spec.agents.resources.requests.",
        ),
    ),
}
FULL = manifests.strategy("full", agents={"resources": {"limits": {"ephemeral-storage": "8Mi"}}})
"""It trades until its /tmp is filled."""
_FILL = "open('/tmp/files', 'wb').write(bytes(32 << 20)); print('null')"


def test_what_stops_pods_is_told_until_its_cause_is_gone(namespace: Namespace) -> None:
    keyless = manifests.venue(
        "no-key", simulated={"data": [{"symbol": manifests.SYMBOL, "configMap": {"name": CONFIG_MAP, "key": KEY}}]}
    )
    sick = [manifests.strategy(name, agents=problem.agents) for name, problem in PROBLEMS.items()]
    namespace.apply(manifests.risk_limit(), manifests.venue(), FULL, _config_map("ticks.csv"), keyless, *sick)

    # The kubelet looks once a minute.
    namespace.until_condition("strategy", "full", "AgentsAvailable")
    pod = namespace.pod(of_strategy("full"))
    evicted = pod_name(pod)
    namespace.python(evicted, _FILL)
    for name, problem in PROBLEMS.items():
        _told(namespace, "strategy", name, "AgentsAvailable", problem.reason, *problem.says)
        assert namespace.status("strategy", name)["phase"] == "Degraded"
    missing = f"ConfigMap {CONFIG_MAP} of namespace {namespace.name} has no key {KEY}, it has ticks.csv: add the key"
    _told(namespace, "venueconnection", "no-key", "Ready", Reason.MOUNT_FAILED, missing)

    namespace.apply(_config_map("ticks.csv", KEY))
    for name, problem in PROBLEMS.items():
        namespace.patch("strategy", name, {"spec": {"agents": problem.cure}})
    where, limits = pod["spec"]["nodeName"], "spec.agents.resources.limits"
    _until_said(
        namespace,
        f"1 of 1 pods are ready. Pod {evicted} was evicted from node {where}: Usage of EmptyDir volume "
        '"tmp" exceeds the limit "8Mi". If that is too little for its files in /tmp, '
        f"set {limits}.ephemeral-storage to more: /tmp may take as much.",
    )
    # Told for ten minutes to whoever looks later, or until the pod that has ended is gone.
    namespace.delete("pod", evicted)
    _until_said(namespace, "1 of 1 pods are ready.")
    namespace.until_trading("full", *PROBLEMS)
    namespace.until_condition("venueconnection", "no-key", "Ready")


@pytest.mark.alone
def test_a_node_that_does_not_answer_is_told_until_it_does(cluster: Cluster, namespace: Namespace) -> None:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("the node is not one that a test may freeze")
    namespace.apply(manifests.risk_limit(), manifests.venue(), manifests.strategy("ema"))
    namespace.until_trading("ema")
    pod = namespace.pod(of_strategy("ema"))
    kubelet = processes.alive(node.KUBELET)
    assert kubelet is not None
    assert processes.send(kubelet, signal.SIGSTOP)
    try:
        name = pod_name(pod)
        says = (
            f"Node {pod['spec']['nodeName']} of pod {name} does not answer. After 5 minutes Kubernetes starts another",
            f"kubectl delete pod {name} -n {namespace.name} --wait=false makes it do so now.",
        )
        _told(namespace, "strategy", "ema", "AgentsAvailable", Reason.NODE_LOST, *says)
    finally:
        processes.send(kubelet, signal.SIGCONT)
    namespace.until_trading("ema")
    assert namespace.pod(of_strategy("ema"))["metadata"]["uid"] == pod["metadata"]["uid"]
    namespace.until_filled("ema", more_than=namespace.filled("ema"))


def _config_map(*keys: str) -> Object:
    data = dict.fromkeys(keys, QUOTES)
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_MAP}, "data": data}


def _until_said(namespace: Namespace, message: str) -> None:
    def probe() -> str | None:
        found = condition(namespace.get("strategy", "full"), "AgentsAvailable")
        return None if found is not None and found["message"] == message else f"it is {found}"

    namespace.until(probe, f"AgentsAvailable of strategy full to say {message}")


def _told(namespace: Namespace, kind: str, name: str, type_: str, reason: Reason, *says: str) -> None:
    """Waits for the condition that is false for this reason, and looks for these words in its message."""
    namespace.until_condition(kind, name, type_, "False", reason)
    found = condition(namespace.get(kind, name), type_)
    assert found is not None
    for words in says:
        assert words in found["message"]
