"""The operator: looking at one strategy again because its gateway has spoken, in a namespace of many."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import yaml

from benchmarks.figures import Figure, durations
from crowetrade.bus.v1 import instrument_pb2, status_pb2
from crowetrade_api.names import FIELD_MANAGER, FINALIZER, Key, Kind, control_address
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_operator.bus.board import Board
from crowetrade_operator.bus.nats import Bus
from crowetrade_operator.cluster.cache import Cache
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.compare import with_hash
from crowetrade_operator.cluster.events import Recorder
from crowetrade_operator.cluster.status import StatusWriter
from crowetrade_operator.control.orders import DirectOrders
from crowetrade_operator.decide import strategy
from crowetrade_operator.reconcile.context import Context
from crowetrade_operator.reconcile.controller import Controller
from crowetrade_operator.settings import Settings

NAMESPACE = "bench"
STRATEGIES = 300
ROUNDS = 5
SAMPLES = Path(__file__).parent.parent / "samples"
Object = dict[str, Any]
READY = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}


def stored(manifest: Object, name: str) -> Object:
    """As the API server holds it."""
    metadata = {
        **manifest["metadata"],
        "name": name,
        "namespace": NAMESPACE,
        "uid": f"uid-{manifest['kind']}-{name}",
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": "2026-01-05T09:00:00Z",
        "finalizers": [FINALIZER],
    }
    return {**manifest, "metadata": metadata}


def samples() -> Iterator[Object]:
    """The sample venue and limit, and as many copies of the sample strategy."""
    for name in ("venue-sim-fx", "risklimit-fx-desk"):
        item = yaml.safe_load((SAMPLES / f"{name}.yaml").read_text())
        yield stored(item, item["metadata"]["name"])
    one = yaml.safe_load((SAMPLES / "strategy-eurusd-ema.yaml").read_text())
    for number in range(STRATEGIES):
        yield stored(one, f"s{number}")


def gateway_status(context: Context, venue: str, round_: int) -> status_pb2.GatewayStatus:
    """What the gateway says in one second: every position and mark has moved."""
    around = context.surroundings(NAMESPACE)
    config = around.config(around.venues[venue])
    status = status_pb2.GatewayStatus(
        namespace=NAMESPACE,
        venue=venue,
        pod="bench",
        sent_unix_ns=round_,
        session=status_pb2.SESSION_STATE_LOGGED_ON,
        fencing_token=1,
        config_revision=config.revision,
    )
    for rule in config.rules:
        serialized = rule.SerializeToString(deterministic=True)
        status.risk_acknowledgements.add(
            risk_limit=rule.risk_limit, uid=rule.uid, hash=hashlib.sha256(serialized).hexdigest()
        )
    for number in range(STRATEGIES):
        account = status.accounts.add(strategy=f"s{number}", connected=True, risk_limits=[config.rules[0].risk_limit])
        account.positions.add(
            instrument=instrument_pb2.InstrumentId(venue=venue, symbol="EUR-USD"),
            quantity=str(1000 * (round_ + 1)),
            average_price="1.1",
            mark_price=str(Decimal("1.1") + Decimal(round_) / 10_000),
            realized_pnl="0",
            unrealized_pnl=str(round_),
            fees="0.1",
        )
    return status


async def rounds() -> list[int]:
    """Nanoseconds of each reconcile: everything but the network, which a reconcile without a change does not use."""
    cache, bus = Cache(), Bus("nats://127.0.0.1:9", Board())
    bus.connected = True
    settings = Settings(operator_namespace="bench", pod_name="bench", namespaces=(NAMESPACE,))
    nowhere = cast(Cluster, None)
    context = Context(
        settings,
        nowhere,
        cache,
        bus,
        DirectOrders(control_address),
        StatusWriter(nowhere, 50.0),
        Recorder(nowhere, "bench"),
    )
    controller = Controller(context)
    for item in samples():
        cache.put(item)
    keys = [Key(Kind.STRATEGY, NAMESPACE, f"s{number}") for number in range(STRATEGIES)]
    around = context.surroundings(NAMESPACE)
    venue = next(iter(around.venues))
    for key in keys:
        resource = context.strategy(key)
        assert isinstance(resource, Strategy)
        observed = strategy.Observed(resource, around, context.children(key), (), context.now())
        for child in strategy.plan(observed, settings).apply:
            live = with_hash(child)
            ours: Object = {f"f:{name}": {} for name in live if name not in ("apiVersion", "kind")}
            entry = {"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": ours}
            metadata = {**live["metadata"], "uid": f"uid-{key.name}", "resourceVersion": "1", "generation": 1}
            metadata["managedFields"] = [entry]
            cache.put({**live, "metadata": metadata, "status": READY})
    taken = []
    for round_ in range(ROUNDS):
        bus.board.hear_gateway(gateway_status(context, venue, round_))
        for key in keys:
            begin = time.perf_counter_ns()
            await controller.reconcile(key)
            taken.append(time.perf_counter_ns() - begin)
    controller.queue.close()
    return taken


def reconcile() -> Iterator[Figure]:
    """One strategy of 300 in a namespace."""
    yield durations("operator.reconcile", "us", asyncio.run(rounds()), strategies=STRATEGIES)
