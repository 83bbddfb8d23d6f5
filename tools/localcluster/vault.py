"""Vault as a pod, for tests: in memory, its root token known to everybody who can reach it.

The server forgets everything with its process, so the same process that starts it also sets it up again: Kubernetes
logins, and KV version 2 at secret/, which development mode mounts by itself. Ready means that both are done.
"""

from __future__ import annotations

from typing import Any

from tools.localcluster import kube, processes, versions

_NAME = "vault"
_PORT = 8200
_ENVIRONMENT = {"VAULT_ADDR": f"http://127.0.0.1:{_PORT}", "VAULT_TOKEN": versions.VAULT_TOKEN}

_START = f"""
trap 'kill "$server"' TERM INT
vault server -dev -dev-no-store-token -dev-root-token-id="$VAULT_TOKEN" -dev-plugin-dir=/vault/plugins \\
  -dev-listen-address=0.0.0.0:{_PORT} &
server=$!
until vault status >/dev/null 2>&1; do kill -0 "$server"; sleep 0.3; done
vault auth enable -path=kubernetes vault-plugin-auth-kubernetes
vault write auth/kubernetes/config kubernetes_host=https://kubernetes.default.svc
touch /tmp/ready
wait "$server"
"""


def _metadata(**more: Any) -> dict[str, Any]:
    return {"name": _NAME, "namespace": versions.VAULT_NAMESPACE, "labels": {"app": _NAME}, **more}


def _container() -> dict[str, Any]:
    return {
        "name": _NAME,
        "image": versions.VAULT_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-ec", _START],
        "env": [{"name": name, "value": value} for name, value in {**_ENVIRONMENT, "HOME": "/tmp"}.items()],
        "ports": [{"name": "api", "containerPort": _PORT}],
        "readinessProbe": {
            "exec": {"command": ["/bin/sh", "-c", "test -e /tmp/ready && vault status"]},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
        },
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }


def manifests() -> list[dict[str, Any]]:
    labels = {"app": _NAME}
    account = {"kind": "ServiceAccount", "name": _NAME, "namespace": versions.VAULT_NAMESPACE}
    pod = {
        "serviceAccountName": _NAME,
        "terminationGracePeriodSeconds": 2,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 100,
            "runAsGroup": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container()],
        "volumes": [{"name": "tmp", "emptyDir": {"medium": "Memory"}}],
    }
    namespace_labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": versions.VAULT_NAMESPACE, "labels": namespace_labels},
        },
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata()},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "vault-token-review"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:auth-delegator",
            },
            "subjects": [account],
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _metadata(),
            "spec": {"selector": labels, "ports": [{"name": "api", "port": _PORT, "targetPort": "api"}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": _metadata(),
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]


def deploy() -> None:
    kube.apply(*manifests())


def is_ready() -> bool:
    return kube.is_rolled_out(versions.VAULT_NAMESPACE, _NAME)


def wait_until_ready() -> None:
    processes.wait_for("Vault", is_ready, seconds=120, needs=["kubelet", "kube-controller-manager"])


def run(arguments: list[str]) -> int:
    """Vault's own command line, inside its pod, with the caller's input and output."""
    settings = [f"{name}={value}" for name, value in _ENVIRONMENT.items()]
    pod = f"deployment/{_NAME}"
    return kube.run_in_pod(versions.VAULT_NAMESPACE, pod, "env", *settings, "vault", *arguments)
