"""HTTP for the kubelet and Prometheus: /healthz, /readyz, /metrics.

/healthz fails when a check finds work that is stalled, so that a restart helps; what is down outside of the process
makes it not ready at most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

Check = Callable[[], str]
"""Returns what is wrong, or nothing."""


class Health:
    """Liveness by checks; readiness of every part that was named, and of at least one."""

    def __init__(
        self,
        live: Mapping[str, Check] | None = None,
        registry: CollectorRegistry = REGISTRY,
        refresh: Callable[[], None] = lambda: None,
    ) -> None:
        """`refresh` is called before the metrics of `registry` are read."""
        self._live = live or {}
        self._registry = registry
        self._refresh = refresh
        self._waiting: dict[str, str] = {}
        self._named: set[str] = set()
        self._runner: web.AppRunner | None = None
        self.port = 0

    def set_ready(self, name: str, ok: bool, why: str = "") -> None:
        """Says whether the part `name` is ready; `why` not goes to whoever asks /readyz."""
        self._named.add(name)
        if ok:
            self._waiting.pop(name, None)
        else:
            self._waiting[name] = why or "not ready"

    @property
    def ready(self) -> bool:
        """True when at least one part was named and all are ready."""
        return bool(self._named) and not self._waiting

    @property
    def waiting(self) -> dict[str, str]:
        """Parts that are not ready and why."""
        return dict(self._waiting)

    async def serve(self, port: int) -> None:
        """Listens on all addresses and returns; port 0 lets the system choose (see `port`)."""
        app = web.Application()
        app.add_routes(
            [web.get("/healthz", self._healthz), web.get("/readyz", self._readyz), web.get("/metrics", self._metrics)]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host="0.0.0.0", port=port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stops listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        found = {name: check() for name, check in self._live.items()}
        return _answer({name: problem for name, problem in found.items() if problem})

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _answer(self._waiting) if self._named else web.Response(status=503, text="starting\n")

    async def _metrics(self, _request: web.Request) -> web.Response:
        self._refresh()
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _answer(problems: Mapping[str, str]) -> web.Response:
    if not problems:
        return web.Response(text="ok\n")
    return web.Response(status=503, text="".join(f"{name}: {why}\n" for name, why in sorted(problems.items())))
