"""The venue's keys out of Vault: one file in the gateway's memory, rendered by a Vault Agent, and nothing else.

Either the operator puts Vault Agent into the pod itself, as a native sidecar, or the pod is annotated for the Vault
Agent Injector, which does so at admission. Both log in with a token that is made for Vault alone (audience vault), and
render new versions while the gateway runs. Neither holds up the gateway's start: a gateway without keys does not log on
to its venue, says why, and still obeys orders to stop.
"""

from __future__ import annotations

import json
from typing import Any

from crowetrade_api.files import (
    CREDENTIALS_DIRECTORY,
    CREDENTIALS_FILE,
    VAULT_AGENT_FILE,
    VAULT_AGENT_LOG,
    VAULT_CA_FILE,
)
from crowetrade_api.names import USER_ID
from crowetrade_api.v1alpha1.venueconnection import CredentialKeys, VaultCredentials
from crowetrade_operator.desired.pod import CONTAINER_SECURITY, TMP_MOUNT, with_storage
from crowetrade_operator.settings import Settings, VaultDelivery

AUDIENCE = "vault"
TOKEN_DIRECTORY = "/var/run/secrets/vault"
AGENT_DIRECTORY = "/etc/vault-agent"
CREDENTIALS_MOUNT: dict[str, Any] = {"name": "credentials", "mountPath": CREDENTIALS_DIRECTORY}
LOG_BYTES = 512 * 1024
"""Of the agent's log in memory before it is begun again; one older file is kept."""
TOKEN_VOLUME = "vault-token"
INJECTOR_TOKEN_DIRECTORY = "/var/run/secrets/vault.hashicorp.com/serviceaccount"
"""Where the injector mounts the volume that `agent-service-account-token-volume-name` names."""

_SEVERAL = f"""\
pick() {{
  for address in $1 $VAULT_ADDRESSES; do
    if vault status -address="$address" >/dev/null 2>&1; then echo "$address"; return; fi
  done
  echo "${{1:-${{VAULT_ADDRESSES%% *}}}}"
}}
trap 'kill "$agent"; exit 0' TERM INT
chosen=$(pick)
while :; do
  vault agent -config={AGENT_DIRECTORY}/{VAULT_AGENT_FILE} -address="$chosen" &
  agent=$!
  next=$chosen
  while kill -0 "$agent" && test "$next" = "$chosen"; do
    sleep "$VAULT_CHECK_SECONDS" & wait "$!"
    next=$(pick "$chosen")
  done
  kill "$agent" || true
  wait "$agent" || true
  chosen=$next
done
"""
"""Vault Agent knows one address. With several it runs for one that answers unsealed, and moves on when that one no
longer does; while none does it stays, so that its log says why."""
CHECK_SECONDS = 15


def template(credentials: VaultCredentials) -> str:
    """What is rendered: a CredentialsFile. A field that the secret lacks becomes null, which the gateway reports."""
    data = ".Data.data" if credentials.engine == "KeyValue" else ".Data"
    version = "{{ .Data.metadata.version }}" if credentials.engine == "KeyValue" else ""
    keys = ",".join(
        f'"{name}":{{{{ index {data} "{field}" | toJSON }}}}' for name, field in credentials.keys.fields().items()
    )
    return f'{{{{ with secret "{credentials.path}" }}}}{{"version":"{version}","keys":{{{keys}}}}}{{{{ end }}}}'


def agent_config(credentials: VaultCredentials, settings: Settings) -> str:
    """Vault Agent's configuration. JSON, so that nothing in a path or role can end a block."""
    config = {
        "vault": _server(settings),
        "pid_file": "/tmp/vault-agent.pid",
        "exit_after_auth": False,
        # The gateway reads there what fails, and at level debug also what succeeds. No level shows a secret.
        "log_level": "debug",
        "log_format": "json",
        "log_file": f"{CREDENTIALS_DIRECTORY}/{VAULT_AGENT_LOG}",
        "log_rotate_bytes": LOG_BYTES,
        "log_rotate_max_files": 1,
        "auto_auth": {
            # A list: Vault's parser takes an object of several keys for several methods.
            "method": [
                {
                    "type": "kubernetes",
                    "mount_path": f"auth/{settings.vault_auth_path}",
                    "config": {"role": credentials.role, "token_path": f"{TOKEN_DIRECTORY}/token"},
                }
            ]
        },
        "template_config": {
            "static_secret_render_interval": f"{credentials.refresh_seconds}s",
            "exit_on_retry_failure": False,
        },
        "template": [
            {
                "destination": f"{CREDENTIALS_DIRECTORY}/{CREDENTIALS_FILE}",
                "contents": template(credentials),
                "perms": "0440",
            }
        ],
    }
    return json.dumps(config, indent=2, sort_keys=True)


def _addresses(settings: Settings) -> list[str]:
    return [part.strip() for part in settings.vault_address.split(",")]


def _server(settings: Settings) -> dict[str, Any]:
    server = {"address": _addresses(settings)[0]}
    if settings.vault_ca:
        server["ca_cert"] = f"{AGENT_DIRECTORY}/{VAULT_CA_FILE}"
    if settings.vault_server_name:
        server["tls_server_name"] = settings.vault_server_name
    if settings.vault_namespace:
        server["namespace"] = settings.vault_namespace
    return server


def add_to(pod: dict[str, Any], credentials: VaultCredentials, config_map: str, settings: Settings) -> None:
    """Gives the gateway's pod its keys."""
    if settings.vault_delivery == VaultDelivery.INJECTOR:
        pod["volumes"].append(_token_volume(config_map, settings))
        return
    pod["containers"][0]["volumeMounts"].append({**CREDENTIALS_MOUNT, "readOnly": True})
    pod["initContainers"] = [agent_container(settings)]
    pod["volumes"] += _volumes(config_map, settings)


