"""Two never work at once, whatever is slow, lost or frozen: many histories on virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import random
import selectors
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.lease import Elector
from crowetrade_operator.cluster.resources import ApiResource
from crowetrade_operator.errors import Conflict, LeaseLost, NotFound
from crowetrade_operator.settings import LeaseTimes

Object = dict[str, Any]
TIMES = LeaseTimes(duration=15.0, renew=10.0, retry=2.0)
FAULTS_SECONDS, CALM_SECONDS = 240.0, 60.0
FOR_EVER = 1e6


class _Jumping(selectors.DefaultSelector):
    """Never waits: time jumps instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += timeout or 0.0
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer when nothing is left to run."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


class LeaseStore:
    """The Lease as the API server has it, and what was written under which epoch."""

    def __init__(self) -> None:
        self.lease: Object | None = None
        self.version = 0
        self.written: list[tuple[float, str, int]] = []

    def get(self) -> Object:
        if self.lease is None:
            raise NotFound("get", "lease", 404, "no Lease")
        return copy.deepcopy(self.lease)

    def put(self, body: Object, is_new: bool) -> Object:
        stored = self.lease["metadata"]["resourceVersion"] if self.lease is not None else None
        if (is_new and stored is not None) or (not is_new and body["metadata"]["resourceVersion"] != stored):
            raise Conflict("update", "lease", 409, "changed meanwhile")
        self.version += 1
        self.lease = copy.deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return self.get()

    def work(self, name: str, epoch: int) -> None:
        """A write of a candidate takes effect now."""
        assert self.lease is not None
        spec = self.lease["spec"]
        assert (spec["holderIdentity"], spec["leaseTransitions"]) == (name, epoch), (
            f"{name} wrote under epoch {epoch} while {spec['holderIdentity']} led under {spec['leaseTransitions']}"
        )
        self.written.append((asyncio.get_running_loop().time(), name, epoch))


class Candidate:
    """One replica: an elector, a line to the API server that may fail it, and work that writes while it leads."""

    def __init__(self, name: str, store: LeaseStore, rng: random.Random) -> None:
        self.name = name
        self._store = store
        self._rng = rng
        self._frozen_until = 0.0
        self._loop = asyncio.get_running_loop()

    async def get(self, _resource: ApiResource, _namespace: str, _name: str) -> Object:
        return await self._request(self._store.get)

    async def create(self, _resource: ApiResource, _namespace: str, body: Object) -> Object:
        return await self._request(lambda: self._store.put(body, is_new=True))

    async def replace(self, _resource: ApiResource, _namespace: str, _name: str, body: Object) -> Object:
        return await self._request(lambda: self._store.put(body, is_new=False))

    async def _request(self, carry_out: Any) -> Object:
        """The request arrives after a while, also when nobody waits for its answer any more; or never."""
        await self._awake()
        arrived: asyncio.Future[Object] = self._loop.create_future()

        def arrive() -> None:
            try:
                answer = carry_out()
            except (NotFound, Conflict) as error:
                if not arrived.done():
                    arrived.set_exception(error)
            else:
                if not arrived.done():
                    arrived.set_result(answer)

        self._loop.call_later(self._delay(), arrive)
        answer = await arrived
        await asyncio.sleep(self._delay())
        await self._awake()
        return answer

    def _delay(self) -> float:
        if self._loop.time() > FAULTS_SECONDS:
            return self._rng.uniform(0.0, 0.2)
        return self._rng.choice((0.0, 0.05, self._rng.uniform(0.0, 3.0), self._rng.uniform(0.0, 14.0), FOR_EVER))

    async def _awake(self) -> None:
        while self._loop.time() < self._frozen_until:
            await asyncio.sleep(self._frozen_until - self._loop.time())

    async def freezes(self) -> None:
        """From time to time it stands still for up to 40 s."""
        while True:
            await asyncio.sleep(self._rng.uniform(1.0, 60.0))
            if self._loop.time() < FAULTS_SECONDS:
                self._frozen_until = self._loop.time() + self._rng.uniform(0.0, 40.0)

    async def lives(self) -> None:
        """Waits, leads, loses and starts again, as Kubernetes would have it."""
        while True:
            cluster = cast(Cluster, self)
            elector = Elector(cluster, "system", "lease", self.name, TIMES, self._loop.time)
            await elector.acquire()
            working = asyncio.create_task(self._works(elector))
            with contextlib.suppress(LeaseLost):
                await elector.hold()
            working.cancel()
            # The requests of a process end with it; here they go on for as long as they may.
            await asyncio.sleep(TIMES.duration - TIMES.renew + self._rng.uniform(0.0, 3.0))

    async def _works(self, elector: Elector) -> None:
        while True:
            await asyncio.sleep(self._rng.uniform(0.0, 1.0))
            await self._awake()
            left = elector.seconds_left()
            if left > 0.0:
                delay = self._rng.choice((0.0, self._rng.uniform(0.0, left), left))
                self._loop.call_later(delay, self._store.work, self.name, elector.epoch)


def _history(seed: int) -> LeaseStore:
    failures: list[Object] = []

    async def run() -> LeaseStore:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        store, rng = LeaseStore(), random.Random(seed)
        candidates = [Candidate(name, store, rng) for name in ("a", "b")]
        tasks = [asyncio.create_task(work) for one in candidates for work in (one.lives(), one.freezes())]
        await asyncio.sleep(FAULTS_SECONDS + CALM_SECONDS)
        for task in tasks:
            task.cancel()
        return store

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        store = runner.run(run())
    assert not failures, failures[0].get("exception") or failures[0]
    return store


@pytest.mark.no_cover
@given(seed=st.integers(0, 2**32))
@settings(max_examples=150)
def test_who_writes_holds_the_lease_under_the_epoch_that_it_writes(seed: int) -> None:
    """Requests are slow or lost, answers too, processes stand still; and when all that is over somebody leads."""
    store = _history(seed)
    epochs = [epoch for _, _, epoch in store.written]
    assert epochs == sorted(epochs)
    assert any(at > FAULTS_SECONDS + CALM_SECONDS / 2 for at, _, _ in store.written), "nobody leads"


def test_histories_are_not_idle() -> None:
    """Leaders change, and both write."""
    stores = [_history(seed) for seed in range(20)]
    assert sum(len({epoch for _, _, epoch in store.written}) for store in stores) > 60
    assert {name for store in stores for _, name, _ in store.written} == {"a", "b"}
