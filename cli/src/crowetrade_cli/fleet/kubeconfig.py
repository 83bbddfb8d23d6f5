"""Which API server, as which user: found as kubectl finds it.

What lightkube's own reading lacks is added here: $KUBECONFIG may name several files, a context may have no user, and an
exec credential plugin may be of version v1.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import yaml
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError

from crowetrade_cli.errors import Failed

DEFAULT = "~/.kube/config"
_SECTIONS = ("clusters", "contexts", "users")
_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_EXEC_GROUP = "client.authentication.k8s.io"


def find(kubeconfig: str = "", context: str = "") -> SingleConfig:
    """The context of that name, or the current one, of that file, of those in $KUBECONFIG, or of ~/.kube/config; in a
    pod without any, its service account. Raises Failed."""
    given = kubeconfig or os.environ.get("KUBECONFIG", "")
    paths = [Path(part).expanduser() for part in (given or DEFAULT).split(os.pathsep) if part]
    files = [path for path in paths if path.is_file()]
    try:
        if not files and not given and "KUBERNETES_SERVICE_HOST" in os.environ:
            found = KubeConfig.from_service_account().get()
        elif not files:
            listed = ", ".join(str(path) for path in paths)
            raise Failed(f"there is no kubeconfig at {listed}: name one with --kubeconfig or KUBECONFIG")
        else:
            found = KubeConfig.from_dict(_merged(files)).get(context or None)
    except ConfigError as error:
        raise Failed(f"the kubeconfig cannot be used: {error}") from error
    except (KeyError, TypeError, AttributeError, OSError, yaml.YAMLError, msgspec.ValidationError) as error:
        text = " ".join(str(error).split())
        raise Failed(f"the kubeconfig {', '.join(map(str, files))} cannot be read: {text}") from error
    assert found is not None
    return found if found.user is not None else found._replace(user=User())


def _merged(files: Iterable[Path]) -> dict[str, Any]:
    """As kubectl merges them: of each name the first one counts, and the first current-context."""
    merged: dict[str, Any] = {section: {} for section in _SECTIONS}
    current = ""
    for path in files:
        content = yaml.safe_load(path.read_text()) or {}
        current = current or content.get("current-context") or ""
        for section in _SECTIONS:
            for entry in content.get(section) or []:
                merged[section].setdefault(entry["name"], _resolved(entry, section.removesuffix("s"), path.parent))
    return {section: list(merged[section].values()) for section in _SECTIONS} | {"current-context": current or None}


def _resolved(entry: dict[str, Any], key: str, folder: Path) -> dict[str, Any]:
    """An entry with paths that no longer depend on the folder of its file."""
    value: dict[str, Any] = {
        name: str(folder / item) if name in _FILES else item for name, item in (entry[key] or {}).items()
    }
    if plugin := value.get("exec"):
        command = str(folder / plugin["command"]) if "/" in plugin["command"] else plugin["command"]
        value["exec"] = _with_version(plugin | {"command": command})
    return entry | {key: value}


def _with_version(plugin: dict[str, Any]) -> dict[str, Any]:
    """A plugin of version v1, whose answer is the same, as lightkube takes it; the plugin is told which version is
    wanted."""
    version = plugin["apiVersion"]
    wanted = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    environment = [*(plugin.get("env") or []), {"name": "KUBERNETES_EXEC_INFO", "value": json.dumps(wanted)}]
    taken = f"{_EXEC_GROUP}/v1beta1" if version == f"{_EXEC_GROUP}/v1" else version
    return plugin | {"apiVersion": taken, "env": environment}
