"""Carries out the quotes of a strategy that quotes: cancels, their answers, then what replaces them, all in one event.

A cancel may be answered by a fill, and a fill moves the price to quote. So after the answers it is decided again, with
the position that they leave, and then what has just become wrong on the other side is canceled, too. And once more when
an order was refused because only those that reduce the position are admitted (CloseOnly): then these are sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from crowetrade_agents import metrics
from crowetrade_agents.domain.flow import TargetPosition
from crowetrade_agents.domain.hold_reasons import HoldReason
from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.execution.plan import IdleReason
from crowetrade_agents.execution.quote_plan import QuotePlan, plan_quotes
from crowetrade_agents.roles.order_sender import OrderSender
from crowetrade_agents.roles.refusals import Refusals
from crowetrade_agents.roles.venue_stream import VenueStream

Sent = Iterable[tuple[VenueStream, list[str]]]


class Quoter:
    """The quotes of one strategy in all its instruments. One at a venue that is unreachable is left alone: the gateway
    cancels what rests there when the session stays lost."""

    def __init__(
        self,
        instruments: Mapping[InstrumentId, Instrument],
        requote_ticks: int,
        streams: Mapping[str, VenueStream],
        sender: OrderSender,
        refusals: Refusals,
    ) -> None:
        self._instruments = instruments
        self._requote_ticks = requote_ticks
        self._streams = streams
        self._sender = sender
        self._refusals = refusals

    async def follow(
        self,
        target: TargetPosition,
        top_of: Callable[[InstrumentId], TopOfBook | None],
        pause_clock_ns: Callable[[], int],
    ) -> None:
        """Brings the quotes to what the target says, and waits for the answers of the gateways."""
        if any(name not in self._instruments for name in target.quotes):
            metrics.count_hold(HoldReason.UNKNOWN_INSTRUMENT)
        before = self._reduce_only(pause_clock_ns())
        await self._quote(target, top_of, pause_clock_ns)
        if self._reduce_only(pause_clock_ns()) > before:
            await self._quote(target, top_of, pause_clock_ns)

    def _reduce_only(self, now_ns: int) -> set[InstrumentId]:
        return {name for name in self._instruments if self._refusals.reduce_only(name, now_ns)}

    async def _quote(
        self,
        target: TargetPosition,
        top_of: Callable[[InstrumentId], TopOfBook | None],
        pause_clock_ns: Callable[[], int],
    ) -> None:
        plans = self._plans(target, top_of, pause_clock_ns())
        for _ in Side:
            if not any(plan.cancels for plan in plans.values()):
                break
            await self._await(
                [
                    (self._stream(name), await self._sender.cancel(self._stream(name), plan.cancels))
                    for name, plan in plans.items()
                ]
            )
            plans = self._plans(target, top_of, pause_clock_ns())
        await self._await(
            [
                (self._stream(name), await self._send(name, plan, target, pause_clock_ns()))
                for name, plan in plans.items()
            ]
        )

    def _plans(
        self, target: TargetPosition, top_of: Callable[[InstrumentId], TopOfBook | None], now_ns: int
    ) -> dict[InstrumentId, QuotePlan]:
        plans = {}
        for name, instrument in self._instruments.items():
            stream = self._stream(name)
            if not stream.up:
                metrics.count_hold(IdleReason.GATEWAY_UNREACHABLE)
                continue
            plans[name] = plan_quotes(
                quotes=target.quotes.get(name),
                position=stream.orders.position(name),
                working=stream.orders.working(name),
                top=top_of(name),
                requote_ticks=self._requote_ticks,
                instrument=instrument,
                cap=self._refusals.cap(name),
                reduce_only=self._refusals.reduce_only(name, now_ns),
            )
        return plans

    async def _send(self, name: InstrumentId, plan: QuotePlan, target: TargetPosition, now_ns: int) -> list[str]:
        """Returns the orders whose answers are to be awaited."""
        if plan.idle is not None:
            metrics.count_hold(plan.idle)
        sent = []
        reduces = self._refusals.reduce_only(name, now_ns)
        for child in plan.children:
            if self._refusals.must_wait(name, child.side, child.quantity, now_ns, reduces=reduces):
                metrics.count_hold(IdleReason.BACKING_OFF)
            else:
                sent += await self._sender.order(self._stream(name), name, child, target.origin)
        return sent

    async def _await(self, sent: Sent) -> None:
        for stream, cl_ord_ids in sent:
            await self._sender.await_answers(stream, cl_ord_ids)

    def _stream(self, name: InstrumentId) -> VenueStream:
        return self._streams[name.venue]
