"""kopf watches our own kinds; its handlers only put objects into the cache, whose listeners add keys to the queue.

kopf runs in a thread with an event loop of its own: when it ends it cancels every task of its loop that it does not
know, and in the main thread it would take over the process's signals. `on.event` alone: the other decorators of kopf
keep their own state in annotations and patch objects. Children are watched by cluster/watch.py.

Where a watch is too old (410 Gone) kopf lists, and says nothing of what was deleted meanwhile; an empty list is no
event at all. So each of its lists makes our own client list the kind (cluster/watch.py), and kopf receives an empty
list with the version from which it watches: it creates a task per object, which took ten seconds of CPU for ten
thousand. A watch that is refused with 410 before it begins would end kopf: it is asked for again without a version, and
then begins with all that there is. Bookmarks reach no handler, and are the sign that a watch lives where nothing
changes: so whatever a watch brings is noted, too.

kopf does not always end when it fails: of its tasks some may forget that they were cancelled. So what counts is that it
has begun to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlsplit

import aiohttp
import kopf
from kopf._core.engines.peering import Identity
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

from crowetrade_operator import metrics
from crowetrade_operator.cluster.client import payload_of
from crowetrade_operator.cluster.relist import what_to_look_at
from crowetrade_operator.cluster.resources import CUSTOM, ApiResource

Sink = Callable[[str, dict[str, Any]], None]
"""Takes the type of an event (ADDED, MODIFIED, DELETED) and its object."""
Listed = Callable[[ApiResource, str], None]
"""Takes the kind and the namespace (empty: all) of a list that kopf has read."""
Heard = Callable[[ApiResource, str], None]
"""Takes the kind and the namespace (empty: all) of a watch that has brought something, at least a bookmark."""
Place = tuple[ApiResource, str]
Answered = Callable[[str, str], None]
"""Takes what kopf has asked for, and what was wrong (empty: nothing)."""


def register(registry: kopf.OperatorRegistry, sink: Sink) -> None:
    """Adds a handler for each of our kinds."""
    for resource in CUSTOM:
        kopf.on.event(resource.group, resource.version, resource.plural, id=resource.plural, registry=registry)(
            _handler(resource, sink)
        )


def _handler(resource: ApiResource, sink: Sink) -> Any:
    async def handle(event: dict[str, Any], **_: Any) -> None:
        body = dict(event["object"])
        sink(event["type"], {**body, "apiVersion": resource.api_version, "kind": resource.kind})

    return handle


def places(host: str, namespaces: tuple[str, ...]) -> dict[str, Place]:
    """Kind and namespace by the path at which kopf asks for them."""
    root = urlsplit(host).path.rstrip("/")
    return {
        root + resource.path(namespace): (resource, namespace)
        for resource in CUSTOM
        for namespace in namespaces or ("",)
    }


class _Told:
    """The content of a watch's answer, which tells when something of it is read."""

    def __init__(self, content: aiohttp.StreamReader, tell: Callable[[], None]) -> None:
        self._content = content
        self._tell = tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """As kopf reads it."""
        async for chunk in self._content.iter_chunked(size):
            self._tell()
            yield chunk


