"""The API server, as one person reaches it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import httpx2
from lightkube import ApiError, AsyncClient
from lightkube.config.kubeconfig import SingleConfig
from lightkube.core.client import FieldSelector, LabelSelector
from lightkube.core.exceptions import ConfigError
from lightkube.core.generic_client import ALL_NS
from lightkube.core.resource import NamespacedResource, api_info
from lightkube.generic_resource import GenericNamespacedResource, create_namespaced_resource
from lightkube.resources.authentication_v1 import SelfSubjectReview
from lightkube.resources.core_v1 import ConfigMap, Event, Namespace, Pod, PodLog
from lightkube.types import PatchType

from crowetrade_api.names import GROUP, VERSION
from crowetrade_api.v1alpha1.killswitch import KillSwitch
from crowetrade_api.v1alpha1.meta import Resource
from crowetrade_api.v1alpha1.risklimit import RiskLimit
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_cli.errors import TOO_MANY_REQUESTS, Failed, Refused

TIMEOUT = httpx2.Timeout(5.0, connect=3.0)
"""Of one request, in seconds."""
FIELD_MANAGER = "crowetrade"
LIST_TRIES, LIST_AGAIN_SECONDS = 10, 0.2

Kind = type[Strategy] | type[VenueConnection] | type[RiskLimit] | type[KillSwitch]
Object = dict[str, Any]
Labels = Mapping[str, str]
N = TypeVar("N", bound=NamespacedResource)
_RESOURCES: dict[type[Resource], type[GenericNamespacedResource]] = {
    kind: create_namespaced_resource(GROUP, VERSION, kind.__name__, kind.PLURAL)
    for kind in (Strategy, VenueConnection, RiskLimit, KillSwitch)
}


class ApiServer:
    """Raises Refused where it answers with no, and Failed where it does not answer."""

    def __init__(self, client: AsyncClient, address: str) -> None:
        self._client = client
        self.address = address

    async def user(self) -> str:
        """Name of the user whose credentials these are."""
        with self._sentences():
            status = (await self._client.create(SelfSubjectReview())).status
        return (status.userInfo.username if status and status.userInfo else "") or ""

    async def objects(self, kind: Kind, namespace: str | None) -> Sequence[Object]:
        """All objects of a kind, of all namespaces where none is named."""
        return [dict(item) for item in await self._listed(_RESOURCES[kind], namespace)]

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """One object."""
        with self._sentences():
            return dict(await self._client.get(_RESOURCES[kind], name, namespace=namespace))

    async def create(self, kind: Kind, manifest: Object) -> Object:
        """The manifest as it is stored."""
        body: GenericNamespacedResource = _RESOURCES[kind].from_dict(manifest)
        with self._sentences():
            # lightkube's overloads know generated kinds alone.
            stored = await self._client.create(body, namespace=manifest["metadata"]["namespace"])  # type: ignore[call-overload]
            return dict(stored)

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Object) -> Object:
        """The object after a JSON merge patch (RFC 7396)."""
        return await self._patch(kind, namespace, name, patch, PatchType.MERGE)

    async def replace(self, kind: Kind, namespace: str, name: str, values: Object) -> Object:
        """The object after each value has taken its place, by JSON pointer (RFC 6902, add)."""
        patch = [{"op": "add", "path": path, "value": value} for path, value in values.items()]
        return await self._patch(kind, namespace, name, patch, PatchType.JSON)

    async def pods(self, namespace: str | None, labels: Labels) -> Sequence[Pod]:
        """Pods with these labels, of all namespaces where none is named."""
        return await self._listed(Pod, namespace, labels)

    async def log(
        self, namespace: str, pod: str, container: str, *, tail: int, since: int | None = None, follow: bool = False
    ) -> AsyncIterator[str]:
        """Lines of a container's log; `since` in seconds before now."""
        with self._sentences():
            lines = self._client.log(
                pod,
                namespace=namespace,
                container=container,
                follow=follow,
                since=since,
                tail_lines=tail,
                newlines=False,
            )
            async for line in lines:
                yield line

    async def log_before(self, namespace: str, pod: str, container: str, *, tail: int) -> AsyncIterator[str]:
        """Lines of what a container was before it was restarted last."""
        # lightkube's log() cannot ask for it; this is what it does otherwise.
        client = self._client._client
        params = {"container": container, "tailLines": tail, "previous": True}
        request = client.prepare_request("get", PodLog, name=pod, namespace=namespace, params=params)
        with self._sentences():
            response = await client.send(client.build_adapter_request(request))  # type: ignore[no-untyped-call]
            client.raise_for_status(response)  # type: ignore[no-untyped-call]
        for line in response.text.splitlines():
            yield line

    async def events(self, namespace: str, kind: str = "", name: str = "") -> list[Object]:
        """Events of a namespace, or of one object, the oldest first: at, about, type, reason, message."""
        fields: FieldSelector | None = {"involvedObject.kind": kind, "involvedObject.name": name} if name else None
        with self._sentences():
            found = [item async for item in self._client.list(Event, namespace=namespace, fields=fields)]
        return sorted((_event(item) for item in found), key=lambda event: str(event["at"]))

    async def everything(
        self, resource: type[NamespacedResource], namespace: str | None, labels: Labels
    ) -> list[Object]:
        """Objects of any kind as they are stored, with these labels."""
        return [_with_kind(item) for item in await self._listed(resource, namespace, labels)]

    async def config_map(self, namespace: str, name: str) -> Mapping[str, str]:
        """The data of a ConfigMap."""
        with self._sentences():
            return dict((await self._client.get(ConfigMap, name, namespace=namespace)).data or {})

    async def namespace_labels(self) -> Mapping[str, Mapping[str, str]]:
        """Labels of every namespace by its name."""
        with self._sentences():
            found = [item.metadata async for item in self._client.list(Namespace)]
        return {item.name: dict(item.labels or {}) for item in found if item is not None and item.name is not None}

    async def _listed(self, resource: type[N], namespace: str | None, labels: Labels | None = None) -> list[N]:
        wanted: LabelSelector = dict(labels or {})
        tries_left = LIST_TRIES
        while True:
            tries_left -= 1
            try:
                with self._sentences():
                    found = self._client.list(resource, namespace=namespace or ALL_NS, labels=wanted)
                    return [item async for item in found]
            except Refused as error:
                # Of a kind that nobody has asked for yet, the API server has to read its cache first.
                if error.code != TOO_MANY_REQUESTS or not tries_left:
                    raise
            await asyncio.sleep(LIST_AGAIN_SECONDS)

    async def _patch(self, kind: Kind, namespace: str, name: str, patch: Any, patch_type: PatchType) -> Object:
        with self._sentences():
            return dict(
                await self._client.patch(_RESOURCES[kind], name, patch, namespace=namespace, patch_type=patch_type)
            )

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except ApiError as error:
            raise Refused(error.status.message or str(error), error.status.code or 0) from error
        except httpx2.HTTPStatusError as error:
            raise Failed(f"{self.address} answers {error.response.status_code} and is no API server") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise Failed(f"{self.address} cannot be reached ({error or type(error).__name__})") from error
        except (ConfigError, KeyError, ValueError) as error:
            raise Failed(f"no credentials for {self.address}: {' '.join(str(error).split())}") from error


def _with_kind(item: Any) -> Object:
    """As it is stored; a list leaves the kind out."""
    info = api_info(item).resource
    version = f"{info.group}/{info.version}" if info.group else info.version
    return {"apiVersion": version, "kind": info.kind, **item.to_dict()}


def _event(event: Event) -> Object:
    at = event.eventTime or event.lastTimestamp or event.firstTimestamp
    about = event.involvedObject
    return {
        "at": at.isoformat() if at is not None else "",
        "about": f"{about.kind}/{about.name}" if about is not None else "",
        "type": event.type or "",
        "reason": event.reason or "",
        "message": event.message or "",
    }


@asynccontextmanager
async def connect(config: SingleConfig) -> AsyncIterator[ApiServer]:
    """The API server of a context. Raises Failed where its certificates cannot be read."""
    address = config.cluster.server
    try:
        client = AsyncClient(config, timeout=TIMEOUT, field_manager=FIELD_MANAGER)
    except (OSError, ValueError, ConfigError, httpx2.InvalidURL) as error:
        raise Failed(f"the kubeconfig's entry for {address} cannot be used: {error}") from error
    try:
        yield ApiServer(client, address)
    finally:
        await client.close()
