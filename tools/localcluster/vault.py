"""Vault as a pod, for tests and the demo: in memory, its root token known to everybody who can reach it.

The server forgets everything with its process, so the same process that starts it also sets it up again: Kubernetes
logins, KV version 2 at secret/, which development mode mounts by itself, and the PKI engine that hands out identities.
Ready means that all of it is done. Only its authority (see certificates.py) is kept, in a Secret, so that a new process
is trusted, and trusts, as the one before. TLS alone is open to the cluster; plain http to this very pod.
"""

from __future__ import annotations

from typing import Any

from tools.localcluster import certificates, kube, processes, versions

_NAME = "vault"
_PORT = 8200
_INSIDE_PORT = 8202
_ENVIRONMENT = {"VAULT_ADDR": f"http://127.0.0.1:{_INSIDE_PORT}", "VAULT_TOKEN": versions.VAULT_TOKEN}

ADDRESS = f"https://{_NAME}.{versions.VAULT_NAMESPACE}.svc:{_PORT}"
POD_LABELS = {"app.kubernetes.io/name": _NAME}
CERTIFICATES = "vault-tls"
"""The Secret with the authority; everybody may know its ca.crt."""
TRUST_DOMAIN = "crowetrade.local"
PKI_PATH = "crowetrade-pki"
PKI_ROLE = "crowetrade"
IDENTITY_ROLE = "crowetrade-identity"
"""With which every service account logs in for its certificate."""
ADMINISTRATOR_ROLE = "administrator"
"""Of the PKI engine, for people: no service account may use it."""
ADMINISTRATOR = f"spiffe://{TRUST_DOMAIN}/ns/administrators/sa/administrator"

# Vault's own image has the Kubernetes method built in, the image of the local cluster has it as a plugin.
_START = f"""
# What the process before this one has left: it does not speak for this one.
rm -f /tmp/ready
trap 'kill "$server"' TERM INT
plugins=/vault/plugins
method=vault-plugin-auth-kubernetes
test -e "$plugins/$method" || {{ mkdir -p /tmp/plugins; plugins=/tmp/plugins; method=kubernetes; }}
cat > /tmp/listener.hcl <<END
listener "tcp" {{
  address = "0.0.0.0:{_PORT}"
  tls_cert_file = "/vault/tls/tls.crt"
  tls_key_file = "/vault/tls/tls.key"
}}
END
vault server -dev -dev-no-store-token -dev-root-token-id="$VAULT_TOKEN" -dev-plugin-dir="$plugins" \\
  -dev-listen-address=127.0.0.1:{_INSIDE_PORT} -config=/tmp/listener.hcl &
server=$!
until vault status >/dev/null 2>&1; do kill -0 "$server"; sleep 0.3; done
vault auth enable -path=kubernetes "$method"
vault write auth/kubernetes/config kubernetes_host=https://kubernetes.default.svc
vault secrets enable -path={PKI_PATH} pki
vault secrets tune -max-lease-ttl=87600h {PKI_PATH}
vault write {PKI_PATH}/config/crl auto_rebuild=true
cat /vault/tls/ca.crt /vault/tls/ca.key | vault write {PKI_PATH}/config/ca pem_bundle=-
accessor=$(vault read -field=accessor sys/auth/kubernetes)
account="{{{{identity.entity.aliases.$accessor.metadata.service_account_name}}}}"
namespace="{{{{identity.entity.aliases.$accessor.metadata.service_account_namespace}}}}"
vault write {PKI_PATH}/roles/{PKI_ROLE} key_type=ec key_bits=256 require_cn=false use_csr_common_name=false \\
  ttl=1h max_ttl=24h allow_localhost=false allow_ip_sans=false \\
  allowed_uri_sans_template=true allowed_uri_sans="spiffe://{TRUST_DOMAIN}/ns/$namespace/sa/$account" \\
  allowed_domains_template=true allow_bare_domains=true \\
  allowed_domains="$account.$namespace.svc,$account.$namespace.svc.cluster.local,*.$account.$namespace.svc"
vault policy write {IDENTITY_ROLE} - <<END
path "{PKI_PATH}/sign/{PKI_ROLE}" {{ capabilities = ["update"] }}
END
vault write auth/kubernetes/role/{IDENTITY_ROLE} bound_service_account_names='*' \\
  bound_service_account_namespaces='*' audience=vault token_policies={IDENTITY_ROLE} token_ttl=10m
vault write {PKI_PATH}/roles/{ADMINISTRATOR_ROLE} key_type=ec key_bits=256 require_cn=false \\
  ttl=12h max_ttl=24h server_flag=false allow_localhost=false allow_ip_sans=false \\
  allowed_uri_sans="{ADMINISTRATOR}"
touch /tmp/ready
wait "$server"
"""


def _metadata(**more: Any) -> dict[str, Any]:
    return {"name": _NAME, "namespace": versions.VAULT_NAMESPACE, "labels": POD_LABELS, **more}


def _container() -> dict[str, Any]:
    return {
        "name": _NAME,
        "image": versions.VAULT_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-ec", _START],
        "env": [{"name": name, "value": value} for name, value in {**_ENVIRONMENT, "HOME": "/tmp"}.items()],
        "ports": [{"name": "api", "containerPort": _PORT}],
        # A command in the container costs more than all else that Vault does here, so it runs until the set-up is done.
        "startupProbe": {
            "exec": {"command": ["test", "-e", "/tmp/ready"]},
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": 300,
        },
        "readinessProbe": {
            "httpGet": {"path": "/v1/sys/health", "port": "api", "scheme": "HTTPS"},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
        },
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "tls", "mountPath": "/vault/tls", "readOnly": True},
        ],
    }


def certificates_secret() -> dict[str, Any]:
    """A new authority each time: keep the one that is there."""
    host = f"{_NAME}.{versions.VAULT_NAMESPACE}.svc"
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": CERTIFICATES, "namespace": versions.VAULT_NAMESPACE, "labels": POD_LABELS},
        "stringData": certificates.make([host, f"{host}.cluster.local", "localhost"]),
    }


def namespace() -> dict[str, Any]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": versions.VAULT_NAMESPACE, "labels": labels},
    }


def manifests() -> list[dict[str, Any]]:
    """All but the namespace and the authority."""
    labels = POD_LABELS
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
        "volumes": [
            {"name": "tmp", "emptyDir": {"medium": "Memory"}},
            {"name": "tls", "secret": {"secretName": CERTIFICATES, "defaultMode": 0o440}},
        ],
    }
    return [
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
    kube.apply(namespace())
    if not kube.succeeds("get", "secret", CERTIFICATES, "-n", versions.VAULT_NAMESPACE):
        kube.apply(certificates_secret())
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
