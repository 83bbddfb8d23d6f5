"""HTTP for the kubelet and Prometheus: /healthz, /readyz, /metrics."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


class Health:
    """Readiness of a process: every named part must be ready. A part that nobody named does not count."""

    def __init__(self) -> None:
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
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        if self.ready:
            return web.Response(text="ok\n")
        lines = [f"{name}: {why}\n" for name, why in sorted(self._waiting.items())] or ["starting\n"]
        return web.Response(status=503, text="".join(lines))

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
