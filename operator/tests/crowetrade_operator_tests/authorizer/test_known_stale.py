"""How long ago the API server has answered is measured, and what was seen counts for an hour."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
from nats.aio.client import Client

from crowetrade_operator.authorizer import known as known_module
from crowetrade_operator.authorizer import main as main_module
from crowetrade_operator.authorizer import metrics
from crowetrade_operator.authorizer.known import STALE_SECONDS, Known
from crowetrade_operator.authorizer.main import AuthorizerProcess
from crowetrade_operator.authorizer.open_connections import OpenConnections
from crowetrade_operator.authorizer.settings import AuthorizerSettings
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.cluster.resources import VENUES, ApiResource
from crowetrade_operator.errors import ClusterUnavailable
from crowetrade_operator_tests.waiting import until
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.server_authorizer import SUBJECT
from crowetrade_process.stopping import cancelled

Event = tuple[str, Object]


class Line:
    """An API server that answers when the test says so."""

    def __init__(self) -> None:
        self.away = False
        self.events: dict[str, asyncio.Queue[Event | None]] = {}
        """By namespace, of the watch; None ends it."""
        self.lists = 0
        self.unwatched = False

    async def list(self, resource: ApiResource, namespace: str = "") -> tuple[list[Object], str]:
        self.lists += 1
        if self.away:
            raise ClusterUnavailable("list", namespace, 0, "no answer")
        return [_object(namespace, "sim")], "1"

    async def watch(
        self, resource: ApiResource, version: str, namespace: str, *, begun: Callable[[], None]
    ) -> AsyncIterator[Event]:
        events = self.events[namespace] = asyncio.Queue()
        if self.unwatched:
            raise ClusterUnavailable("watch", namespace, 0, "no answer")
        begun()
        while event := await events.get():
            yield event
        raise ClusterUnavailable("watch", namespace, 0, "ended")


def _object(namespace: str, name: str) -> Object:
    return {"metadata": {"namespace": namespace, "name": name, "resourceVersion": "2"}}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@contextlib.asynccontextmanager
async def following(line: Line, clock: Clock, *namespaces: str) -> AsyncIterator[Known[bool]]:
    venues = Known(cast(Cluster, line), VENUES, lambda _: True, metrics.VENUES, namespaces, clock)
    task = asyncio.create_task(venues.run())
    try:
        await until("the watches", lambda: line.events.keys() == set(namespaces))
        yield venues
    finally:
        await cancelled(task)


def age(namespace: str) -> float:
    (family,) = metrics.ANSWER_AGE_SECONDS.labels(VENUES.kind, namespace).collect()
    return family.samples[0].value


async def test_every_answer_counts_and_bookmarks_too() -> None:
    line, clock = Line(), Clock()
    async with following(line, clock, "desk") as venues:
        assert age("desk") == 0
        clock.now += 40
        assert age("desk") == 40
        venues.changed.clear()
        line.events["desk"].put_nowait(("BOOKMARK", _object("", "")))
        await until("the bookmark", venues.changed.is_set)
        assert age("desk") == 0


async def test_a_list_counts_where_nothing_may_be_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_module, "RETRY_SECONDS", 0.01)
    line, clock = Line(), Clock()
    line.unwatched = True
    async with following(line, clock, "desk"):
        clock.now += 40
        await until("the next list", lambda: age("desk") == 0)


async def test_a_place_that_has_never_answered_ages_from_the_start() -> None:
    clock = Clock()
    Known(cast(Cluster, Line()), VENUES, lambda _: True, metrics.VENUES, ("never",), clock)
    clock.now += 7
    assert age("never") == 7


async def test_after_an_hour_without_an_answer_nothing_counts_until_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(known_module, "RETRY_SECONDS", 0.01)
    line, clock = Line(), Clock()
    async with following(line, clock, "desk", "other") as venues:
        line.away = True
        line.events["desk"].put_nowait(None)
        before = line.lists
        await until("it to be asked for", lambda: line.lists > before)
        clock.now += STALE_SECONDS
        venues.changed.clear()
        line.events["other"].put_nowait(("BOOKMARK", _object("", "")))
        await until("the bookmark", venues.changed.is_set)
        assert venues.get("desk", "sim") is True, "not yet an hour"
        assert venues.problem == ""
        clock.now += 1
        assert venues.get("desk", "sim") is None
        assert venues.get("other", "sim") is True, "this one has answered"
        assert venues.problem == "the API server has said nothing of the venueconnections of desk for an hour"
        line.away = False
        await until("it to be known again", lambda: venues.get("desk", "sim") is True)
        assert venues.problem == ""


class Bus:
    """Records who is told that this authorizer can judge everybody."""

    def __init__(self) -> None:
        self.subjects: list[str] = []

    async def subscribe(self, subject: str) -> Bus:
        self.subjects.append(subject)
        return self

    async def unsubscribe(self) -> None:
        self.subjects.clear()


async def test_a_replica_is_ready_and_asked_while_it_knows_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main_module, "LOOK_SECONDS", 0.01)
    line, clock, bus = Line(), Clock(), Bus()
    process = AuthorizerProcess(cast(AuthorizerSettings, None), {}, asyncio.Event())

    class Nobody:
        knows_revoked = False

    async with following(line, clock, "desk") as venues:
        tasks: list[asyncio.Task[Any]] = [
            asyncio.create_task(process._follow("venues", venues)),
            asyncio.create_task(
                process._know_everybody(cast(Client, bus), cast(Identity, Nobody()), OpenConnections(), venues)
            ),
        ]
        try:
            await until("it to be ready", lambda: process.health.ready and bus.subjects == [SUBJECT])
            clock.now += STALE_SECONDS + 1
            await until("it not to be ready", lambda: not process.health.ready and not bus.subjects)
            assert "for an hour" in process.health.waiting["venues"]
            line.events["desk"].put_nowait(("BOOKMARK", _object("", "")))
            await until("it to be ready again", lambda: process.health.ready and bus.subjects == [SUBJECT])
        finally:
            await cancelled(*tasks)
