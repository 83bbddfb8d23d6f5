"""What the benchmark looks at: the operator's process and its metrics, and the API server's objects."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from crowetrade_api.files import EnvName
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import ApiResource
from crowetrade_operator.errors import ClusterError
from crowetrade_operator_tests.servers import Process, free_port

Object = dict[str, Any]
WAIT_SECONDS = 1_800.0
LOOK_SECONDS = 0.1
QUIET_SECONDS = 1.0
_REQUESTS = "crowetrade_operator_api_requests_total"


class OperatorProcess:
    """One replica of the operator, and its figures since it has started."""

    def __init__(self, folder: Path, name: str, environment: Mapping[str, str]) -> None:
        self._port = free_port()
        self.began = time.monotonic()
        own = {"POD_NAME": name, "HTTP_PORT": str(self._port), EnvName.TERMINATION_LOG: str(folder / f"{name}-ended")}
        self.process = Process(name, [sys.executable, "-m", "crowetrade_operator.main"], folder, {**environment, **own})

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    async def samples(self) -> dict[str, list[tuple[Mapping[str, str], float]]]:
        """Every metric by its name: labels and value."""
        found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        for family in text_string_to_metric_families(await self._metrics()):
            for sample in family.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found

    async def ready(self) -> bool:
        """As the kubelet asks."""
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self._port}/readyz") as answer:
            return answer.status == 200

    async def _metrics(self) -> str:
        """Asks again while its event loop is too busy to answer."""
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.get(f"http://127.0.0.1:{self._port}/metrics") as answer:
                    text = await answer.text()
                if answer.status == 200:
                    return text
                self.process.check()
                await asyncio.sleep(LOOK_SECONDS)

    async def counts(self) -> Counts:
        """What it has done so far; nothing while it does not answer yet."""
        try:
            samples = await self.samples()
        except aiohttp.ClientError:
            self.process.check()
            samples = {}
        return Counts(samples)

    async def quiet(self) -> Counts:
        """Waits until it has nothing to do, and asks nothing of the API server, for a second."""
        return await self._once(lambda before, now: not now.waiting and now.requests == before.requests)

    async def rested(self) -> Counts:
        """Waits until nothing is to be reconciled for a second, and nothing is asked of the API server but to write
        statuses again for their time alone: in a large fleet some always are."""
        return await self._once(
            lambda before, now: not now.queued and now.requests - now.renewed == before.requests - before.renewed
        )

    async def _once(self, rests: Callable[[Counts, Counts], bool]) -> Counts:
        before, since = await self.counts(), time.monotonic()
        while True:
            await asyncio.sleep(0.2)
            counts = await self.counts()
            if not counts.reconciles or not rests(before, counts):
                before, since = counts, time.monotonic()
            elif time.monotonic() - since > QUIET_SECONDS:
                return counts


class Counts:
    """What a replica of the operator has done."""

    def __init__(self, samples: Mapping[str, Sequence[tuple[Mapping[str, str], float]]]) -> None:
        self._samples = samples

    @property
    def requests(self) -> float:
        """To the API server, by its own client and by kopf, besides watches and those for the Lease."""
        return float(self._by_kind().total())

    @property
    def watches(self) -> float:
        """That it has begun, besides that of the Lease."""
        return self._sum(_REQUESTS, lambda labels: labels["resource"] != "leases" and labels["verb"] == "watch")

    @property
    def writes(self) -> float:
        """Of the requests."""
        return self._sum(
            _REQUESTS,
            lambda labels: labels["resource"] != "leases" and labels["verb"] not in ("get", "list", "watch"),
        )

    def requests_since(self, before: Counts) -> dict[str, int]:
        """How many of `requests` there were since then, by verb and resource."""
        then, now = before._by_kind(), self._by_kind()
        return {name: now[name] - then[name] for name in sorted(now) if now[name] > then[name]}

    def _by_kind(self) -> Counter[str]:
        found = Counter[str]()
        for labels, value in self._samples.get(_REQUESTS, ()):
            if labels["resource"] != "leases" and labels["verb"] != "watch":
                found[f"{labels['verb']} {labels['resource']}"] += int(value)
        return found

    @property
    def status_writes(self) -> float:
        """Of the writes."""
        return self._sum("crowetrade_operator_status_writes_total")

    @property
    def renewed(self) -> float:
        """Of the status writes, those that say nothing new but the time."""
        return self._sum("crowetrade_operator_status_writes_total", lambda labels: labels["result"] == "renewed")

    @property
    def reconciles(self) -> float:
        """Of all kinds."""
        return self._sum("crowetrade_operator_reconciles_total")

    @property
    def strategies_reconciled(self) -> float:
        """How often a Strategy was."""
        return self._sum("crowetrade_operator_reconciles_total", lambda labels: labels["kind"] == "Strategy")

    @property
    def unread(self) -> float:
        """Words of gateways that it has kept while it waits."""
        wanted = {"schema": "GatewayStatus", "result": "unread"}
        return self._sum("crowetrade_operator_bus_messages_total", lambda labels: wanted.items() <= labels.items())

    def applied(self, resource: ApiResource) -> float:
        """How often an object of that kind."""
        wanted = {"verb": "apply", "resource": resource.plural}
        return self._sum(_REQUESTS, lambda labels: wanted.items() <= labels.items())

    @property
    def queued(self) -> float:
        """Keys that wait for a worker."""
        return self._sum("crowetrade_operator_queue_depth")

    @property
    def waiting(self) -> float:
        """Keys in the queue, and statuses to be written."""
        return self.queued + self._sum("crowetrade_operator_status_pending")

    def _sum(self, name: str, wanted: Callable[[Mapping[str, str]], bool] = lambda labels: True) -> float:
        return sum(value for labels, value in self._samples.get(name, ()) if wanted(labels))


async def until(what: str, check: Callable[[], Awaitable[bool]], seconds: float = WAIT_SECONDS) -> float:
    """Looks until it holds; returns the time of the monotonic clock at which it did."""
    deadline = time.monotonic() + seconds
    while not await check():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(LOOK_SECONDS)
    return time.monotonic()


class Watched:
    """The objects of a kind as a watch brings them, each with the time at which it came."""

    def __init__(self, cluster: Cluster, resource: ApiResource) -> None:
        self._cluster = cluster
        self._resource = resource
        self._changed = asyncio.Event()
        self.objects: dict[tuple[str, str], Object] = {}

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[Watched]:
        """Follows the changes until the end of the block."""
        items, version = await self._cluster.list(self._resource)
        for item in items:
            self._take("ADDED", item)
        task = asyncio.create_task(self._follow(version))
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def until(self, wanted: Callable[[], bool], seconds: float) -> float | None:
        """The time of the monotonic clock at which it held; None when it did not."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not wanted():
                    self._changed.clear()
                    await self._changed.wait()
                return time.monotonic()
        return None

    async def _follow(self, version: str) -> None:
        while True:
            with contextlib.suppress(ClusterError):
                async for type_, item in self._cluster.watch(self._resource, version):
                    version = item["metadata"]["resourceVersion"]
                    if type_ != "BOOKMARK":
                        self._take(type_, item)

    def _take(self, type_: str, item: Object) -> None:
        place = item["metadata"]["namespace"], item["metadata"]["name"]
        if type_ == "DELETED":
            self.objects.pop(place, None)
        else:
            self.objects[place] = item
        self._changed.set()
