"""A strategy that trades at a real gateway is moved to another one: what it holds there is never orphaned."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_api.names import INSTRUMENTS_ANNOTATION
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import CONFIG_MAPS, RISK_LIMITS, STRATEGIES, VENUES
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.integration.desk import Desk, condition_of, running
from crowetrade_operator_tests.integration.processes import SAMPLES, agents, gateway
from crowetrade_operator_tests.samples import change, limit_manifest, strategy_manifest, venue_manifest
from crowetrade_operator_tests.servers import ApiServer, nats_client
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
FAST: Object = {"speed": "36000", "loop": True, "maxGapSeconds": "3600"}


def _eager() -> Object:
    """It trades within a second, holds a position nearly always, and closes it when it is deleted."""
    manifest = change(strategy_manifest(), "spec.model.parameters", {"fast": 3, "slow": 8})
    manifest = change(manifest, "spec.policy.entryGate", {"minProbEdge": "0.5"})
    return change(manifest, "spec.deletionPolicy", "Flatten")


def _to(venue: str, policy: str = "WhenFlat") -> Object:
    instruments = [{"symbol": "EUR-USD", "venueRef": {"name": venue}}]
    return {"spec": {"instruments": instruments, "agents": {"updatePolicy": policy}}}


def _venue(name: str = "sim-fx", symbol: str = "EUR-USD", currency: str = "USD") -> Object:
    manifest = change(venue_manifest(name), "spec.simulated.replay", FAST)
    manifest = change(manifest, "spec.simulated.data.0.symbol", symbol)
    return change(change(manifest, "spec.instruments.0.symbol", symbol), "spec.instruments.0.currency", currency)


@contextlib.asynccontextmanager
async def _two_gateways(
    desk: Desk, api_server: ApiServer, nats_url: str, folder: Path, other: Object | None = None
) -> AsyncIterator[dict[str, int]]:
    """The strategy at sim-fx, and sim-b beside it; yields the ports of their order entry."""
    for manifest in (_venue(), other or _venue("sim-b")):
        await desk.create(VENUES, manifest)
    await desk.create(RISK_LIMITS, limit_manifest())
    await desk.create(STRATEGIES, _eager())
    for name in ("venue-sim-fx", "venue-sim-b", "strategy-ema"):
        await desk.deployment_ready(name)
    async with (
        gateway(desk, api_server, nats_url, folder / "sim-fx") as (old, _),
        gateway(desk, api_server, nats_url, folder / "sim-b", "sim-b") as (new, _),
    ):
        for name in ("sim-fx", "sim-b"):
            await desk.condition(VENUES, name, "SessionEstablished", "True")
        yield {"sim-fx": old, "sim-b": new}


async def _status(desk: Desk) -> Object:
    status: Object = (await desk.get(STRATEGIES, "ema"))["status"]
    return status


async def _holds_something(desk: Desk, venue: str = "sim-fx") -> bool:
    return any(item["venue"] == venue and Decimal(item["quantity"]) != 0 for item in (await _status(desk))["position"])


async def _is_told(desk: Desk, venue: str, state: config_pb2.TradingState.ValueType) -> bool:
    return [item.state for item in (await desk.config(venue)).strategies] == [state]


async def _may_open(desk: Desk, *symbols: str, venue: str = "sim-fx") -> bool:
    """Whether the configuration says that the strategy is active, and opens positions in these alone."""
    found = [(item.state, list(item.symbols)) for item in (await desk.config(venue)).strategies]
    return found == [(config_pb2.TRADING_STATE_ACTIVE, list(symbols))]


async def _agents_run_at(desk: Desk) -> str:
    return str((await desk.get(CONFIG_MAPS, "strategy-ema"))["metadata"]["annotations"][INSTRUMENTS_ANNOTATION])


async def test_its_agents_close_what_they_have_before_they_move(
    desk: Desk, api_server: ApiServer, nats_url: str, tmp_path: Path
) -> None:
    async with (
        _two_gateways(desk, api_server, nats_url, tmp_path) as ports,
        agents(desk, nats_url, tmp_path / "agents", ports),
    ):
        await until("a position at the old venue", lambda: _holds_something(desk))

        await desk.patch(STRATEGIES, "ema", _to("sim-x"))
        await desk.condition(STRATEGIES, "ema", "VenueConnected", "False", "VenueNotFound")
        await desk.idle()
        assert await _may_open(desk, "EUR-USD"), "a typo stops nobody"
        before = (await _status(desk))["orders"]["sentTotal"]

        async def goes_on() -> bool:
            status = await _status(desk)
            trading = condition_of({"status": status}, "Trading")
            return bool(status["orders"]["sentTotal"] > before and trading["status"] == "True")

        await until("orders at the old venue", goes_on)
        await until("a position again", lambda: _holds_something(desk))

        await desk.patch(STRATEGIES, "ema", _to("sim-b"))
        await until("CloseOnly", lambda: _may_open(desk))

        async def moved() -> bool:
            return await _agents_run_at(desk) == f"{desk.namespace}/sim-b/EUR-USD"

        await until("the move", moved)

        await _left_with_nothing(desk)


async def test_with_another_currency_it_closes_what_it_has_at_the_old_venue_before_it_moves(
    desk: Desk, api_server: ApiServer, nats_url: str, tmp_path: Path
) -> None:
    """Instrument, venue and capital change at once."""
    yen = _venue("sim-b", "EUR-JPY", "JPY")
    capital = {"amount": "150000000", "currency": "JPY"}
    move = {"spec": {"instruments": [{"symbol": "EUR-JPY", "venueRef": {"name": "sim-b"}}], "capital": capital}}
    async with _two_gateways(desk, api_server, nats_url, tmp_path, yen) as ports:
        # An amount of dollars, into which no quote of the new venue converts.
        await desk.patch(RISK_LIMITS, "fx-desk", {"spec": {"limits": {"maxOrderNotional": None}}})
        await _leave_with_a_position(desk, nats_url, tmp_path, ports)
        await desk.patch(STRATEGIES, "ema", move)
        await until("CloseOnly", lambda: _may_open(desk))
        await until("the new one to serve it", lambda: _is_told(desk, "sim-b", config_pb2.TRADING_STATE_ACTIVE))
        await desk.condition(STRATEGIES, "ema", "Reconciling", "True", "WaitingForFlat")
        await desk.idle()
        assert await _agents_run_at(desk) == f"{desk.namespace}/sim-fx/EUR-USD", "it has something there"
        async with agents(desk, nats_url, tmp_path / "agents", ports):

            async def moved() -> bool:
                return await _agents_run_at(desk) == f"{desk.namespace}/sim-b/EUR-JPY"

            await until("the move", moved)
        await _left_with_nothing(desk)
        async with agents(desk, nats_url, tmp_path / "agents", ports):
            await until("a position at the new venue", lambda: _holds_something(desk, "sim-b"))
            assert (await _status(desk))["pnl"]["currency"] == "JPY"


async def _left_with_nothing(desk: Desk) -> None:
    """Waits until the old venue serves the strategy no more; it must be flat there."""

    async def served() -> bool:
        return [item["name"] for item in (await _status(desk))["venues"]] == ["sim-b"]

    await until("nothing to be left", served)
    heard = desk.parts.context.bus.board.gateway(desk.namespace, "sim-fx")
    assert heard is not None
    assert [item.quantity for item in heard.message.positions if Decimal(item.quantity) != 0] == []

    async def unbound() -> bool:
        return not (await desk.config("sim-fx")).strategies

    await until("the old gateway to serve it no more", unbound)


async def _ended_with_a_position(desk: Desk, nats_url: str, folder: Path, ports: dict[str, int]) -> bool:
    async with agents(desk, nats_url, folder / "agents", ports):
        await until("a position at the old venue", lambda: _holds_something(desk))

    await until("the session of the agents to end", lambda: not _account(desk).connected)
    return any(Decimal(item.quantity) != 0 for item in _account(desk).positions)


async def _leave_with_a_position(desk: Desk, nats_url: str, folder: Path, ports: dict[str, int]) -> None:
    """Without agents nothing is reduced; they may have been flat for a moment just when they ended."""
    while not await _ended_with_a_position(desk, nats_url, folder, ports):
        pass


def _account(desk: Desk) -> status_pb2.StrategyAccount:
    """What the old gateway said last."""
    heard = desk.parts.context.bus.board.gateway(desk.namespace, "sim-fx")
    assert heard is not None
    return next(item for item in heard.message.accounts if item.strategy == "ema")


async def test_what_an_immediate_move_leaves_is_flattened_by_a_deletion_under_another_operator(
    cluster: Cluster, namespace: str, api_server: ApiServer, nats_url: str, settings: Settings, tmp_path: Path
) -> None:
    async with nats_client(nats_url) as bus, contextlib.AsyncExitStack() as gateways:
        async with running(settings) as operator:
            desk = Desk(cluster, namespace, bus, operator)
            ports = await gateways.enter_async_context(_two_gateways(desk, api_server, nats_url, tmp_path))
            await _leave_with_a_position(desk, nats_url, tmp_path, ports)
            await desk.patch(STRATEGIES, "ema", _to("sim-b", "Immediate"))

            async def moved() -> bool:
                return await _agents_run_at(desk) == f"{namespace}/sim-b/EUR-USD"

            await until("the move", moved)
            await desk.condition(STRATEGIES, "ema", "LeftBehind", "True", "CloseOnly")
        async with running(settings) as operator:
            desk = Desk(cluster, namespace, bus, operator)
            await desk.idle()
            await desk.condition(STRATEGIES, "ema", "LeftBehind", "True", "CloseOnly")
            await desk.delete(STRATEGIES, "ema")
            await until("Flatten", lambda: _is_told(desk, "sim-fx", config_pb2.TRADING_STATE_FLATTEN))
            await desk.gone(STRATEGIES, "ema")
            event = await desk.told("ema", "Stopped")
            assert event["type"] == "Normal"
            assert "sim-b, sim-fx has confirmed" in event["note"]
            assert not await desk.events("ema", "PositionLeft")


def _pair(*symbols: str, policy: str = "WhenFlat") -> Object:
    instruments = [{"symbol": symbol, "venueRef": {"name": "sim-fx"}} for symbol in symbols]
    return {"spec": {"instruments": instruments, "agents": {"updatePolicy": policy}}}


@contextlib.asynccontextmanager
async def _gateway_of_a_pair(
    desk: Desk, api_server: ApiServer, nats_url: str, folder: Path
) -> AsyncIterator[dict[str, int]]:
    """The strategy in EUR-USD at sim-fx, which lists GBP-USD, too, with the same quotes; yields the port of its order
    entry."""
    (samples := folder / "samples").mkdir()
    for name in ("eurusd-1h.csv", "googl-1d.csv"):
        shutil.copy(SAMPLES / "eurusd-1h.csv", samples / name)
    manifest = _venue()
    first, data = manifest["spec"]["instruments"][0], manifest["spec"]["simulated"]["data"][0]
    manifest = change(manifest, "spec.instruments", [first, {**first, "symbol": "GBP-USD"}])
    manifest = change(manifest, "spec.simulated.data", [data, {"symbol": "GBP-USD", "sample": "googl-1d"}])
    await desk.create(VENUES, manifest)
    await desk.create(RISK_LIMITS, limit_manifest())
    await desk.create(STRATEGIES, _eager())
    for name in ("venue-sim-fx", "strategy-ema"):
        await desk.deployment_ready(name)
    async with gateway(desk, api_server, nats_url, folder / "sim-fx", samples=samples) as (port, _):
        await desk.condition(VENUES, "sim-fx", "SessionEstablished", "True")
        yield {"sim-fx": port}


async def test_in_another_instrument_of_its_venue_its_agents_close_what_they_have_before_they_move(
    desk: Desk, api_server: ApiServer, nats_url: str, tmp_path: Path
) -> None:
    async with _gateway_of_a_pair(desk, api_server, nats_url, tmp_path) as ports:
        await _leave_with_a_position(desk, nats_url, tmp_path, ports)
        await desk.patch(STRATEGIES, "ema", _pair("GBP-USD"))
        await until("only the new instrument to be traded", lambda: _may_open(desk, "GBP-USD"))
        await desk.condition(STRATEGIES, "ema", "LeftBehind", "True", "CloseOnly")
        assert "EUR-USD at sim-fx. The agents still trade it" in await _left(desk)
        await desk.condition(STRATEGIES, "ema", "Reconciling", "True", "WaitingForFlat")
        await desk.idle()
        assert await _agents_run_at(desk) == f"{desk.namespace}/sim-fx/EUR-USD", "it has something there"

        async def moved() -> bool:
            return await _agents_run_at(desk) == f"{desk.namespace}/sim-fx/GBP-USD"

        async with agents(desk, nats_url, tmp_path / "agents", ports):
            await until("the move", moved)
        assert [item for item in _account(desk).positions if Decimal(item.quantity) != 0] == []
        await until("nothing to be left", lambda: _says_nothing_is_left(desk))
        async with agents(desk, nats_url, tmp_path / "agents", ports):
            await until("a position in the new instrument", lambda: _holds(desk, "GBP-USD"))
        assert not _holds(desk, "EUR-USD")


async def _left(desk: Desk) -> str:
    """What the condition LeftBehind says; empty when it is not there."""
    return str(condition_of({"status": await _status(desk)}, "LeftBehind").get("message", ""))


async def _says_nothing_is_left(desk: Desk) -> bool:
    return not await _left(desk)


def _holds(desk: Desk, symbol: str) -> bool:
    """As the gateway said last."""
    positions = _account(desk).positions
    return any(item.instrument.symbol == symbol and Decimal(item.quantity) != 0 for item in positions)


async def test_what_an_immediate_move_leaves_in_the_old_instrument_is_told_and_flattened_by_a_deletion(
    desk: Desk, api_server: ApiServer, nats_url: str, tmp_path: Path
) -> None:
    async with _gateway_of_a_pair(desk, api_server, nats_url, tmp_path) as ports:
        await _leave_with_a_position(desk, nats_url, tmp_path, ports)
        await desk.patch(STRATEGIES, "ema", _pair("GBP-USD", policy="Immediate"))

        async def moved() -> bool:
            return await _agents_run_at(desk) == f"{desk.namespace}/sim-fx/GBP-USD"

        await until("the move", moved)
        await desk.condition(STRATEGIES, "ema", "LeftBehind", "True", "CloseOnly")
        assert "No agent closes position" in await _left(desk)
        await until("only the new instrument to be traded", lambda: _may_open(desk, "GBP-USD"))
        async with agents(desk, nats_url, tmp_path / "agents", ports):
            await until("a position in the new instrument", lambda: _holds(desk, "GBP-USD"))
        assert _holds(desk, "EUR-USD"), "nobody has touched it"
        await desk.delete(STRATEGIES, "ema")
        await desk.gone(STRATEGIES, "ema")
        assert not await desk.events("ema", "PositionLeft")
