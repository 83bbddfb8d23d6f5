"""The operator's process: `python -m crowetrade_operator.main`.

Order of start: settings, HTTP, API server; list everything, watch (kopf our own kinds, Watches the rest), bus; and the
Lease, with which the leader goes on: workers. So one that waits knows what the leader knows, and only has to begin. It
writes nothing, because every write asks for the Lease. When the Lease is lost, or anything that must not end ends, the
process ends, and Kubernetes starts it again with nothing left over.

When it is asked to stop, it ends what it has begun and writes the last statuses, gives the Lease back, and then closes
the rest.

However it ends by itself, the last line of its log and its termination message say why: also when an error that nobody
has thought of ends it, and when the kubelet stops it because it fails its liveness probe.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog
import uvloop

from crowetrade_api.files import TERMINATION_LOG, EnvName, ExitCode
from crowetrade_api.names import Kind, control_address
from crowetrade_operator import metrics
from crowetrade_operator.admission.server import Webhook
from crowetrade_operator.bus.nats import Bus
from crowetrade_operator.bus.status_board import StatusBoard
from crowetrade_operator.cluster.cache import Cache
from crowetrade_operator.cluster.client import Cluster, connect
from crowetrade_operator.cluster.events import Recorder
from crowetrade_operator.cluster.lease import Elector
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.cluster.relist import Relist
from crowetrade_operator.cluster.resources import ApiResource, Role, watched
from crowetrade_operator.cluster.shard import Shard
from crowetrade_operator.cluster.status import StatusWriter
from crowetrade_operator.cluster.takeover import Takeover, left_behind
from crowetrade_operator.cluster.watch import Watches
from crowetrade_operator.control.orders import DirectOrders
from crowetrade_operator.errors import ClusterError, OperatorError, SettingsError, WatchEnded
from crowetrade_operator.handlers.watch import Watch
from crowetrade_operator.leadership import Leadership
from crowetrade_operator.reconcile.audit_record import AuditRecord
from crowetrade_operator.reconcile.context import Context
from crowetrade_operator.reconcile.controller import Controller
from crowetrade_operator.reconcile.indexes import Indexes
from crowetrade_operator.settings import Settings, from_environment
from crowetrade_process.audit.refusals import Refusals
from crowetrade_process.audit.trail import Trail, connecting
from crowetrade_process.exit import failed
from crowetrade_process.health import Health
from crowetrade_process.identity.errors import IdentitySettingsError
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.roles import OPERATOR_ACCOUNT
from crowetrade_process.identity.settings import identity_from_environment
from crowetrade_process.logs import configure_logging
from crowetrade_process.memory import give_back_memory
from crowetrade_process.stopping import cancelled, stop_on_signals, unless_stopping

log = structlog.get_logger()

STALLED_RECONCILE_SECONDS = 120.0
STALLED_QUEUE_SECONDS = 120.0
LOOP_TICK_SECONDS = 1.0
SHUTDOWN_SECONDS = 5.0
RESTARTING = "; restarting the operator"
# Gateways report each second.
FIRST_WORDS_SECONDS = 5.0
# How long a thread may keep the interpreter from another one: an event goes back and forth between kopf's loop and ours
# several times before it is reconciled.
SWITCH_SECONDS = 0.001
# Python looks for garbage after 700 new objects, and at all that there are, which stops everything, after 70,000: with
# 2,000 Strategies that took a third of the operator's CPU until all of them traded. What it keeps has no cycles.
GARBAGE_THRESHOLDS = (20_000, 10, 10)
# For what a leader that ends has begun.
FINISH_SECONDS = 1.0
# Between two looks whether a namespace that could not be read can be read now.
ASK_AGAIN_SECONDS = 5.0
# After this a task that was cancelled is cancelled again. What the leader runs may close a connection meanwhile, all of
# it together may write the last statuses and wait for kopf.
PART_SECONDS, ALL_SECONDS = 3.0, 20.0


@dataclass(slots=True)
class View:
    """What every replica knows of the cluster and of the bus."""

    cache: Cache
    relist: Relist
    indexes: Indexes
    bus: Bus
    # Of kopf: another one for namespaces that could not be read before.
    kopf: list[Watch]
    watch: Callable[[tuple[str, ...]], None]
    watches: Watches
    # Whether another one may have led since it was listed.
    may_be_late: bool


@dataclass(slots=True)
class Parts:
    """What the leader runs."""

    context: Context
    controller: Controller
    audit: AuditRecord
    relist: Relist
    kopf: list[Watch]

    async def finish(self) -> None:
        """Ends what has begun, and begins nothing more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FINISH_SECONDS):
                await self.controller.queue.finish()
        with contextlib.suppress(TimeoutError, ClusterError):
            async with asyncio.timeout(SHUTDOWN_SECONDS):
                await self.context.status.finish()
                await self.context.recorder.drain()
        await self.audit.finish()


