"""kopf watches our own kinds; its handlers only put objects into the cache, whose listeners add keys to the queue.

kopf runs in a thread with an event loop of its own: when it ends it cancels every task of its loop that it does not
know, and in the main thread it would take over the process's signals. `on.event` alone: the other decorators of kopf
keep their own state in annotations and patch objects. Children are watched by cluster/watch.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Callable
from typing import Any

import kopf
from kopf._core.engines.peering import Identity

from crowetrade_operator.cluster.resources import CUSTOM, ApiResource

Sink = Callable[[str, dict[str, Any]], None]
"""Takes the type of an event (ADDED, MODIFIED, DELETED, or LISTED) and its object."""


def register(registry: kopf.OperatorRegistry, sink: Sink) -> None:
    """Adds a handler for each of our kinds."""
    for resource in CUSTOM:
        kopf.on.event(resource.group, resource.version, resource.plural, id=resource.plural, registry=registry)(
            _handler(resource, sink)
        )


def _handler(resource: ApiResource, sink: Sink) -> Any:
    async def handle(event: dict[str, Any], **_: Any) -> None:
        body = dict(event["object"])
        sink(event["type"] or "LISTED", {**body, "apiVersion": resource.api_version, "kind": resource.kind})

    return handle


def login(registry: kopf.OperatorRegistry, configuration: Any) -> None:
    """Gives kopf the credentials of our own client, so that there is one way to configure the connection."""

    async def credentials(**_: Any) -> kopf.ConnectionInfo:
        refresh = configuration.refresh_api_key_hook
        refreshed = refresh(configuration) if refresh is not None else None
        if inspect.isawaitable(refreshed):
            await refreshed
        scheme, _separator, token = (configuration.api_key.get("BearerToken") or "").partition(" ")
        return kopf.ConnectionInfo(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            insecure=not configuration.verify_ssl,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
            scheme=scheme or None,
            token=token or None,
        )

    kopf.on.login(registry=registry, id="client")(credentials)


class _NoEssence(kopf.AnnotationsDiffBaseStorage):
    """kopf copies of each object what handlers of changes compare, for every event. There are no such handlers."""

    def build(self, **_: Any) -> Any:
        """Nothing is compared."""
        return {}


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
    """kopf in its thread. Events are handed to `sink` in that thread: it must pass them on to its own loop."""

    def __init__(self, configuration: Any, namespaces: tuple[str, ...], sink: Sink) -> None:
        self._registry = kopf.OperatorRegistry()
        register(self._registry, sink)
        login(self._registry, configuration)
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
        """Whether kopf still runs; when it ends by itself, the process has to end, too."""
        return self._thread.is_alive()

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
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                stop_flag=self._stop,
                ready_flag=self.ready,
            )
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which ends the process
            self.error = error
        finally:
            self._loop.close()
