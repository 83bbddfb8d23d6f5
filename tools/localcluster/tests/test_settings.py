from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.localcluster import controlplane, dns, images, network, node, vault

_COREFILE = """data:
  Corefile: |
    .:53 {
        ready
        forward . /etc/resolv.conf {
           max_concurrent 1000
        }
        loop
        reload
    }
spec:
  replicas: 2
"""


def test_dns_asks_nobody_else() -> None:
    settings = dns.local_only(_COREFILE)
    assert "forward" not in settings
    assert "loop" not in settings
    assert "        ready\n        reload\n    }\n" in settings
    assert "replicas: 1\n" in settings


def test_the_kubeconfig_for_outside_goes_through_the_forwarder() -> None:
    text = "server: https://10.95.0.2:6443\ncurrent-context: kubernetes-super-admin@crowetrade\n"
    outside = controlplane._outside_kubeconfig(text, 4711)
    assert outside == "server: https://127.0.0.1:4711\ncurrent-context: crowetrade\n"


def test_pip_settings_are_lent_to_a_build_only_when_set() -> None:
    assert images._pip_settings({}) == ""
    lent = images._pip_settings({"PIP_DEFAULT_TIMEOUT": "9", "PIP_EXTRA_INDEX_URL": "there", "PIP_CERT": "/c"})
    assert lent.splitlines() == ["[global]", "extra-index-url = there", "timeout = 9"]


def test_vault_passes_the_restricted_pod_security_standard() -> None:
    pod = next(item for item in vault.manifests() if item["kind"] == "Deployment")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert json.dumps(pod)


@pytest.mark.parametrize(
    ("version", "expected"),
    [("iptables v1.8.9 (nf_tables)", "NFT"), ("iptables v1.8.9 (legacy)", "Legacy"), ("iptables v1.6.1", "Legacy")],
)
def test_policies_go_to_the_packet_filter_that_services_go_to(version: str, expected: str) -> None:
    assert node.packet_filter(version) == expected


def test_mount_points_are_listed_in_the_order_to_undo_them() -> None:
    assert "/" in network.mount_points()
    assert network.mount_points(below=Path("/no/such/folder")) == []


def test_vault_is_ready_only_when_it_is_set_up_again() -> None:
    pod = next(item for item in vault.manifests() if item["kind"] == "Deployment")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    script: str = container["command"][-1]
    assert container["startupProbe"]["exec"] == {"command": ["test", "-e", "/tmp/ready"]}
    # /tmp outlives the container.
    assert script.index("rm -f /tmp/ready") < script.index("vault server") < script.index("touch /tmp/ready")
