"""A gateway end to end: real NATS, real gRPC, the order path as in production."""

from __future__ import annotations

import asyncio
import hashlib
from decimal import Decimal
from pathlib import Path

import grpc
import nats
import pytest
from nats.aio.client import Client

from crowetrade import subjects
from crowetrade.bus.v1 import market_data_pb2 as md
from crowetrade.bus.v1 import orders_pb2, status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_agents.errors import JournalUnavailable, Overtaken
from crowetrade_agents.gateway.journal import open_journal, read, verify

from .harness import (
    NAMESPACE,
    STRATEGY,
    SYMBOL,
    VENUE,
    WAIT_SECONDS,
    books,
    configuration,
    configure,
    new_order,
    running,
    session,
    start,
    status_when,
    venue_config,
)

pytestmark = pytest.mark.integration


async def journal_of(bus: Client) -> list[orders_pb2.JournalEvent]:
    payloads, _ = await read(bus.jetstream(), NAMESPACE, VENUE)
    return verify(payloads)


async def test_an_order_is_journaled_sent_filled_and_accounted(bus: Client) -> None:
    await configure(bus, configuration())
    async with running(bus, books(3)) as gateway:
        await status_when(bus, "s.config_revision == 'r1'")
        async with session(gateway) as (trader, snapshot):
            assert snapshot.lock_step
            await status_when(bus, "s.market_data_sequence == 1")
            reports = await trader.order("a-1", "2000")
        assert [orders_pb2.ExecType.Name(r.exec_type) for r in reports] == [
            "EXEC_TYPE_PENDING_NEW",
            "EXEC_TYPE_NEW",
            "EXEC_TYPE_TRADE",
        ]
        fill = reports[-1].fill
        assert (fill.last_quantity, fill.last_price, fill.fee) == ("2000", "1.1001", "0.044004")
        status = await status_when(bus, "s.accounts and s.accounts[0].filled_total == 1")
    account = status.accounts[0]
    assert (account.positions[0].quantity, account.positions[0].mark_price) == ("2000", "1.10005")
    assert account.positions[0].unrealized_pnl == "-0.1"
    assert account.positions[0].fees == "0.044004"
    assert next(e.WhichOneof("event") for e in await journal_of(bus)) == "session_started"
    assert status.utilisation[0].used == "2000"
    assert status.risk_acknowledgements[0].generation == 3


async def test_a_part_fills_when_the_quote_shows_less_and_the_rest_is_cancelled(bus: Client) -> None:
    await configure(bus, configuration())
    async with running(bus, books(2)) as gateway:
        await status_when(bus, "s.config_revision == 'r1'")
        async with session(gateway) as (trader, _):
            await status_when(bus, "s.market_data_sequence == 1")
            reports = await trader.order("a-1", "8000")
    assert reports[-1].ord_status == orders_pb2.ORD_STATUS_CANCELED
    assert (reports[-1].cum_quantity, reports[-1].reason) == ("5000", "ImmediateRemainder")


