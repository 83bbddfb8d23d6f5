"""Every version and every name that two modules must agree on."""

from __future__ import annotations

KUBERNETES = "v1.35.4"
ETCD = "v3.6.16"
CALICO_MODULE = "github.com/projectcalico/calico"
CALICO = "v1.11.0-cni-plugin.0.20250813170300-a0db560f0520"
COREDNS = "v1.14.7"
HELM = "v3.22.0"
VAULT = "v1.19.0"
VAULT_KUBERNETES_AUTH = "v0.21.0"
VAULT_REDIS = "v0.7.0"
VAULT_INJECTOR = "v1.6.2"
PROMETHEUS = "v0.313.0"
KUBE_SCORE = "v1.20.0"
KUBECONFORM = "v0.8.0"
NATS = "2.15.1"
CERT_MANAGER = "v1.21.2"
CERT_MANAGER_KINDS = ("certificates", "certificaterequests", "issuers", "clusterissuers")
KUBECTL_MINIMUM = (1, 33)
GO_MINIMUM = (1, 26)
DEBIAN = "bookworm"

NAME = "crowetrade"
"""Of the kubeconfig context, the network namespace, and the control groups."""

NODE = "crowetrade-node"
NODE_ADDRESS = "10.95.0.2"
NODE_PREFIX = 24
POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
DNS_ADDRESS = "10.96.0.10"
API_PORT = 6443
PREFERRED_HOST_PORT = 16443

BASE_IMAGE = "docker.io/library/python:3.11-slim-bookworm"
PAUSE_IMAGE = "docker.io/crowetrade/pause:1"
COREDNS_REPOSITORY = "docker.io/coredns"
COREDNS_IMAGE = f"{COREDNS_REPOSITORY}/coredns:{COREDNS}"
VAULT_IMAGE = f"docker.io/hashicorp/vault:{VAULT.removeprefix('v')}"
NATS_IMAGE = f"docker.io/library/nats:{NATS}"

VAULT_NAMESPACE = "vault"
VAULT_TOKEN = "root"
"""No secret: this Vault lives in memory, inside a network namespace that nothing else reaches."""