class Operator:
    """One replica of the operator, from start to stop."""

    def __init__(
        self,
        settings: Settings,
        stopping: asyncio.Event,
        identity: Identity | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`stopping` is set by whoever asks for a clean end. Every time that is written is of `wall_clock`."""
        self.settings = settings
        self.identity = identity
        self._wall_clock = wall_clock
        self.stopping = stopping
        self.parts: Parts | None = None
        self.stopped_while = ""
        """What was wrong with it when it was asked to stop: the kubelet asks because of that, and does not say so."""
        # How many reconciles there were when the liveness probe saw that number first, and when that was.
        self._progress = -1, 0.0
        self._live = {"reconcile": self._stalled_reconcile, "queue": self._stalled_queue, "watch": self._stalled_watch}
        self._health = Health(live=self._live, registry=metrics.REGISTRY, refresh=self._refresh_metrics)
        self._leads = asyncio.Event()
        self.http_port = 0

    async def run(self) -> None:
        """Runs until `stopping` is set, or until something that must not end has ended (then it raises)."""
        # A bus or an API server that is down is no reason to take the operator out of service. But a leader that is
        # replaced ends when another one is ready, so that one must be able to take its place. One that waits for a
        # shard reads nothing.
        self._health.set_ready("cluster", bool(self.settings.shard_label), "reading the cluster")
        await self._health.serve(self.settings.http_port)
        self.http_port = self._health.port
        # Resources are reconciled without it: the bus and gateways alone ask for a certificate.
        identity = asyncio.create_task(self._keep_identity())
        admission = asyncio.create_task(self._record_requests())
        cluster = await connect(self.settings.kubeconfig)
        elector = Elector(
            cluster,
            self.settings.operator_namespace,
            self.settings.lease_name,
            self.settings.pod_name,
            self.settings.lease,
            wall_clock=self._wall_clock,
        )
        try:
            await self._elect_and_work(cluster, elector, identity, admission)
        finally:
            await cancelled(admission)
            await cancelled(identity)
            await elector.release()
            await cluster.close()
            await self._health.stop()

    async def _keep_identity(self) -> None:
        if self.identity is None:
            await asyncio.Event().wait()
            return
        report = functools.partial(self._health.set_ready, "identity")
        report(False, "waiting for the first certificate")
        await self.identity.start(report)
        await self.identity.run()

    async def _record_requests(self) -> None:
        """In every replica, because the API server asks any of them. So not by the trail that ends when this one ceases
        to lead."""
        if not self.settings.admission_directory:
            metrics.ADMISSION_SERVED.set(-1)
            await asyncio.Event().wait()
            return
        trail = self._trail()
        trail.record_start(f"operator {version('crowetrade-operator')} records requests")
        webhook = Webhook(Path(self.settings.admission_directory), self.settings.admission_port, trail)
        async with self._writing(trail, "crowetrade-operator-admission"):
            await webhook.run()

    def _trail(self) -> Trail:
        return Trail(
            self.settings.operator_namespace,
            OPERATOR_ACCOUNT,
            self.settings.pod_name,
            identity=self.identity,
            namespace_bytes_per_day=self.settings.streams.audit_namespace_bytes_per_day,
            clock_ns=self._wall_clock_ns,
        )

    def _writing(self, trail: Trail, name: str) -> AbstractAsyncContextManager[None]:
        return trail.writing(connecting(self.settings.nats_url, name, self.identity))

    async def _elect_and_work(
        self, cluster: Cluster, elector: Elector, identity: asyncio.Task[None], admission: asyncio.Task[None]
    ) -> None:
        if await unless_stopping(self.stopping, elector.take(), PART_SECONDS):
            self._leads.set()
        if self.stopping.is_set():
            return
        work = self._work_in_shard if self.settings.shard_label else self._work
        everything = {
            "stop": self._stop(),
            "lease": self._hold(elector),
            "work": work(cluster, elector),
            # A certificate that nobody renews any more would end the bus hours later.
            "identity": _end_of(identity),
            "admission": _end_of(admission),
        }
        await self._first_end(everything, ALL_SECONDS)

    async def _stop(self) -> None:
        """Ends when it is asked to, and what had begun is done."""
        await self.stopping.wait()
        self.stopped_while = "; ".join(filter(None, (check() for check in self._live.values())))
        if self.parts is not None:
            await self.parts.finish()

    async def _hold(self, elector: Elector) -> None:
        if not self._leads.is_set():
            await elector.acquire()
            self._leads.set()
        await elector.hold()

    async def _work_in_shard(self, cluster: Cluster, leadership: Elector) -> None:
        """Works where the label of a namespace says so, until cancelled. When that changes, all work ends before a
        namespace is given up, and begins again with those that are left. One that waits has no namespaces."""
        await self._leads.wait()
        settings = self.settings
        shard = Shard(
            cluster.while_leading(leadership.seconds_left),
            settings.operator_namespace,
            settings.shard_label,
            settings.lease_name,
            settings.lease_name.removesuffix(f"-{settings.shard_label}"),
            settings.lease.duration,
        )
        while True:
            namespaces = await self._settled(shard)
            self.settings = replace(settings, namespaces=namespaces)
            tasks = {asyncio.create_task(self._shard_changed(shard))}
            if namespaces:
                tasks.add(asyncio.create_task(self._work(cluster, leadership)))
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await cancelled(*tasks, again_seconds=ALL_SECONDS)
            for task in done:
                task.result()

    async def _settled(self, shard: Shard) -> tuple[str, ...]:
        while True:
            try:
                return await shard.settle()
            except ClusterError as error:
                log.warning("shard_namespaces_not_settled", error=str(error))
            await asyncio.sleep(self.settings.lease.retry)

    async def _shard_changed(self, shard: Shard) -> None:
        """Ends when work has to begin or to end somewhere."""
        while True:
            try:
                if await shard.look():
                    return
            except ClusterError as error:
                log.warning("shard_namespaces_not_listed", error=str(error))
            await asyncio.sleep(self.settings.lease.retry)

    async def _work(self, cluster: Cluster, leadership: Elector) -> None:
        """Follows the cluster and the bus, and works when this replica leads, until cancelled."""
        leading = cluster.while_leading(leadership.seconds_left)
        async with self._following(leading, leadership) as view:
            parts = {
                "bus": view.bus.run(),
                "watches": view.watches.run(),
                "kopf": self._watching(view.kopf),
                "readiness": self._ready_when_followed(view.relist),
                "unreadable namespaces": self._asking_again(view),
                "leader": self._lead(leading, view, leadership),
            }
            try:
                # What works ends first: it would tell that the bus is gone.
                await self._first_end(parts, ALL_SECONDS, last=("bus", "watches", "kopf"))
            finally:
                # Nothing is written any more. What is left to close keeps nobody waiting.
                if not self.settings.shard_label:
                    await leadership.release(left_behind(view.relist, leading))

    async def _ready_when_followed(self, relist: Relist) -> None:
        await relist.followed()
        self._health.set_ready("cluster", True)
        await asyncio.Event().wait()

    async def _lead(self, cluster: Cluster, view: View, leadership: Elector) -> None:
        """What the leader does, until cancelled."""
        takeover = Takeover(view.relist, leadership)
        ahead = asyncio.create_task(takeover.read_ahead())
        try:
            await self._leads.wait()
            if view.may_be_late:
                await self._catch_up(takeover)
        finally:
            await cancelled(ahead)
        async with self._leading(cluster, view) as parts:
            log.info("working", namespaces=self.settings.namespaces or "all")
            work = {
                "reconcilers": self._reconcile(parts),
                "status writer": parts.context.status.run(),
                "recorder": parts.context.recorder.run(),
                "audit record": parts.audit.run(),
                "relist": self._relisting(parts.relist),
                "Vault roles": parts.context.vault_roles.run(),
            }
            await self._first_end(work, PART_SECONDS)

    async def _reconcile(self, parts: Parts) -> None:
        """Reconciles, once the bus can be used and the gateways that worked before have been heard: with each new
        leader, all strategies would be not Ready for a moment, and whoever watches them would be told so. Where no
        resource has a status yet, there is nothing that would change."""
        context, heard = parts.context, asyncio.Event()
        context.bus.on_gateway(lambda *_: heard.set())
        context.bus.on_connection(heard.set)
        has_status = _has_status(context.cache)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_WORDS_SECONDS):
                while has_status and (
                    not context.bus.connected
                    or any(context.bus.board.gateway(*venue) is None for venue in _working_venues(context.cache))
                ):
                    heard.clear()
                    await heard.wait()
        await parts.controller.run()

    @contextlib.asynccontextmanager
    async def _following(self, cluster: Cluster, leadership: Leadership) -> AsyncIterator[View]:
        """What is known of the cluster, kept up to date; and a bus that is not connected yet."""
        settings, cache, waits = self.settings, Cache(), not self._leads.is_set()
        kinds = watched(everywhere=not settings.namespaces, certificates=settings.issuer is not None)
        relist = Relist(cluster, cache, settings.namespaces, kinds=kinds)
        streams = settings.streams
        bus = Bus(settings.nats_url, StatusBoard(), self.identity, streams=streams, leadership=leadership, waits=waits)
        loop = asyncio.get_running_loop()

        def sink(type_: str, item: Object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: so do we
                loop.call_soon_threadsafe(_take, cache, relist, type_, item)

        threads, watched_namespaces = list[Watch](), set[str]()
        rest = [resource for resource in kinds if resource.role is not Role.OWN]
        watches = Watches(cluster, relist, functools.partial(_take, cache, relist), rest)

        def listed(resource: ApiResource, namespace: str) -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(watches.list_again, resource, namespace)

        def watch(namespaces: tuple[str, ...]) -> None:
            """Those that could be read before are watched already."""
            namespaces = tuple(name for name in namespaces if name not in watched_namespaces)
            if not namespaces:
                return
            watched_namespaces.update(namespaces)
            threads.append(Watch(cluster.configuration, tuple(filter(None, namespaces)), sink, listed, relist.heard))
            threads[-1].start()
            watches.start(namespaces)

        try:
            await self._fill(relist)
            give_back_memory()
            watch(relist.readable)
            yield View(cache, relist, Indexes.of(cache), bus, threads, watch, watches, waits)
        finally:
            for one in threads:
                one.stop()
            for one in threads:
                await loop.run_in_executor(None, one.join, SHUTDOWN_SECONDS)
            relist.close()

    @contextlib.asynccontextmanager
    async def _leading(self, cluster: Cluster, view: View) -> AsyncIterator[Parts]:
        """Everything that only the leader has."""
        settings, cache, bus = self.settings, view.cache, view.bus
        context = Context(
            settings=settings,
            cluster=cluster,
            cache=cache,
            bus=bus,
            direct=DirectOrders(
                functools.partial(control_address, cluster_domain=settings.cluster_domain),
                identity=self.identity,
                wall_clock=self._wall_clock,
            ),
            status=StatusWriter(cluster, settings.status_writes_per_second, wall_clock=self._wall_clock),
            recorder=Recorder(cluster, settings.pod_name, self._wall_clock),
            indexes=view.indexes,
            unreadable=view.relist.unreadable,
            wall_clock=self._wall_clock,
        )
        bus.lead()
        controller = Controller(context)
        controller.begin()
        trail = self._trail()
        trail.record_start(f"operator {version('crowetrade-operator')} leads")
        audit = AuditRecord(cluster, cache, bus, trail, settings, view.relist.unreadable, self._wall_clock_ns)
        self.parts = Parts(context, controller, audit, view.relist, view.kopf)
        try:
            async with contextlib.AsyncExitStack() as stack:
                await stack.enter_async_context(self._writing(trail, "crowetrade-operator-audit"))
                if self.identity is not None:
                    refusals = Refusals(trail)
                    await stack.enter_async_context(refusals.telling())
                    stack.callback(self.identity.on_refusal(refusals.refused))
                yield self.parts
        finally:
            # The namespaces may go to another shard; a leader that stops has done it already.
            await audit.finish()
            controller.queue.close()
            await context.direct.close()
            self.parts = None

    async def _fill(self, relist: Relist) -> None:
        """The first list; tried again until the API server answers and a namespace can be read."""
        while True:
            try:
                await relist.fill()
            except ClusterError as error:
                log.error("not_listed_at_start", error=str(error))
            if relist.readable:
                return
            await asyncio.sleep(self.settings.lease.retry)

    async def _catch_up(self, takeover: Takeover) -> None:
        while True:
            try:
                return await takeover.finish()
            except ClusterError as error:
                log.error("not_listed_at_takeover", error=str(error))
            await asyncio.sleep(self.settings.lease.retry)

    async def _relisting(self, relist: Relist) -> None:
        while True:
            await asyncio.sleep(self.settings.resync_seconds)
            try:
                await relist.check()
            except ClusterError as error:
                log.warning("relist_failed", error=str(error))

    async def _asking_again(self, view: View) -> None:
        """Namespaces that could not be read are worked in from when they can be read. Who waits asks, too: otherwise it
        would go on to report them as unreadable, and would not watch them."""
        while True:
            await asyncio.sleep(ASK_AGAIN_SECONDS)
            if found := await view.relist.ask_again():
                view.watch(tuple(found))
                if self.parts is not None:
                    self.parts.controller.enqueue_all()

    async def _watching(self, threads: list[Watch]) -> None:
        """Raises WatchEnded when a thread of kopf has ended by itself."""
        while all(thread.alive for thread in threads):  # noqa: ASYNC110 - a thread has no asyncio event
            await asyncio.sleep(LOOP_TICK_SECONDS)
        raise WatchEnded("; ".join(thread.cause() for thread in threads if not thread.alive))

    async def _first_end(
        self, coroutines: dict[str, Coroutine[Any, Any, Any]], patience: float, last: Collection[str] = ()
    ) -> None:
        """Runs all until the first ends, then cancels the rest, `last` when the others have ended. Anything but `stop`
        must not end."""
        tasks = {asyncio.create_task(coroutine, name=name) for name, coroutine in coroutines.items()}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancelled(*(task for task in tasks if task.get_name() not in last), again_seconds=patience)
            await cancelled(*(task for task in tasks if task.get_name() in last), again_seconds=PART_SECONDS)
        ended = next((task for task in done if task.get_name() != "stop"), None)
        if ended is not None:
            # A library that cancels what somebody waits for: without this it would pass for our own cancellation.
            error = asyncio.CancelledError() if ended.cancelled() else ended.exception()
            cause = f": {_in_words(error)}" if error is not None else ""
            again = "" if cause.endswith(RESTARTING) else RESTARTING
            raise RuntimeError(f"{ended.get_name()} has ended{cause}{again}") from error

    def _stalled_reconcile(self) -> str:
        seconds = self.parts.controller.queue.longest_running() if self.parts else 0.0
        return f"a reconcile has run for {seconds:.0f} s" if seconds > STALLED_RECONCILE_SECONDS else ""

    def _stalled_queue(self) -> str:
        """A long queue that goes on is none: another start would begin with all of it again."""
        if self.parts is None:
            return ""
        controller, now = self.parts.controller, time.monotonic()
        if controller.reconciled != self._progress[0]:
            self._progress = controller.reconciled, now
        seconds = min(controller.queue.oldest_waiting(), now - self._progress[1])
        return f"keys have waited for {seconds:.0f} s, and none was taken" if seconds > STALLED_QUEUE_SECONDS else ""

    def _stalled_watch(self) -> str:
        return self.parts.relist.stalled if self.parts else ""

    def _wall_clock_ns(self) -> int:
        return int(self._wall_clock() * 1e9)

    def _refresh_metrics(self) -> None:
        if self.parts is None:
            return
        queue = self.parts.controller.queue
        metrics.QUEUE_DEPTH.set(len(queue))
        metrics.QUEUE_OLDEST_SECONDS.set(queue.oldest_waiting())
        metrics.SECONDS_SINCE_EVENT.set(self.parts.relist.seconds_since_event())


def _working_venues(cache: Cache) -> list[tuple[str, str]]:
    """Namespace and name of the venues that had a session when their status was written last."""
    return [
        (item["metadata"]["namespace"], item["metadata"]["name"])
        for item in cache.of_kind(Kind.VENUE.value)
        if ((item.get("status") or {}).get("session") or {}).get("state")
    ]


def _has_status(cache: Cache) -> bool:
    """Whether an operator has worked here before."""
    return any((item.get("status") or {}).get("conditions") for kind in Kind for item in cache.of_kind(kind.value))


def _take(cache: Cache, relist: Relist, type_: str, item: Object) -> None:
    """An event in the main loop."""
    relist.saw(item, type_)
    if type_ == "DELETED":
        cache.remove(item)
    else:
        cache.put(item)


async def _end_of(task: asyncio.Task[None]) -> None:
    await task


def _in_words(error: BaseException) -> str:
    """Of several errors the first; one that is not ours with its type, because its text may be empty."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, OperatorError | RuntimeError) and str(error) else repr(error)


async def serve(settings: Settings, identity: Identity | None) -> str:
    """Runs the operator until SIGTERM or SIGINT; returns what was wrong with it then."""
    operator = Operator(settings, stop_on_signals(), identity)
    await operator.run()
    return operator.stopped_while


def main() -> int:
    """Entry point; returns the exit code."""
    configure_logging()
    termination_log = os.environ.get(EnvName.TERMINATION_LOG, TERMINATION_LOG)
    try:
        settings = from_environment()
        identity = identity_from_environment(os.environ)
    except (SettingsError, IdentitySettingsError) as error:
        return failed(ExitCode.CONFIGURATION_ERROR, "configuration_error", str(error), termination_log)
    configure_logging(settings.log_level)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    try:
        stopped_while = uvloop.run(serve(settings, identity))
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the top: whatever ends it is logged
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        # Of what nobody has thought of, where it happened.
        where = {} if isinstance(cause, OperatorError) else {"exc_info": error}
        return failed(ExitCode.FAILED, "operator_ended", _in_words(error), termination_log, cause=repr(cause), **where)
    if stopped_while:
        return failed(ExitCode.FAILED, "stopped_while_stalled", stopped_while, termination_log)
    return ExitCode.STOPPED


if __name__ == "__main__":
    sys.exit(main())
