"""The API server through the official package's asyncio client: plain dictionaries in, plain dictionaries out.

The generated models are not used: server-side apply must send exactly the fields that we own, and a generated model
sends what it knows of the kind.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from http import HTTPStatus
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

import aiohttp
import orjson
from kubernetes.aio import client as kube
from kubernetes.aio import config as kube_config

from crowetrade_api.names import FIELD_MANAGER
from crowetrade_operator import metrics
from crowetrade_operator.cluster.admission import denied_by, unanswered_by
from crowetrade_operator.cluster.objects import Object, version_of
from crowetrade_operator.cluster.resources import BY_KIND, ApiResource
from crowetrade_operator.cluster.undeclared import undeclared_fields
from crowetrade_operator.errors import (
    ClusterError,
    ClusterRefused,
    ClusterUnavailable,
    Conflict,
    NamespaceTerminating,
    NotFound,
    NotInSchema,
    WebhookSilent,
)

REQUEST_SECONDS = 15.0
PAGE = 500
LIST_TRIES = 3
"""How often a list is begun whose next page is of a version that etcd has compacted."""
# A server that asks to wait is obeyed so many times, as client-go does (there: 10), each time for at most so long.
THROTTLED_TRIES = 5
LONGEST_RETRY_AFTER_SECONDS = 30.0
FORBIDDEN = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
"""Who may not list or watch a kind is answered in this way, at each try."""
WATCH_SECONDS = 300
EARLY_SECONDS = 5.0
"""A watch that ends sooner before its time was ended by a server that stops, or has lost what it watches itself: what
comes back may count from an earlier version, and would send nothing until it has caught up."""
SHORT_SECONDS = 1.0
"""A watch that ended sooner and brought nothing has failed, as for client-go."""
T = TypeVar("T")
_JSON = "application/json"
_METADATA_LIST = f"{_JSON};as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,{_JSON}"
_METADATA = f"{_JSON};as=PartialObjectMetadata;v=v1;g=meta.k8s.io,{_JSON}"
_NO_ANSWER = (TimeoutError, aiohttp.ClientError, OSError, asyncio.IncompleteReadError)


async def connect(kubeconfig: str) -> Cluster:
    """A client from a kubeconfig file, or from the pod's service account when the path is empty."""
    configuration = kube.Configuration()
    if kubeconfig:
        await kube_config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)
    else:
        kube_config.load_incluster_config(client_configuration=configuration)
    # Each watch holds a connection; how many requests there are at once is bounded by who makes them.
    configuration.connection_pool_maxsize = 0
    # Without, aiohttp looks for a .netrc and for proxies with each request, in another thread. proxy-url of a
    # kubeconfig counts all the same.
    configuration.client_session_kwargs = {"trust_env": False}
    return Cluster(kube.ApiClient(configuration=configuration))


class _PagesGone(ClusterUnavailable):
    """The rest of a list is gone, and not the right to read it."""


