"""CoreDNS, from kubeadm's own manifests, for a network without a resolver of its own."""

from __future__ import annotations

import re

from tools.localcluster import controlplane, kube, processes

NAMESPACE, DEPLOYMENT = "kube-system", "coredns"


def local_only(manifests: str) -> str:
    """One replica, and no `forward` and `loop`, which need a resolver upstream."""
    without_forward = re.sub(r"^ *forward \. [^{\n]*\{[^}]*\}\n", "", manifests, flags=re.MULTILINE)
    without_loop = re.sub(r"^ *loop\n", "", without_forward, flags=re.MULTILINE)
    return re.sub(r"^( *)replicas: 2$", r"\1replicas: 1", without_loop, flags=re.MULTILINE)


def deploy() -> None:
    """kubeadm prints other objects too, and a line of its own; only what we need of them is applied."""
    printed = controlplane.kubeadm("init", "phase", "addon", "coredns", "--print-manifest")
    start = printed.index("---") if "---" in printed else 0
    kube.apply(local_only(printed[start:]))


def wait_until_ready() -> None:
    processes.wait_for("CoreDNS", is_ready, seconds=120, needs=["kubelet", "kube-controller-manager"])


def is_ready() -> bool:
    return kube.is_rolled_out(NAMESPACE, DEPLOYMENT)
