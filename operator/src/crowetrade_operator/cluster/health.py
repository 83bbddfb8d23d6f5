"""/metrics, /healthz and /readyz.

/healthz fails when work is stalled: a reconcile that never ends, a key that nobody takes, a watch that brings
nothing. A bus or an API server that is down is not a reason to restart the operator, so they do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from crowetrade_operator import metrics

Check = Callable[[], str]
"""Returns what is wrong, or nothing."""


class HealthServer:
    """A small HTTP server."""

    def __init__(
        self, port: int, live: Mapping[str, Check], ready: Mapping[str, Check], refresh: Callable[[], None]
    ) -> None:
        self._port = port
        self._live = live
        self._ready = ready
        self._refresh = refresh
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listens; returns the port (another than asked for when that was 0)."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "0.0.0.0", self._port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stops listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        self._refresh()
        return web.Response(body=generate_latest(metrics.REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, _: web.Request) -> web.Response:
        return _answer(self._live)

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(self._ready)


def _answer(checks: Mapping[str, Check]) -> web.Response:
    found = {name: check() for name, check in checks.items()}
    lines = [f"{name}: {problem or 'ok'}" for name, problem in found.items()]
    return web.Response(status=503 if any(found.values()) else 200, text="\n".join(lines) + "\n")
