"""HTTP for the kubelet and Prometheus: /healthz, /readyz, /metrics.

/healthz fails when a check finds work that is stalled, so that a restart helps; what is down outside of the process
makes it not ready at most. The server has threads of its own, so each answer first asks the event loop: when the loop
does not answer within LOOP_SECONDS, the process is neither alive nor ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, MetricsHandler

from crowetrade_process.http_server import BoundedHandler, HttpServer

# As long as the kubelet waits for the answer of a probe (timeoutSeconds).
LOOP_SECONDS = 2.0

Check = Callable[[], str]
"""Returns what is wrong, or nothing."""

_log = structlog.get_logger(__name__)


class Health:
    """Liveness by checks; readiness of every part that was named, and of at least one."""

    def __init__(
        self,
        live: Mapping[str, Check] | None = None,
        registry: CollectorRegistry = REGISTRY,
        refresh: Callable[[], None] = lambda: None,
    ) -> None:
        """`live` and `refresh` are called in the event loop; `refresh` before the metrics of `registry` are read."""
        self._live = dict(live or {})
        self._registry = registry
        self._refresh = refresh
        self._waiting: dict[str, str] = {}
        self._named: set[str] = set()
        self._server: HttpServer | None = None
        self.port = 0

    def set_live(self, name: str, check: Check) -> None:
        """Adds a check of liveness, called in the event loop: a sentence when the process must start again."""
        self._live[name] = check

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
        """Listens on all addresses and returns; port 0 lets the system choose (see `port`).

        Raises OSError when the port is taken.
        """
        loop = asyncio.get_running_loop()
        checks = {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics}
        self._server = HttpServer(port, partial(_Handler, loop, checks, self._registry))
        self._server.start()
        self.port = self._server.port

    async def stop(self) -> None:
        """Stops listening."""
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)

    def _healthz(self) -> str:
        return _lines({name: check() for name, check in self._live.items()})

    def _readyz(self) -> str:
        return _lines(self._waiting) if self._named else "starting\n"

    def _metrics(self) -> str:
        self._refresh()
        return ""


def _lines(problems: Mapping[str, str]) -> str:
    return "".join(f"{name}: {why}\n" for name, why in sorted(problems.items()) if why)


class _Handler(BoundedHandler, MetricsHandler):
    """Asks the check of the path in the event loop, and answers what it found."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        checks: Mapping[str, Check],
        registry: CollectorRegistry,
        *connection: Any,
    ) -> None:
        self._loop = loop
        self._checks = checks
        self.registry = registry
        super().__init__(*connection)

    def do_GET(self) -> None:
        """200, or 503 with what is wrong."""
        path = self.path.partition("?")[0]
        if path not in self._checks:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            problems = self._ask(self._checks[path])
        except Exception:  # noqa: BLE001 - the top: whatever a check raises is answered
            _log.exception("health_check_failed", path=path)
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
            return
        if path == "/metrics" and not problems:
            super().do_GET()
            return
        if path == "/healthz" and problems:
            # The kubelet ends the process for it, and tells nobody but whoever reads its events.
            _log.warning("not_alive", problems=problems.splitlines())
        self._answer(problems)

    def _ask(self, check: Check) -> str:
        async def ask() -> str:
            return check()

        asked = asyncio.run_coroutine_threadsafe(ask(), self._loop)
        try:
            return asked.result(LOOP_SECONDS)
        except TimeoutError:
            asked.cancel()
            return f"event loop: it has not answered for {LOOP_SECONDS:g} s\n"

    def _answer(self, problems: str) -> None:
        body = (problems or "ok\n").encode()
        self.send_response(HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