class _NoItems:
    """The content of a list's answer, without what is listed."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def read(self, size: int = -1) -> bytes:
        """All of it, as kopf reads it."""
        found = json.loads(await self._content.read(size))
        return json.dumps({**found, "metadata": {**found["metadata"], "continue": ""}, "items": []}).encode()


def listening(
    places: Mapping[str, Place], listed: Listed, heard: Heard, answered: Answered
) -> aiohttp.ClientMiddlewareType:
    """Between kopf and the API server: tells of each list, of what watches bring, and of each answer."""

    async def ask(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        place = places.get(request.url.path)
        is_list = place is not None and "watch" not in request.url.query
        if is_list:
            request.url = request.url.update_query(limit="1")
        response = await send(request)
        what = f"{place[0].plural} of {place[1] or 'all namespaces'}" if place is not None else request.url.path
        from_now = is_list
        if response.status == HTTPStatus.GONE and "resourceVersion" in request.url.query:
            response.release()
            request.url = request.url.without_query_params("resourceVersion")
            response, from_now = await send(request), True
        if response.status >= HTTPStatus.BAD_REQUEST:
            said = str((await payload_of(response)).get("message", "")).strip()
            hint = what_to_look_at(place[0], response.status) if place is not None else ""
            answered(what, f"{response.status} {said.removeprefix(str(response.status)).strip()}{hint}")
            return response
        answered(what, "")
        if from_now and place is not None:
            listed(*place)
        if is_list:
            response.content = cast(aiohttp.StreamReader, _NoItems(response.content))
        elif place is not None:
            response.content = cast(aiohttp.StreamReader, _Told(response.content, functools.partial(heard, *place)))
        return response

    return ask


def counting(places: Mapping[str, Place]) -> aiohttp.ClientMiddlewareType:
    """Counts what kopf asks for beside what our own client does; `discovery` is which kinds there are."""

    async def ask(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        place = places.get(request.url.path)
        resource = place[0].plural if place is not None else "discovery"
        verb = "get" if place is None else "watch" if "watch" in request.url.query else "list"
        code = 0
        try:
            response = await send(request)
            code = response.status
        finally:
            metrics.API_REQUESTS.labels(verb, resource, str(code)).inc()
        return response

    return ask


def login(registry: kopf.OperatorRegistry, configuration: Any, *middlewares: aiohttp.ClientMiddlewareType) -> None:
    """Gives kopf the credentials of our own client, so that there is one way to configure the connection."""

    known: dict[kopf.ConnectionInfo, kopf.AiohttpSession] = {}

    async def credentials(**_: Any) -> kopf.AiohttpSession:
        refresh = configuration.refresh_api_key_hook
        refreshed = refresh(configuration) if refresh is not None else None
        if inspect.isawaitable(refreshed):
            await refreshed
        scheme, _separator, token = (configuration.api_key.get("BearerToken") or "").partition(" ")
        connection = kopf.ConnectionInfo(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            scheme=scheme or None,
            token=token or None,
        )
        if connection not in known:
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=connection.as_ssl_context()),
                headers=connection.as_http_headers(),
                middlewares=middlewares,
            )
            known.clear()
            known[connection] = kopf.AiohttpSession(server=connection.server, aiohttp_session=session)
        # The same again, when they have not changed: so kopf knows that they are the ones that were refused, and ends.
        return known[connection]

    kopf.on.login(registry=registry, id="client")(credentials)


class _NoEssence(kopf.AnnotationsDiffBaseStorage):
    """kopf copies of each object what handlers of changes compare, for every event. There are no such handlers."""

    def build(self, **_: Any) -> Any:
        """Nothing is compared."""
        return {}


class _NoMemories(ResourceMemories):
    """kopf keeps something of each object, which only handlers other than ours read: 0.6 KiB."""

    async def recall(self, *said: Any, **named: Any) -> ResourceMemory:
        """As of an object that is not to be remembered."""
        return await super().recall(*said, **{**named, "ephemeral": True})


def settings() -> kopf.OperatorSettings:
    """kopf without its events, its scans of CRDs and namespaces, its limits, and its record of what has changed."""
    out = kopf.OperatorSettings()
    out.persistence.diffbase_storage = _NoEssence()
    out.posting.enabled = False
    out.scanning.disabled = True
    out.peering.standalone = True
    out.queueing.idle_timeout = 1.0
    out.queueing.exit_timeout = 0.5
    out.watching.reconnect_backoff = 0.2
    return out


class Watch:
    """kopf in its thread. `sink`, `listed` and `heard` are called in that thread: what is of another loop they must
    pass on to it."""

    def __init__(
        self, configuration: Any, namespaces: tuple[str, ...], sink: Sink, listed: Listed, heard: Heard
    ) -> None:
        self._registry = kopf.OperatorRegistry()
        register(self._registry, sink)
        known = places(configuration.host, namespaces)
        login(self._registry, configuration, listening(known, listed, heard, self._answered), counting(known))
        kopf.on.cleanup(id="ending", registry=self._registry)(self._begins_to_end)
        self._ending = False
        self._refused: dict[str, str] = {}
        self._namespaces = namespaces
        # Of its own loop: for a flag of threads kopf keeps a thread waiting, and would never end by itself.
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self.ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self.error: BaseException | None = None

    def start(self) -> None:
        """Starts watching."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether kopf still watches; when it ends by itself, the process has to end, too."""
        return self._thread.is_alive() and not self._ending

    def cause(self) -> str:
        """Why kopf has ended by itself, and what to look at."""
        refused = [f"{what} cannot be watched: {problem}" for what, problem in self._refused.items()]
        return ", ".join(refused) or (repr(self.error) if self.error is not None else "without an error")

    def _answered(self, what: str, problem: str) -> None:
        self._refused.pop(what, None)
        if problem:
            self._refused[what] = problem

    async def _begins_to_end(self, **_: Any) -> None:
        self._ending = True

    def stop(self) -> None:
        """Asks kopf to end."""
        with contextlib.suppress(RuntimeError):  # it has ended, and its loop is closed
            self._loop.call_soon_threadsafe(self._stop.set)

    def join(self, seconds: float) -> None:
        """Waits for the end; called in an executor, never in the loop."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            kopf.run(
                loop=self._loop,
                standalone=True,
                # Given, because kopf otherwise asks for the user's name, and the uid of a pod has none.
                identity=Identity("crowetrade-operator"),
                registry=self._registry,
                settings=settings(),
                memories=_NoMemories(),
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=self._stop,
                ready_flag=self.ready,
            )
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which ends the process
            self.error = error
        finally:
            self._loop.close()