class Cluster:
    """Requests to the API server, counted, with typed errors."""

    def __init__(self, api: Any, seconds_left: Callable[[], float] | None = None) -> None:
        self._api = api
        self._seconds_left = seconds_left
        self.written: dict[tuple[str, str], int] = {}
        """The newest version that an answer to a write has named, by kind and namespace."""
        self.unanswered_at = float("-inf")
        """When it was not known of a write the last time whether it was carried out, on the monotonic clock."""

    def while_leading(self, seconds_left: Callable[[], float]) -> Cluster:
        """The same connections for the leader: every write must be over within `seconds_left()`, which is asked right
        before it is sent; at 0 it is refused as ClusterUnavailable. Reads go through."""
        return Cluster(self._api, seconds_left)

    @property
    def configuration(self) -> Any:
        """The client's configuration: host, certificates and token."""
        return self._api.configuration

    async def close(self) -> None:
        """Closes the connections."""
        await self._api.close()

    async def get(self, resource: ApiResource, namespace: str, name: str) -> Object:
        """One object."""
        return await self._request("GET", "get", resource, resource.path(namespace, name))

    async def _pages(
        self,
        take: Callable[[Object], T],
        resource: ApiResource,
        namespace: str,
        selector: str,
        fields: str,
        metadata_only: bool,
    ) -> tuple[list[T], str]:
        items: list[T] = []
        query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        query |= {"fieldSelector": fields} if fields else {}
        accept = _METADATA_LIST if metadata_only else _JSON
        while True:
            try:
                page = await self._request("GET", "list", resource, resource.path(namespace), query, accept=accept)
            except ClusterRefused as error:
                if error.code == HTTPStatus.GONE and "continue" in query:
                    raise _PagesGone("list", resource.path(namespace), error.code, error.message) from error
                raise
            items += (take(_typed(item, resource)) for item in page.get("items") or ())
            version, following = page["metadata"].get("resourceVersion", ""), page["metadata"].get("continue")
            # The next one is read without it in memory.
            del page
            if not following:
                return items, version
            query["continue"] = following

    async def list_as(
        self,
        take: Callable[[Object], T],
        resource: ApiResource,
        namespace: str = "",
        selector: str = "",
        fields: str = "",
        *,
        metadata_only: bool = False,
    ) -> tuple[list[T], str]:
        """As `list`, with what `take` makes of each object when its page comes: one page is in memory at a time. Read
        from the beginning again when the version that the pages are of is gone."""
        for _ in range(LIST_TRIES - 1):
            with contextlib.suppress(_PagesGone):
                return await self._pages(take, resource, namespace, selector, fields, metadata_only)
        return await self._pages(take, resource, namespace, selector, fields, metadata_only)

    async def list(
        self,
        resource: ApiResource,
        namespace: str = "",
        selector: str = "",
        fields: str = "",
        *,
        metadata_only: bool = False,
    ) -> tuple[list[Object], str]:
        """All objects of a kind that match the selectors, with the list's resourceVersion."""
        return await self.list_as(_itself, resource, namespace, selector, fields, metadata_only=metadata_only)

    async def watch(
        self,
        resource: ApiResource,
        version: str,
        namespace: str = "",
        selector: str = "",
        fields: str = "",
        *,
        metadata_only: bool = False,
        begun: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[tuple[str, Object]]:
        """Changes after a list's resourceVersion, or what is there and then its changes without one, as the type of the
        event and its object; ends after a while, as watches do. `begun` is called when the server has let it begin.
        Raises ClusterError when the version is too old, when there is no answer, and when it ends before its time: who
        begins it again must wait then, and list."""
        path = resource.path(namespace)
        query = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        query |= {"timeoutSeconds": str(WATCH_SECONDS)} | ({"labelSelector": selector} if selector else {})
        query |= {"fieldSelector": fields} if fields else {}
        accept = _METADATA if metadata_only else _JSON
        try:
            for tries_left in reversed(range(THROTTLED_TRIES)):
                code = 0
                try:
                    response = await self._open(
                        "GET", path, query, None, _JSON, WATCH_SECONDS + REQUEST_SECONDS, accept
                    )
                    code = int(response.status)
                finally:
                    metrics.API_REQUESTS.labels("watch", resource.plural, str(code)).inc()
                if code == 200:
                    break
                payload, wait = await payload_of(response), _retry_after(response)
                if wait is None or tries_left == 0:
                    raise _error("watch", path, code, payload)
                await asyncio.sleep(wait)
            begun()
            began, brought = time.monotonic(), False
            async for line in _lines(response.content.iter_any()):
                brought = True
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    raise _error("watch", path, int(event["object"].get("code") or 0), event["object"])
                yield event["type"], _typed(event["object"], resource)
        except _NO_ANSWER as error:
            raise _no_answer("watch", path, error) from error
        lasted = time.monotonic() - began
        if lasted < WATCH_SECONDS - EARLY_SECONDS or (lasted < SHORT_SECONDS and not brought):
            raise ClusterUnavailable(
                "watch", path, int(response.status), f"ended after {lasted:.1f} s, before its time"
            )

    async def apply(self, body: Object, subresource: str = "") -> Object:
        """Server-side apply: we own exactly the fields in the body, whoever had them before."""
        resource = BY_KIND[body["kind"]]
        path = resource.path(body["metadata"]["namespace"], body["metadata"]["name"], subresource)
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._request("PATCH", "apply", resource, path, query, body, "application/apply-patch+yaml")

    async def apply_new(self, body: Object) -> Object:
        """Server-side apply that creates, and never changes what is there: that raises Conflict.

        No stored object has the version 1, so an object that is there fails the comparison of versions.
        """
        return await self.apply({**body, "metadata": {**body["metadata"], "resourceVersion": "1"}})

    async def find(self, resource: ApiResource, namespace: str, name: str) -> Object | None:
        """One object, by the right to list; None when it is not there."""
        query = {"fieldSelector": f"metadata.name={name}", "limit": "1"}
        page = await self._request("GET", "list", resource, resource.path(namespace), query)
        return next((_typed(item, resource) for item in page.get("items") or ()), None)

    async def merge(self, resource: ApiResource, namespace: str, name: str, patch: Object) -> Object:
        """JSON merge patch; put metadata.resourceVersion in it to be refused when the object changed."""
        path = resource.path(namespace, name)
        query = {"fieldManager": FIELD_MANAGER}
        return await self._request("PATCH", "patch", resource, path, query, patch, "application/merge-patch+json")

    async def create(self, resource: ApiResource, namespace: str, body: Object) -> Object:
        """Creates an object."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._request("POST", "create", resource, resource.path(namespace), query, body)

    async def replace(self, resource: ApiResource, namespace: str, name: str, body: Object) -> Object:
        """Replaces an object; the body's resourceVersion must be the stored one."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._request("PUT", "update", resource, resource.path(namespace, name), query, body)

    async def delete(self, resource: ApiResource, namespace: str, name: str, uid: str = "") -> None:
        """Deletes an object, if it is still the one with that uid. Gone already is fine."""
        options: Object = {"propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            await self._request("DELETE", "delete", resource, resource.path(namespace, name), None, options)
        except NotFound:
            return

    async def _request(
        self,
        method: str,
        verb: str,
        resource: ApiResource,
        path: str,
        query: dict[str, str] | None = None,
        body: Object | Sequence[Object] | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> Object:
        for tries_left in reversed(range(THROTTLED_TRIES)):
            started = time.monotonic()
            code = 0
            try:
                response = await self._open(method, path, query or {}, body, content_type, REQUEST_SECONDS, accept)
                code, payload = int(response.status), await payload_of(response)
            except _NO_ANSWER as error:
                raise _no_answer(verb, path, error) from error
            finally:
                metrics.API_REQUESTS.labels(verb, resource.plural, str(code)).inc()
                metrics.API_SECONDS.labels(verb).observe(time.monotonic() - started)
                if method != "GET" and (code == 0 or code >= HTTPStatus.INTERNAL_SERVER_ERROR):
                    self.unanswered_at = time.monotonic()
            if 200 <= code <= 299:
                if method != "GET":
                    self._wrote(resource, payload)
                return payload
            wait = _retry_after(response)
            if wait is None or tries_left == 0:
                break
            await asyncio.sleep(wait)
        raise _error(verb, path, code, payload)

    def _wrote(self, resource: ApiResource, stored: Object) -> None:
        metadata = stored.get("metadata") or {}
        if "resourceVersion" in metadata:
            place = resource.kind, metadata.get("namespace", "")
            self.written[place] = max(self.written.get(place, 0), version_of(stored))

    async def _open(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        body: Object | Sequence[Object] | None,
        content_type: str,
        timeout: float,
        accept: str,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": FIELD_MANAGER}
        await self._api.update_params_for_auth(headers, {}, ["BearerToken"], path, method, body)
        if method != "GET" and self._seconds_left is not None:
            # Nothing is awaited from here until aiohttp writes: the process may be frozen at any time.
            timeout = min(timeout, self._seconds_left())
            if timeout <= 0.0:
                raise ClusterUnavailable(method.lower(), path, 0, "not sent: the Lease may be another's")
        url = self._api.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        response = await self._api.rest_client.request(
            method, url, headers=headers, body=body, _request_timeout=aiohttp.ClientTimeout(total=timeout)
        )
        return cast(aiohttp.ClientResponse, response.response)


def _itself(item: Object) -> Object:
    return item


def _typed(item: Object, resource: ApiResource) -> Object:
    """Items of lists do not say what they are, and metadata alone is a kind of its own."""
    return {**item, "apiVersion": resource.api_version, "kind": resource.kind}


async def payload_of(response: aiohttp.ClientResponse) -> Object:
    """What an answer holds; text that is no JSON, such as of a proxy, as a message."""
    raw = await response.read()
    try:
        return cast(Object, orjson.loads(raw) if raw else {})
    except ValueError:
        return {"message": raw[:500].decode("utf-8", "replace")}


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """aiohttp's own lines are bounded below the size of an object."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Seconds after which the server wants to be asked again; None when it has not said so. It has not carried out the
    request then: API Priority and Fairness and the limits of requests in flight answer in this way."""
    said = response.headers.get("Retry-After", "")
    if (response.status != 429 and response.status < 500) or not said.isdigit():
        return None
    return min(float(said), LONGEST_RETRY_AFTER_SECONDS)


def _no_answer(verb: str, path: str, error: Exception) -> ClusterUnavailable:
    reason = str(error) or type(error).__name__
    return ClusterUnavailable(verb, path, 0, f"no answer from the API server: {reason}")


def _error(verb: str, path: str, code: int, payload: Object) -> ClusterError:
    message = str(payload.get("message") or payload)
    if denied_by(message):  # with a code that the webhook has chosen
        return ClusterRefused(verb, path, code, message)
    if unanswered_by(message):
        return WebhookSilent(verb, path, code, message)
    if code == 404:
        return NotFound(verb, path, code, message)
    if code == 409:
        return Conflict(verb, path, code, message)
    if undeclared_fields(message):  # with 500, although it is not the server's fault
        return NotInSchema(verb, path, code, message)
    if code == 429 or code >= 500:
        return ClusterUnavailable(verb, path, code, message)
    causes = (payload.get("details") or {}).get("causes") or []
    if any(cause.get("reason") == "NamespaceTerminating" for cause in causes):
        return NamespaceTerminating(verb, path, code, message)
    return ClusterRefused(verb, path, code, message)