def agent_container(settings: Settings) -> dict[str, Any]:
    """The sidecar; its last log lines are its termination message, they hold no secret."""
    several = len(_addresses(settings)) > 1
    configuration = f"-config={AGENT_DIRECTORY}/{VAULT_AGENT_FILE}"
    return {
        "name": "vault-agent",
        "image": settings.vault_image,
        "imagePullPolicy": "IfNotPresent",
        "restartPolicy": "Always",
        "command": ["sh", "-c", _SEVERAL] if several else ["vault", "agent", configuration],
        "env": [{"name": "HOME", "value": "/tmp"}, *(_several_environment(settings) if several else [])],
        "resources": with_storage({"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}),
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            CREDENTIALS_MOUNT,
            {"name": "vault-agent", "mountPath": AGENT_DIRECTORY, "readOnly": True},
            {"name": TOKEN_VOLUME, "mountPath": TOKEN_DIRECTORY, "readOnly": True},
            TMP_MOUNT,
        ],
    }


def _several_environment(settings: Settings) -> list[dict[str, Any]]:
    """For `vault status`, which reads no configuration."""
    values = {
        "VAULT_ADDRESSES": " ".join(_addresses(settings)),
        "VAULT_CHECK_SECONDS": str(CHECK_SECONDS),
        "VAULT_CACERT": f"{AGENT_DIRECTORY}/{VAULT_CA_FILE}" if settings.vault_ca else "",
        "VAULT_TLS_SERVER_NAME": settings.vault_server_name,
        "VAULT_CLIENT_TIMEOUT": "5s",
        "VAULT_MAX_RETRIES": "0",
    }
    return [{"name": name, "value": value} for name, value in values.items() if value]


def _volumes(config_map: str, settings: Settings) -> list[dict[str, Any]]:
    """Memory for the keys, the agent's configuration, and its token."""
    files = [VAULT_AGENT_FILE, *([VAULT_CA_FILE] if settings.vault_ca else [])]
    return [
        {"name": "credentials", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}},
        {
            "name": "vault-agent",
            "configMap": {
                "name": config_map,
                "items": [{"key": name, "path": name} for name in files],
                "defaultMode": 0o444,
            },
        },
        _token_volume(config_map, settings),
    ]


def _token_volume(config_map: str, settings: Settings) -> dict[str, Any]:
    """A token for Vault alone; for the injector, which mounts nothing else of ours, with Vault's authority."""
    token = {"audience": AUDIENCE, "expirationSeconds": 3600, "path": "token"}
    sources: list[dict[str, Any]] = [{"serviceAccountToken": token}]
    if settings.vault_delivery == VaultDelivery.INJECTOR and settings.vault_ca:
        sources.append({"configMap": {"name": config_map, "items": [{"key": VAULT_CA_FILE, "path": VAULT_CA_FILE}]}})
    return {"name": TOKEN_VOLUME, "projected": {"defaultMode": 0o440, "sources": sources}}


def injector_annotations(credentials: VaultCredentials, settings: Settings) -> dict[str, str]:
    """Annotations of the pod, where the Vault Agent Injector is to act; empty elsewhere.

    Names and meanings: https://developer.hashicorp.com/vault/docs/deploy/kubernetes/injector/annotations.
    """
    if settings.vault_delivery != VaultDelivery.INJECTOR:
        return {}
    values = {
        "agent-inject": "true",
        # No init container: the gateway starts without keys, and says why they do not come.
        "agent-pre-populate": "false",
        "agent-inject-containers": "gateway",
        f"agent-inject-secret-{CREDENTIALS_FILE}": credentials.path,
        f"agent-inject-template-{CREDENTIALS_FILE}": template(credentials),
        f"agent-inject-perms-{CREDENTIALS_FILE}": "0440",
        "secret-volume-path": CREDENTIALS_DIRECTORY,
        "template-static-secret-render-interval": f"{credentials.refresh_seconds}s",
        "template-config-exit-on-retry-failure": "false",
        "role": credentials.role,
        "auth-path": f"auth/{settings.vault_auth_path}",
        "agent-service-account-token-volume-name": TOKEN_VOLUME,
        "agent-image": settings.vault_image,
        # `agent-run-as-same-user` wants the user in the container, and ours is the pod's.
        "agent-run-as-user": str(USER_ID),
        "agent-run-as-group": str(USER_ID),
        # Pod Security `restricted` asks for it, and the injector sets none.
        "agent-json-patch": json.dumps(
            [{"op": "add", "path": "/securityContext/seccompProfile", "value": {"type": "RuntimeDefault"}}]
        ),
        "service": _addresses(settings)[0],
        "ca-cert": f"{INJECTOR_TOKEN_DIRECTORY}/{VAULT_CA_FILE}" if settings.vault_ca else "",
        "tls-server-name": settings.vault_server_name,
        "namespace": settings.vault_namespace,
    }
    return {f"vault.hashicorp.com/{name}": value for name, value in values.items() if value}


def secret_volume(name: str, keys: CredentialKeys) -> dict[str, Any]:
    """A Secret with the keys, as files by their names. What it lacks the gateway reports: it starts all the same."""
    items = [{"key": field, "path": key} for key, field in keys.fields().items()]
    secret = {"secretName": name, "items": items, "defaultMode": 0o440, "optional": True}
    return {"name": CREDENTIALS_MOUNT["name"], "secret": secret}