@pytest.mark.parametrize(
    ("message", "fields", "reason"),
    [
        (configuration(rule=False), {}, "NoLimitInForce"),
        (configuration(halted=True), {}, "VenueHalted"),
        (configuration(), {"order_quantity": "11000"}, "MaxOrderQuantity"),
        (configuration(), {"order_quantity": "1500"}, "InvalidQuantity"),
        (configuration(), {"order_quantity": "NaN"}, "InvalidQuantity"),
        (configuration(), {"price": "1.200001"}, "InvalidPrice"),
        (configuration(), {"price": ""}, "InvalidPrice"),
        (configuration(), {"price": "inf"}, "InvalidPrice"),
        (configuration(), {"symbol": "GBP-USD"}, "UnknownInstrument"),
        (configuration(), {"strategy": "other"}, "UnknownStrategy"),
        (configuration(), {"side": md.SIDE_UNSPECIFIED}, "InvalidOrder"),
        (configuration(), {"time_in_force": orders_pb2.TIME_IN_FORCE_UNSPECIFIED}, "InvalidOrder"),
        (configuration(), {"ord_type": orders_pb2.ORD_TYPE_UNSPECIFIED}, "InvalidOrder"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_may_not_leave_is_refused_with_a_reason(
    bus: Client, message: config_pb2.GatewayConfig, fields: dict[str, object], reason: str
) -> None:
    await configure(bus, message)
    async with running(bus, books(2)) as gateway:
        await status_when(bus, "s.config_revision == 'r1' and s.session == pb.SESSION_STATE_LOGGED_ON")
        async with session(gateway) as (trader, _):
            await status_when(bus, "s.market_data_sequence == 1")
            reports = await trader.order("a-1", **fields)  # type: ignore[arg-type]
    assert [r.reason for r in reports] == [reason]
    assert not any(e.execution_report.exec_type == orders_pb2.EXEC_TYPE_PENDING_NEW for e in await journal_of(bus))


async def test_an_order_that_is_sent_again_is_answered_and_not_sent_twice(bus: Client) -> None:
    await configure(bus, configuration())
    async with running(bus, books(2)) as gateway:
        await status_when(bus, "s.config_revision == 'r1'")
        async with session(gateway) as (trader, _):
            await status_when(bus, "s.market_data_sequence == 1")
            first = await trader.order("a-1")
            again = await trader.order("a-1")
    assert again == [first[-1]]
    assert sum(e.execution_report.exec_type == orders_pb2.EXEC_TYPE_TRADE for e in await journal_of(bus)) == 1


async def test_a_strategy_that_is_not_bound_gets_no_session(bus: Client) -> None:
    await configure(bus, configuration())
    async with running(bus, books(2)) as gateway:
        await status_when(bus, "s.config_revision == 'r1'")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            async with session(gateway, "stranger"):
                pass
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_a_restarted_gateway_knows_orders_and_positions_and_cancels_what_was_lost(
    bus: Client, nats_url: str
) -> None:
    await configure(bus, configuration())
    dying = await nats.connect(nats_url)
    async with running(dying, books(3)) as gateway:
        await status_when(bus, "s.config_revision == 'r1'")
        async with session(gateway) as (trader, _):
            await status_when(bus, "s.market_data_sequence == 1")
            await trader.order("a-1", "3000")
            await trader.send(new_order=new_order("rests", price="1.00000", time_in_force=orders_pb2.TIME_IN_FORCE_GTC))
            await status_when(bus, "s.accounts[0].open_orders == 1")
            # As a kill does: the process says nothing to anybody any more.
            await dying.close()
    async with running(bus, books(3)) as successor:
        status = await status_when(bus, "s.fencing_token == 2 and s.config_revision == 'r1'")
        async with session(successor) as (_, snapshot):
            assert [(p.symbol, p.quantity) for p in snapshot.positions] == [(SYMBOL, "3000")]
            assert list(snapshot.open_orders) == []
    assert status.accounts[0].sent_total == 2
    lost = [e.execution_report for e in await journal_of(bus) if e.execution_report.reason == "LostAtRestart"]
    assert [r.cl_ord_id for r in lost] == ["rests"]


async def test_a_second_gateway_fences_the_first(bus: Client) -> None:
    old, _ = await open_journal(bus.jetstream(), NAMESPACE, VENUE)
    new, _ = await open_journal(bus.jetstream(), NAMESPACE, VENUE)
    started = orders_pb2.JournalEvent(session_started=orders_pb2.SessionStarted(pod="new", fencing_token=1))
    await new.append(started, 1)
    with pytest.raises(Overtaken):
        await old.append(orders_pb2.JournalEvent(session_started=orders_pb2.SessionStarted(pod="old")), 2)
    assert [e.session_started.pod for e in await journal_of(bus)] == ["new"]


async def test_a_gateway_that_is_overtaken_sends_nothing_and_stops_itself(bus: Client) -> None:
    await configure(bus, configuration())
    gateway, task = await start(bus, books(2))
    await status_when(bus, "s.config_revision == 'r1'")
    async with session(gateway) as (trader, _):
        await status_when(bus, "s.market_data_sequence == 1")
        successor, _ = await open_journal(bus.jetstream(), NAMESPACE, VENUE)
        taken_over = orders_pb2.SessionStarted(pod="new", fencing_token=2)
        await successor.append(orders_pb2.JournalEvent(session_started=taken_over), 1)
        await trader.send(new_order=new_order("too-late"))
        with pytest.raises(Overtaken):
            await asyncio.wait_for(task, WAIT_SECONDS)
    assert [e.session_started.pod for e in await journal_of(bus)] == ["pod-0", "new"]
    assert not gateway.path.state.reports


async def test_a_gateway_whose_journal_does_not_answer_sends_nothing_and_stops_itself(bus: Client) -> None:
    await configure(bus, configuration())
    gateway, task = await start(bus, books(2))
    await status_when(bus, "s.config_revision == 'r1'")
    async with session(gateway) as (trader, _):
        await status_when(bus, "s.market_data_sequence == 1")
        await bus.jetstream().delete_stream(subjects.ORDER_STREAM)
        await trader.send(new_order=new_order("nobody-hears"))
        with pytest.raises(JournalUnavailable, match="check the NATS pods"):
            await asyncio.wait_for(task, WAIT_SECONDS)
    assert not gateway.path.state.reports


async def test_a_wrong_key_is_told_and_the_right_one_is_picked_up(bus: Client, tmp_path: Path) -> None:
    await configure(bus, configuration())
    key = tmp_path / "api-key"
    key.write_text("wrong")
    config = venue_config(apiKeySha256=hashlib.sha256(b"right").hexdigest())
    async with running(bus, books(2), config=config, api_key_file=key) as gateway:
        status = await status_when(bus, "s.session == pb.SESSION_STATE_LOGON_REJECTED and s.config_revision")
        assert "refused the API key" in status.session_message
        async with session(gateway) as (trader, _):
            refused = await trader.order("a-1")
            assert refused[0].reason == "SessionNotEstablished"
        key.write_text("right\n")
        await status_when(bus, "s.session == pb.SESSION_STATE_LOGGED_ON")


async def test_a_lost_session_has_its_orders_cancelled(bus: Client) -> None:
    await configure(bus, configuration())
    async with running(bus, books(2)) as gateway:
        await status_when(bus, "s.config_revision == 'r1'")
        async with session(gateway) as (trader, _):
            await status_when(bus, "s.market_data_sequence == 1")
            await trader.send(new_order=new_order("rests", price="1.00000", time_in_force=orders_pb2.TIME_IN_FORCE_GTC))
            await status_when(bus, "s.accounts[0].open_orders == 1")
        await status_when(bus, "s.accounts[0].open_orders == 0")
    assert (await journal_of(bus))[-1].execution_report.reason == "SessionLost"


@pytest.mark.parametrize("cancelled_by", ["cancel", "suspend", "halt"])
async def test_an_open_order_is_cancelled(bus: Client, cancelled_by: str) -> None:
    await configure(bus, configuration())
    async with running(bus, books(2)) as gateway:
        await status_when(bus, "s.config_revision == 'r1'")
        async with session(gateway) as (trader, _):
            await status_when(bus, "s.market_data_sequence == 1")
            await trader.send(new_order=new_order("rests", price="1.00000", time_in_force=orders_pb2.TIME_IN_FORCE_GTC))
            await status_when(bus, "s.accounts[0].open_orders == 1")
            if cancelled_by == "cancel":
                await trader.send(cancel=orders_pb2.Cancel(orig_cl_ord_id="rests", strategy=STRATEGY))
            else:
                state = (
                    config_pb2.TRADING_STATE_SUSPENDED if cancelled_by == "suspend" else config_pb2.TRADING_STATE_ACTIVE
                )
                await configure(bus, configuration("r2", state=state, halted=cancelled_by == "halt"))
                status = await status_when(bus, "s.config_revision == 'r2'")
                assert status.accounts[0].stopped
            await status_when(bus, "s.accounts[0].open_orders == 0")


async def test_a_cancel_above_the_venues_rate_or_of_an_unknown_order_is_refused_and_said_so(bus: Client) -> None:
    await configure(bus, configuration())
    async with running(bus, books(2), config=venue_config(cancels_per_second=1)) as gateway:
        await status_when(bus, "s.config_revision == 'r1'")
        async with session(gateway) as (trader, _):
            await status_when(bus, "s.market_data_sequence == 1")
            for name in ("first", "second"):
                rests = new_order(name, price="1.00000", time_in_force=orders_pb2.TIME_IN_FORCE_GTC)
                await trader.send(new_order=rests)
            for name in ("nobodys", "first", "second"):
                await trader.send(cancel=orders_pb2.Cancel(orig_cl_ord_id=name, strategy=STRATEGY))
            unknown, limited = [await trader.cancel_reject() for _ in range(2)]
            status = await status_when(bus, "s.throttled_total == 1")
            assert [open_order.cl_ord_id for open_order in gateway.path.state.open.values()] == ["second"]
            # A halt is not the venue's business: the gateway's own cancels leave whatever the rate.
            await configure(bus, configuration("r2", halted=True))
            await status_when(bus, "s.config_revision == 'r2' and s.accounts[0].open_orders == 0")
    assert (unknown.orig_cl_ord_id, unknown.unknown_order, unknown.reason) == ("nobodys", True, "UnknownOrder")
    assert (limited.orig_cl_ord_id, limited.unknown_order, limited.reason) == ("second", False, "VenueRateLimit")
    assert status.accounts[0].open_orders == 1


async def test_flatten_closes_the_position_in_orders_that_the_limits_let_pass(bus: Client) -> None:
    await configure(bus, configuration())
    async with running(bus, books(2, quantity="50000")) as gateway:
        await status_when(bus, "s.config_revision == 'r1'")
        async with session(gateway) as (trader, _):
            await status_when(bus, "s.market_data_sequence == 1")
            await trader.order("a-1", "9000")
            await configure(bus, configuration("r2", state=config_pb2.TRADING_STATE_FLATTEN))
            status = await status_when(bus, "s.config_revision == 'r2' and s.accounts[0].stopped")
    assert status.accounts[0].positions[0].quantity == "0"


async def test_lock_step_waits_for_progress_and_ends(bus: Client) -> None:
    await configure(bus, configuration())
    subscription = await bus.subscribe(subjects.market_data(NAMESPACE, VENUE, SYMBOL))
    async with running(bus, books(3)) as gateway:
        await status_when(bus, "s.config_revision == 'r1'")
        async with session(gateway) as (trader, _):
            for sequence in (1, 2, 3):
                event = md.MarketData.FromString((await subscription.next_msg(timeout=10)).data)
                assert event.sequence == sequence
                assert subscription.pending_msgs == 0
                await trader.send(progress={"sequence": sequence})
            status = await status_when(bus, "s.session == pb.SESSION_STATE_ENDED")
    assert status.market_data_sequence == 3


async def test_a_market_at_a_speed_needs_nobody(bus: Client) -> None:
    async with running(bus, books(50), speed=Decimal(100)):
        status = await status_when(bus, "s.session == pb.SESSION_STATE_ENDED")
    assert status.blocked_reason == "NoConfiguration"


async def test_an_unreadable_configuration_blocks(bus: Client) -> None:
    bucket = await bus.jetstream().key_value(subjects.CONFIG_BUCKET)
    await bucket.put(subjects.gateway_config_key(NAMESPACE, VENUE), b"\xff\xff")
    async with running(bus, books(2)):
        status = await status_when(bus, "s.blocked_reason == 'UnreadableLimit'")
    assert status.session in (status_pb2.SESSION_STATE_LOGGED_ON, status_pb2.SESSION_STATE_CONNECTING)
