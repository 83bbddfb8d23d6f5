"""Deployments: a gateway's one, and a strategy's one (Combined) or four (Split)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from crowetrade_api.files import (
    CONFIG_DIRECTORY,
    DATA_DIRECTORY,
    KILL_DIRECTORY,
    SERVICE_ACCOUNT_DIRECTORY,
    STRATEGY_FILE,
    VENUE_FILE,
    DataMount,
    EnvName,
    data_mounts,
)
from crowetrade_api.names import (
    COMBINED_ROLE,
    CONFIG_HASH_ANNOTATION,
    CONTROL_PORT,
    GRPC_PORT,
    HTTP_PORT,
    ROLE_LABEL,
    ROLES,
    SPEC_HASH_ANNOTATION,
)
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import Credentials, VenueConnection
from crowetrade_operator.desired import identity, vault
from crowetrade_operator.desired.metadata import labels, metadata, object_name, selector
from crowetrade_operator.desired.pod import (
    AGENT,
    GATEWAY,
    TMP_MOUNT,
    container,
    deployment_spec,
    environment,
    pod_spec,
    port,
    tmp_volume,
)
from crowetrade_operator.settings import Settings

GATEWAY_GRACE_SECONDS = 45
"""After SIGTERM a gateway cancels what is open and goes on closing positions where that is asked for."""

KILL_VOLUME: dict[str, Any] = {"name": "kills", "emptyDir": {"sizeLimit": "16Mi"}}
"""It outlives the container: a gateway that starts again with neither journal nor bus still knows what stops it."""
KILL_MOUNT: dict[str, Any] = {"name": "kills", "mountPath": KILL_DIRECTORY}
API_VOLUME: dict[str, Any] = {
    "name": "api-server",
    "projected": {
        "defaultMode": 0o440,
        "sources": [
            # Without an audience: the API server's own.
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        ],
    },
}
"""What Kubernetes itself would mount, in the gateway's container alone: it watches KillSwitches with it."""
API_MOUNT: dict[str, Any] = {"name": "api-server", "mountPath": SERVICE_ACCOUNT_DIRECTORY, "readOnly": True}


def roles_of(strategy: Strategy) -> list[str]:
    """One Deployment for each of these."""
    return [COMBINED_ROLE] if strategy.spec.agents.topology == "Combined" else list(ROLES)


def spec_hash(strategy: Strategy) -> str:
    """Hash of what its user has written and agents are restarted for. Defaults do not count: a field that another
    version brings is no change of the user's."""
    written = strategy.spec.model_dump(
        mode="json",
        by_alias=True,
        exclude_defaults=True,
        exclude={"suspend": True, "deletion_policy": True, "agents": {"update_policy"}},
    )
    text = json.dumps(_without_empty(written), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _without_empty(section: dict[str, Any]) -> dict[str, Any]:
    found = {name: _without_empty(item) if isinstance(item, dict) else item for name, item in section.items()}
    return {name: item for name, item in found.items() if item != {}}


def strategy_deployments(strategy: Strategy, config_hash: str, settings: Settings) -> list[dict[str, Any]]:
    """The Deployments of a strategy. They say for which spec, so that a change of its user's can be told from one that
    an upgrade brings."""
    annotations = {SPEC_HASH_ANNOTATION: spec_hash(strategy)}
    found = [_strategy_deployment(strategy, role, config_hash, settings) for role in roles_of(strategy)]
    return [{**item, "metadata": {**item["metadata"], "annotations": annotations}} for item in found]


def _strategy_deployment(strategy: Strategy, role: str, config_hash: str, settings: Settings) -> dict[str, Any]:
    roles = ",".join(ROLES) if role == COMBINED_ROLE else role
    agents = strategy.spec.agents
    agent = container(
        AGENT,
        agents.image or settings.agents_image,
        ["strategy", "--roles", roles],
        environment(settings.nats_url, config_hash),
        agents.resources.to_api(),
    )
    agent["ports"] = [port("http", HTTP_PORT)]
    agent["volumeMounts"] = [_config_mount(), TMP_MOUNT]
    volumes = [_config_volume(object_name(strategy), STRATEGY_FILE), tmp_volume(agents.resources.to_api())]
    pod = pod_spec(object_name(strategy), [agent], volumes)
    identity.add(pod, strategy, object_name(strategy), settings)
    pod_labels = labels(strategy, role)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(strategy, object_name(strategy, role), role),
        "spec": deployment_spec(
            {**selector(strategy), ROLE_LABEL: role}, pod_labels, {CONFIG_HASH_ANNOTATION: config_hash}, pod
        ),
    }


