"""Vault Agent as a native sidecar of the gateway: the venue's key becomes a file in memory and nothing else.

It starts before the gateway (an init container with restartPolicy Always and a startup probe on the rendered file),
logs in with a token that is made for Vault alone (audience vault), and renders new versions of the key while the
gateway runs.
"""

from __future__ import annotations

import json
from typing import Any

from crowetrade_api.files import CREDENTIALS_DIRECTORY, CREDENTIALS_FILE, VAULT_AGENT_FILE, VAULT_CA_FILE
from crowetrade_api.v1alpha1.venueconnection import VaultCredentials
from crowetrade_operator.desired.pod import CONTAINER_SECURITY, TMP_MOUNT
from crowetrade_operator.settings import Settings

AUDIENCE = "vault"
TOKEN_DIRECTORY = "/var/run/secrets/vault"
AGENT_DIRECTORY = "/etc/vault-agent"
CREDENTIALS_MOUNT: dict[str, Any] = {"name": "credentials", "mountPath": CREDENTIALS_DIRECTORY}


def agent_config(credentials: VaultCredentials, settings: Settings) -> str:
    """Vault Agent's configuration. JSON, so that nothing in a path or role can end a block."""
    template = f'{{{{ with secret "{credentials.path}" }}}}{{{{ index .Data.data "{credentials.key}" }}}}{{{{ end }}}}'
    config = {
        "vault": _server(settings),
        "pid_file": "/tmp/vault-agent.pid",
        "exit_after_auth": False,
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
            {"destination": CREDENTIALS_FILE, "contents": template, "perms": "0440", "error_on_missing_key": True}
        ],
    }
    return json.dumps(config, indent=2, sort_keys=True)


def _server(settings: Settings) -> dict[str, Any]:
    server = {"address": settings.vault_address.partition(",")[0]}
    if settings.vault_ca:
        server["ca_cert"] = f"{AGENT_DIRECTORY}/{VAULT_CA_FILE}"
    if settings.vault_server_name:
        server["tls_server_name"] = settings.vault_server_name
    if settings.vault_namespace:
        server["namespace"] = settings.vault_namespace
    return server


def agent_container(settings: Settings) -> dict[str, Any]:
    """The sidecar; its last log lines are its termination message, they hold no secret."""
    return {
        "name": "vault-agent",
        "image": settings.vault_image,
        "imagePullPolicy": "IfNotPresent",
        "restartPolicy": "Always",
        "command": ["vault", "agent", f"-config={AGENT_DIRECTORY}/{VAULT_AGENT_FILE}"],
        "env": [{"name": "HOME", "value": "/tmp"}],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "startupProbe": {
            "exec": {"command": ["test", "-s", CREDENTIALS_FILE]},
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": 600,
        },
        "volumeMounts": [
            CREDENTIALS_MOUNT,
            {"name": "vault-agent", "mountPath": AGENT_DIRECTORY, "readOnly": True},
            {"name": "vault-token", "mountPath": TOKEN_DIRECTORY, "readOnly": True},
            TMP_MOUNT,
        ],
    }


def volumes(config_map: str, settings: Settings) -> list[dict[str, Any]]:
    """Memory for the key, the agent's configuration, and its token."""
    token = {"serviceAccountToken": {"audience": AUDIENCE, "expirationSeconds": 3600, "path": "token"}}
    files = [VAULT_AGENT_FILE, *([VAULT_CA_FILE] if settings.vault_ca else [])]
    return [
        {"name": "credentials", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {
            "name": "vault-agent",
            "configMap": {
                "name": config_map,
                "items": [{"key": name, "path": name} for name in files],
                "defaultMode": 0o444,
            },
        },
        {"name": "vault-token", "projected": {"defaultMode": 0o440, "sources": [token]}},
    ]
