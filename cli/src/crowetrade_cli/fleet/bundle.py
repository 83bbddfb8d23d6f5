"""Everything that somebody needs who is asked why a cluster does not trade, as files; without keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import yaml
from lightkube.core.resource import NamespacedResource
from lightkube.resources.apps_v1 import Deployment, StatefulSet
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import ConfigMap, Pod, Service, ServiceAccount
from lightkube.resources.networking_v1 import NetworkPolicy
from lightkube.resources.policy_v1 import PodDisruptionBudget

from crowetrade_api.names import MANAGED_BY, MANAGED_BY_LABEL
from crowetrade_cli.errors import Failed
from crowetrade_cli.fleet.api_server import ApiServer
from crowetrade_cli.fleet.redaction import redacted, redacted_object
from crowetrade_cli.fleet.reference import KINDS

LOG_LINES = 2000
"""Of each container."""
_INSTALLATION = {"app.kubernetes.io/part-of": "crowetrade"}
_OURS = {MANAGED_BY_LABEL: MANAGED_BY}
_CHILDREN: Sequence[type[NamespacedResource]] = (
    Deployment,
    StatefulSet,
    Pod,
    Service,
    ServiceAccount,
    ConfigMap,
    NetworkPolicy,
    PodDisruptionBudget,
)


@dataclass(frozen=True, slots=True)
class File:
    """`path` inside the bundle."""

    path: str
    text: str


@dataclass
class Bundle:
    """`files` may be read once; afterwards `missing` says what the user may not see or what did not answer."""

    api: ApiServer
    namespace: str | None
    missing: list[str] = field(default_factory=list)

    async def files(self) -> AsyncIterator[File]:
        """Our resources, what was made of them, the installation, events and logs."""
        yield File("version.txt", f"crowetrade {version('crowetrade-cli')}\n")
        namespaces: set[str] = set()
        for kind in KINDS:
            found = await self._try(kind.PLURAL, self.api.objects(kind, self.namespace)) or []
            for item in found:
                namespaces.add(item["metadata"]["namespace"])
                yield _manifest(f"resources/{kind.PLURAL}", item)
        pods: list[dict[str, Any]] = []
        for folder, labels in (("children", _OURS), ("installation", _INSTALLATION)):
            for resource in _CHILDREN:
                name = resource.__name__
                for item in await self._try(f"{name}s", self.api.everything(resource, self.namespace, labels)) or []:
                    namespaces.add(item["metadata"]["namespace"])
                    yield _manifest(f"{folder}/{name.lower()}", item)
                    if resource is Pod:
                        pods.append(item)
        for namespace in sorted(namespaces):
            for item in await self._try(f"Leases of {namespace}", self.api.everything(Lease, namespace, {})) or []:
                yield _manifest("installation/lease", item)
            events = await self._try(f"events of {namespace}", self.api.events(namespace))
            yield File(f"events/{namespace}.yaml", _yaml(events or []))
        for pod in pods:
            async for file in self._logs(pod):
                yield file
        yield File("missing.txt", "".join(f"{line}\n" for line in self.missing) or "nothing\n")

    async def _logs(self, pod: Mapping[str, Any]) -> AsyncIterator[File]:
        """Of each container, sidecars too, which are init containers that go on (Vault Agent, the identity of NATS);
        and of what a container was before it was restarted last, which says why."""
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        restarted = _restarted(pod)
        for container in [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]:
            at = (namespace, name, container["name"])
            where = "/".join(at)
            lines = await self._try(f"log of {where}", _joined(self.api.log(*at, tail=LOG_LINES)))
            if lines is not None:
                yield File(f"logs/{where}.log", redacted(lines))
            if container["name"] not in restarted:
                continue
            before = self.api.log_before(*at, tail=LOG_LINES)
            lines = await self._try(f"log of {where} before its restart", _joined(before))
            if lines is not None:
                yield File(f"logs/{where}.previous.log", redacted(lines))

    async def _try(self, what: str, asked: Any) -> Any:
        try:
            return await asked
        except Failed as error:
            self.missing.append(f"{what}: {redacted(str(error))}")
            return None


async def _joined(lines: AsyncIterator[str]) -> str:
    return "\n".join([line async for line in lines]) + "\n"


def _restarted(pod: Mapping[str, Any]) -> set[str]:
    """Containers that have run before."""
    status = pod.get("status") or {}
    told = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    return {one["name"] for one in told if one.get("restartCount")}


def _manifest(folder: str, item: Mapping[str, Any]) -> File:
    metadata = item["metadata"]
    return File(f"{folder}/{metadata['namespace']}/{metadata['name']}.yaml", _yaml(redacted_object(dict(item))))


def _yaml(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False)