def venue_deployment(venue: VenueConnection, config_hash: str, settings: Settings) -> dict[str, Any]:
    """The Deployment of a gateway."""
    gateway = container(
        GATEWAY,
        settings.gateway_image,
        ["gateway"],
        [*environment(settings.nats_url, config_hash), *_kill_environment(settings)],
        venue.spec.resources.to_api(),
    )
    gateway["ports"] = [port("grpc", GRPC_PORT), port("control", CONTROL_PORT), port("http", HTTP_PORT)]
    gateway["volumeMounts"] = [_config_mount(), TMP_MOUNT, KILL_MOUNT, API_MOUNT]
    tmp = tmp_volume(venue.spec.resources.to_api())
    volumes = [_config_volume(object_name(venue), VENUE_FILE), tmp, KILL_VOLUME, API_VOLUME]
    pod = pod_spec(object_name(venue), [gateway], volumes)
    pod["terminationGracePeriodSeconds"] = GATEWAY_GRACE_SECONDS
    identity.add(pod, venue, object_name(venue), settings)
    for mount in data_mounts(venue.spec.simulated.data) if venue.spec.simulated is not None else ():
        _add_data(pod, mount)
    annotations = {CONFIG_HASH_ANNOTATION: config_hash}
    if venue.spec.credentials is not None:
        annotations |= _add_credentials(pod, venue.spec.credentials, object_name(venue), settings)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(venue),
        "spec": deployment_spec(selector(venue), labels(venue), annotations, pod),
    }


def _kill_environment(settings: Settings) -> list[dict[str, Any]]:
    # Which namespaces a label chooses changes, and gateways are not restarted for that.
    namespaces = "*" if settings.shard_label else ",".join(settings.namespaces) or "*"
    return [
        {"name": EnvName.KILL_DIRECTORY.value, "value": KILL_DIRECTORY},
        {"name": EnvName.KILL_NAMESPACES.value, "value": namespaces},
    ]


def _config_mount() -> dict[str, Any]:
    return {"name": "config", "mountPath": CONFIG_DIRECTORY, "readOnly": True}


def _config_volume(name: str, file: str) -> dict[str, Any]:
    return {
        "name": "config",
        "configMap": {"name": name, "items": [{"key": file, "path": file}], "defaultMode": 0o444},
    }


def _add_data(pod: dict[str, Any], mount: DataMount) -> None:
    name = f"data-{mount.number}"
    if mount.claim_name:
        claim = {"claimName": mount.claim_name, "readOnly": True}
        volume: dict[str, Any] = {"name": name, "persistentVolumeClaim": claim}
    else:
        items = [{"key": key, "path": key} for key in mount.keys]
        volume = {"name": name, "configMap": {"name": mount.config_map, "items": items, "defaultMode": 0o444}}
    pod["volumes"].append(volume)
    path = f"{DATA_DIRECTORY}/{mount.number}"
    pod["containers"][0]["volumeMounts"].append({"name": name, "mountPath": path, "readOnly": True})


def _add_credentials(
    pod: dict[str, Any], credentials: Credentials, config_map: str, settings: Settings
) -> dict[str, str]:
    """Returns annotations of the pod."""
    if credentials.vault is not None:
        vault.add_to(pod, credentials.vault, config_map, settings)
        return vault.injector_annotations(credentials.vault, settings)
    if credentials.secret_ref is not None:
        pod["containers"][0]["volumeMounts"].append({**vault.CREDENTIALS_MOUNT, "readOnly": True})
        pod["volumes"].append(vault.secret_volume(credentials.secret_ref.name, credentials.secret_ref.keys))
    return {}
