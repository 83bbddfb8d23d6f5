"""The figures of one run, in the order in which they are taken, each as soon as it is known."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import os
import random
import sys
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nats
import uvloop
from nats.aio.client import Client

from benchmarks.figures import Figure, Measure, cpu_seconds, figure, rss_mib
from benchmarks.nats_server import nats_server
from benchmarks.operator import raw
from benchmarks.operator.edits import EDITS, GATEWAY_EDITS, Patch, edit
from benchmarks.operator.fleet import Plan
from benchmarks.operator.load import MODE, SESSION
from benchmarks.operator.measured import OperatorProcess, Watched, until
from benchmarks.risk.fleet import api_server
from crowetrade_api.names import MANAGED_SELECTOR
from crowetrade_operator.cluster.client import WATCH_SECONDS, connect
from crowetrade_operator.cluster.resources import (
    CHILDREN,
    CONFIG_MAPS,
    CUSTOM,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    SERVICE_ACCOUNTS,
    STRATEGIES,
    ApiResource,
)
from crowetrade_operator.reconcile.audit_record import KEEP_SECONDS
from crowetrade_operator_tests.conftest import install_crds
from crowetrade_operator_tests.servers import ApiServer, Process
from crowetrade_process.audit.trail import CHECKPOINT_SECONDS

Object = dict[str, Any]
SYSTEM = "bench-system"
CHANGES, SESSIONS = 100, 3
HANDOVER_EDITS, HANDOVER_SECONDS = 60, 0.05
"""While one leader follows another there is an edit every 50 ms, for three seconds."""
DELETED_EACH, EDITED_EACH = 5, 3
"""So many children of each kind are deleted, and so many are edited in each way."""
EDIT_SECONDS = 10.0
"""An edit or a repair that takes longer has not been made: it counts as having taken so long."""
WRITERS = 32
IDLE_SECONDS = 60.0


def measures(folder: Path, plan: Plan) -> dict[str, Measure]:
    """What `make bench-operator` measures, each with servers of its own: the fleet, then how cost grows with its size.
    Each raises NotMeasurable."""
    found: dict[str, Measure] = {"the fleet": functools.partial(_measured, folder / "fleet", plan, _Run.figures)}
    for size in plan.growth:
        spread = plan.fleet.of_size(size)
        one = replace(spread, namespaces=1)
        cold, cold_in_one = replace(plan, fleet=spread), replace(plan, fleet=one)
        # The fleet itself has been measured.
        if spread != plan.fleet:
            found[f"a cold start of {size}"] = functools.partial(_measured, folder / f"{size}", cold, _Run.growth)
        found[f"a cold start of {size} in one namespace"] = functools.partial(
            _measured, folder / f"{size}-in-one", cold_in_one, _Run.growth_in_one_namespace
        )
    return found


def _measured(folder: Path, plan: Plan, figures: Callable[[_Run], AsyncGenerator[Figure, None]]) -> Iterator[Figure]:
    folder.mkdir()
    with api_server(folder) as server, nats_server(folder, synced=False) as url:
        yield from _as_taken(figures(_Run(folder, server, url, plan)))


def _as_taken(figures: AsyncGenerator[Figure, None]) -> Iterator[Figure]:
    """Each figure when it is known; the event loop stands still until the next one is asked for."""

    async def following() -> Figure | None:
        return await anext(figures, None)

    async def close() -> None:
        await figures.aclose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            while (item := runner.run(following())) is not None:
                yield item
        finally:
            runner.run(close())


class _Run:
    """One API server, one bus and one fleet."""

    def __init__(self, folder: Path, server: ApiServer, nats_url: str, plan: Plan) -> None:
        self.folder = folder
        self.server = server
        self.nats_url = nats_url
        self.plan = plan
        self.fleet = plan.fleet
        self.sizes = {
            "strategies": plan.fleet.strategies,
            "venues": plan.fleet.venues,
            "namespaces": plan.fleet.namespaces,
        }
        self._random = random.Random(5)

    def _figure(self, name: str, unit: str, values: list[float], **notes: object) -> Figure:
        return figure(f"operator.{name}", unit, values, **notes, **self.sizes)

    async def growth(self, where: str = "") -> AsyncGenerator[Figure, None]:
        """What a Strategy costs in this fleet, cold."""
        async with self.connected():
            await self.create()
            operator = self.start("growth")
            yield self._per_strategy(operator, await self.cold(operator), where)

    def growth_in_one_namespace(self) -> AsyncGenerator[Figure, None]:
        """The same, under a name that says where."""
        return self.growth(".one_namespace")

    def _per_strategy(self, operator: OperatorProcess, seconds: float, where: str = "") -> Figure:
        """Milliseconds per Strategy from the first child to the last."""
        size = self.fleet.strategies
        cpu = round(cpu_seconds(operator.pid) * 1000 / size, 1)
        return self._figure(f"cold.ms_per_strategy.{size}{where}", "ms", [seconds * 1000 / size], cpu_ms=cpu)

    async def figures(self) -> AsyncGenerator[Figure, None]:
        """All of them, in order."""
        async with self.connected():
            await self.create()
            operator = self.start("first")
            async for item in self._cold(operator):
                yield item
            deployments, _ = await self.cluster.list(DEPLOYMENTS, "", MANAGED_SELECTOR)
            await _each(deployments, self._ready)
            await _each(deployments, self._pod)
            operator = self.start("second")
            with self._load() as load:
                async with Watched(self.cluster, STRATEGIES).following() as strategies:
                    await self._all_trade(strategies, load)
                    steps = (
                        self._speaking(operator),
                        self._significant(strategies),
                        self._edits(),
                        self._memory(operator),
                        self._repairs(),
                        self._idle(operator),
                        self._restart(operator),
                    )
                    for step in steps:
                        async for item in step:
                            yield item

    # --- before

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Connected to the API server and to the bus, with nothing left over at the end."""
        self.cluster, self._processes = await connect(str(self.server.kubeconfig)), list[Process]()
        self.bus: Client = await nats.connect(self.nats_url)
        try:
            yield
        finally:
            for process in self._processes:
                process.stop()
            await self.bus.close()
            await self.cluster.close()

    async def create(self) -> None:
        """Namespaces and resources of the fleet."""
        await install_crds(self.cluster)
        for name in [SYSTEM, *self.fleet.namespace_names()]:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            await self.cluster.create(NAMESPACES, "", body)
        resources = {resource.kind: resource for resource in CUSTOM}

        async def create(item: Object) -> None:
            await self.cluster.create(resources[item["kind"]], item["metadata"]["namespace"], item)

        await _each(self.fleet.manifests(), create)

    def start(self, name: str) -> OperatorProcess:
        """Another replica of the operator."""
        environment = {
            "KUBECONFIG": str(self.server.kubeconfig),
            "OPERATOR_NAMESPACE": SYSTEM,
            "NATS_URL": self.nats_url,
            "NAMESPACE_MAX_BYTES": "0",
            # NATS reserves them: those of 100 venues are larger than most disks.
            "JOURNAL_MAX_BYTES": str(16 * 1024 * 1024),
            "SNAPSHOTS_MAX_BYTES": str(16 * 1024 * 1024),
            "LOG_LEVEL": "WARNING",
        }
        operator = OperatorProcess(self.folder, name, environment)
        self._processes.append(operator.process)
        return operator

    @property
    def _owners(self) -> int:
        return self.fleet.strategies + self.fleet.venues

    async def cold(self, operator: OperatorProcess) -> float:
        """Seconds from the first child to the last."""

        async def begun() -> bool:
            return (await operator.counts()).applied(SERVICE_ACCOUNTS) > 0

        async def complete() -> bool:
            return (await operator.counts()).applied(DEPLOYMENTS) >= self._owners

        return -await until("the first child", begun) + await until("all children", complete)

    async def _ready(self, deployment: Object) -> None:
        """What the Deployment controller would say."""
        metadata = deployment["metadata"]
        status = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}
        # Edits change the generation, and nobody writes the status again.
        status["observedGeneration"] = metadata["generation"] + CHANGES
        await self._say_status(DEPLOYMENTS, metadata["namespace"], metadata["name"], status)

    async def _pod(self, deployment: Object) -> None:
        """What a ReplicaSet would make, and kwok would say of it: no controller and no kubelet is here."""
        name, namespace = deployment["metadata"]["name"], deployment["metadata"]["namespace"]
        template = deployment["spec"]["template"]
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{name}-1", "uid": str(uuid.uuid4())}
        metadata = {**template["metadata"], "name": f"{name}-1-a", "namespace": namespace}
        metadata["ownerReferences"] = [{**owner, "controller": True}]
        body = {"apiVersion": PODS.api_version, "kind": PODS.kind, "metadata": metadata, "spec": template["spec"]}
        await self.cluster.create(PODS, namespace, body)
        said = {"ready": True, "started": True, "restartCount": 0, "imageID": ""}
        running = {"running": {"startedAt": datetime.now(UTC).isoformat(timespec="seconds")}}
        containers = [
            {"name": container["name"], "image": container["image"], "state": running, **said}
            for container in template["spec"]["containers"]
        ]
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        await self._say_status(PODS, namespace, metadata["name"], {**status, "containerStatuses": containers})

    async def _say_status(self, resource: ApiResource, namespace: str, name: str, status: Object) -> None:
        metadata = {"namespace": namespace, "name": name}
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "status": status}
        await self.cluster.apply(body, "status")

    @contextlib.contextmanager
    def _load(self) -> Iterator[Process]:
        sizes = map(str, self.sizes.values())
        command: list[str | Path] = [sys.executable, "-m", "benchmarks.operator.load", self.nats_url, *sizes]
        path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
        process = Process("load", command, self.folder, {"PYTHONPATH": path})
        try:
            yield process
        finally:
            process.stop()

    async def _all_trade(self, strategies: Watched, load: Process) -> None:
        def trade() -> bool:
            load.check()
            items = strategies.objects.values()
            return all(_is(item, "Trading", "True") and _is(item, "VenueConnected", "True") for item in items)

        if await strategies.until(trade, 1_800) is None:
            odd = [item for item in strategies.objects.values() if not _is(item, "Trading", "True")]
            raise RuntimeError(f"{len(odd)} Strategies do not trade, as {odd[:1]}")

    # --- figures

    async def _cold(self, operator: OperatorProcess) -> AsyncGenerator[Figure, None]:
        """All children are made, and then again by a bare writer."""
        seconds = await self.cold(operator)
        yield self._per_strategy(operator, seconds)
        counts, children = await operator.quiet(), len(CHILDREN) * self._owners
        per_child = [counts.requests / children]
        yield self._figure("cold.requests_per_child", "", per_child, requests=counts.requests)
        operator.process.stop()
        bare = await raw.seconds(self.cluster)
        took = {"operator_seconds": round(seconds, 2), "raw_seconds": round(bare, 2)}
        yield self._figure("cold.share_of_raw", "", [bare / seconds], **took)

    async def _speaking(self, operator: OperatorProcess) -> AsyncGenerator[Figure, None]:
        """Everybody reports, and everything changes."""
        cpu, before = cpu_seconds(operator.pid), await operator.counts()
        await asyncio.sleep(self.plan.seconds)
        after, used = await operator.counts(), cpu_seconds(operator.pid) - cpu
        reconciles = (after.reconciles - before.reconciles) / self.plan.seconds
        cores = [used / self.plan.seconds]
        yield self._figure("speaking.cpu_cores", "", cores, reconciles_per_second=reconciles)
        written = after.status_writes - before.status_writes
        yield self._figure("status.writes_per_second", "1/s", [written / self.plan.seconds])

    async def _significant(self, strategies: Watched) -> AsyncGenerator[Figure, None]:
        """From a gateway's word that its session is lost, or back, until the status of each of its Strategies has
        it."""
        taken = []
        for number in range(2 * SESSIONS):
            namespace, name = self.fleet.venue_places()[number // 2 % self.fleet.venues]
            theirs = [place[:2] for place in self.fleet.strategy_places() if place[0::2] == (namespace, name)]
            wanted, began = "False" if number % 2 == 0 else "True", time.monotonic()
            await self._say(SESSION, f"{namespace}/{name}".encode())
            for place in theirs:
                says = functools.partial(_says, strategies, place, wanted)
                at = await strategies.until(says, 60)
                taken.append(60.0 if at is None else at - began)
        yield self._figure("status.significant_p99_s", "s", taken)

    async def _edits(self) -> AsyncGenerator[Figure, None]:
        """From the edit of a Strategy until its ConfigMap is updated, one after the other."""
        taken = []
        async with Watched(self.cluster, CONFIG_MAPS).following() as config_maps:
            for number in range(CHANGES):
                namespace, name, _ = self._random.choice(self.fleet.strategy_places())
                taken.append(await self._edit(config_maps, namespace, name, 100 + number) * 1000)
        yield self._figure("edit.p50_ms", "ms", taken)
        yield self._figure("edit.p99_ms", "ms", taken)

    async def _memory(self, operator: OperatorProcess) -> AsyncGenerator[Figure, None]:
        yield self._figure("rss_mib", "MiB", [rss_mib(operator.pid)])

    async def _edit(self, config_maps: Watched, namespace: str, name: str, slow: int) -> float:
        """Seconds from the write until the ConfigMap has it."""
        place, began = (namespace, f"strategy-{name}"), time.monotonic()
        patch = {"spec": {"model": {"parameters": {"slow": slow}}}}
        await self.cluster.merge(STRATEGIES, namespace, name, patch)

        def updated() -> bool:
            return any(
                f'"slow":{slow}' in text.replace(" ", "") for text in config_maps.objects[place]["data"].values()
            )

        at = await config_maps.until(updated, 120.0)
        return 120.0 if at is None else at - began

    async def _edit_meanwhile(self, config_maps: Watched) -> list[float]:
        """Of edits that go on while one replica ends and another begins, each of another Strategy: the leader that ends
        still carries out the first ones."""
        edits = []
        async with asyncio.TaskGroup() as group:
            for namespace, name, _ in self.fleet.strategy_places()[:HANDOVER_EDITS]:
                edits.append(group.create_task(self._edit(config_maps, namespace, name, 1_002)))
                await asyncio.sleep(HANDOVER_SECONDS)
        return [edit.result() for edit in edits]

    async def _repairs(self) -> AsyncGenerator[Figure, None]:
        """From the deletion of a child until it is there again; from somebody else's write until it is as before."""
        deleted, edited, left = [], [], []
        owners = self.fleet.strategy_places()
        for resource, edits in EDITS.items():
            # One child after the other: what is repaired again and again is repaired less and less often.
            self._random.shuffle(owners)
            places = itertools.cycle((namespace, f"strategy-{name}") for namespace, name, _ in owners)
            gateways = itertools.cycle((namespace, f"venue-{name}") for namespace, name in self.fleet.venue_places())
            tried = [(places, *item) for item in edits.items()]
            tried += [(gateways, *item) for item in GATEWAY_EDITS.get(resource, {}).items()]
            async with Watched(self.cluster, resource).following() as children:
                for place in itertools.islice(places, DELETED_EACH):
                    uid, began = _uid(children, place), time.monotonic()
                    await self.cluster.delete(resource, *place)
                    at = await children.until(functools.partial(_is_another, children, place, uid), EDIT_SECONDS)
                    deleted.append((EDIT_SECONDS if at is None else at - began) * 1000)
                for children_of, what, patch in tried:
                    for place in itertools.islice(children_of, EDITED_EACH):
                        at = await self._repaired(children, resource, place, patch)
                        left += [f"{resource.kind}: {what}"] if at is None else []
                        edited.append(EDIT_SECONDS * 1000 if at is None else at * 1000)
        yield self._figure("drift.deleted_ms", "ms", deleted)
        yield self._figure("drift.edited_ms", "ms", edited, not_repaired=sorted(set(left)))

    async def _repaired(
        self, children: Watched, resource: ApiResource, place: tuple[str, str], patch: Patch
    ) -> float | None:
        """Seconds from somebody else's write until the child is as before; None when it did not become so."""
        before, began = _content(children.objects[place]), time.monotonic()
        written = await edit(self.cluster, resource, *place, patch)
        if _content(written) == before:
            raise RuntimeError(f"{patch} changes nothing in {resource.kind} {'/'.join(place)}")
        version = int(written["metadata"]["resourceVersion"])
        at = await children.until(functools.partial(_is_as_before, children, place, before, version), EDIT_SECONDS)
        return None if at is None else at - began

    async def _idle(self, operator: OperatorProcess) -> AsyncGenerator[Figure, None]:
        """Everybody reports the same, for a minute, because some things are looked at every 30 s. Statuses that are
        written again for their time alone are counted apart. What was edited before is told to the audit trail, whose
        checkpoint comes later and is kept later still: that is no rest yet. Watches are counted, apart as well, for as
        long as each lasts, so that each is begun again once."""
        await self._say(MODE, b"same")
        first, began = await operator.rested(), time.monotonic()
        await asyncio.sleep(CHECKPOINT_SECONDS + KEEP_SECONDS)
        cpu, before = cpu_seconds(operator.pid), await operator.counts()
        await asyncio.sleep(IDLE_SECONDS)
        after, used = await operator.counts(), cpu_seconds(operator.pid) - cpu
        cores = round(used / IDLE_SECONDS, 3)
        renewed = after.renewed - before.renewed
        requests = after.requests - before.requests - renewed
        kinds = after.requests_since(before)
        notes = {"seconds": IDLE_SECONDS, "cpu_cores": cores, "renewed": renewed, "kinds": kinds}
        yield self._figure("idle.requests", "", [requests], **notes)
        await asyncio.sleep(began + WATCH_SECONDS - time.monotonic())
        watches = (await operator.counts()).watches - first.watches
        yield self._figure("idle.watches", "", [watches], seconds=WATCH_SECONDS)

    async def _restart(self, operator: OperatorProcess) -> AsyncGenerator[Figure, None]:
        """A new process, then another one that takes over from one that is killed, then from one that ends. Statuses
        that are written again for their time alone are no writes of the restart."""
        operator.process.stop()
        third = self.start("third")

        async def reconciled() -> bool:
            counts = await third.counts()
            return counts.strategies_reconciled >= self.fleet.strategies and not counts.queued

        yield self._figure("restart.seconds", "s", [await until("all reconciled once", reconciled) - third.began])
        counts = await third.rested()
        writes, statuses = counts.writes - counts.renewed, counts.status_writes - counts.renewed
        yield self._figure("restart.writes", "", [writes], statuses=statuses, renewed=counts.renewed)
        namespace, name, _ = self.fleet.strategy_places()[0]
        async with Watched(self.cluster, CONFIG_MAPS).following() as config_maps:
            fourth = await self._waiting("fourth")
            third.process.kill()
            took = await self._edit(config_maps, namespace, name, 1_001)
            yield self._figure("failover.kill_seconds", "s", [took])
            await fourth.rested()
            await self._waiting("fifth")
            stopping = asyncio.get_running_loop().run_in_executor(None, fourth.process.stop)
            waits = await self._edit_meanwhile(config_maps)
            await stopping
            yield self._figure("failover.graceful_seconds", "s", [max(waits)], edits=len(waits))

    async def _waiting(self, name: str) -> OperatorProcess:
        """Another replica, which knows the cluster and has heard every gateway, and waits for the Lease."""
        replica = self.start(name)

        async def knows() -> bool:
            counts = await replica.counts()
            # Each gateway reports once a second, in turn.
            return counts.unread >= 2 * self.fleet.venues and await replica.ready()

        await until(f"{name} to know what a leader knows", knows)
        return replica

    async def _say(self, subject: str, text: bytes) -> None:
        await self.bus.publish(subject, text)
        await self.bus.flush()


def _is(item: Object, type_: str, status: str) -> bool:
    conditions = (item.get("status") or {}).get("conditions") or []
    return any(one["type"] == type_ and one["status"] == status for one in conditions)


def _says(strategies: Watched, place: tuple[str, str], connected: str) -> bool:
    return _is(strategies.objects[place], "VenueConnected", connected)


def _uid(children: Watched, place: tuple[str, str]) -> str:
    return str(children.objects[place]["metadata"]["uid"]) if place in children.objects else ""


def _is_another(children: Watched, place: tuple[str, str], uid: str) -> bool:
    return _uid(children, place) not in ("", uid)


def _content(item: Object) -> Object:
    """What anybody but the API server and controllers writes."""
    metadata = {name: item["metadata"].get(name) for name in ("labels", "annotations", "ownerReferences")}
    return {"metadata": metadata} | {
        name: value for name, value in item.items() if name not in ("apiVersion", "kind", "metadata", "status")
    }


def _is_as_before(children: Watched, place: tuple[str, str], before: Object, version: int) -> bool:
    seen = int(children.objects[place]["metadata"]["resourceVersion"])
    return seen > version and _content(children.objects[place]) == before


async def _each(items: Any, write: Callable[[Object], Any]) -> None:
    """Writes all, several at a time."""
    waiting = iter(items)

    async def writer() -> None:
        for item in waiting:
            await write(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(WRITERS):
            group.create_task(writer())
